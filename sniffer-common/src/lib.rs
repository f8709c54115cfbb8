//! Records and settings that the two halves share. `no_std`, no dependencies.
#![no_std]
