//! The fuzzer of every target: which one, the environment variable `FUZZ_TARGET` says. `FUZZ_TARGET=list` prints their names and ends.
#![no_main]

use sniffer_fuzz::{drive, target};

libfuzzer_sys::fuzz_target!(init: { target(); }, |data: &[u8]| drive::run(target(), data));
