//! Processors edit events on their way out.
