//! Where records go.
