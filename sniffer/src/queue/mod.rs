//! Between the workers and the output.
