//! Crafted captures and bad input: the right events, or a clear error.
