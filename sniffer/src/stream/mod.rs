//! TCP connections: bytes in order ([`reassembly`]), what is left over between calls ([`pending`]), and the parser they go to.

pub mod pending;
