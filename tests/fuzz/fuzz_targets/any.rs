//! The fuzzer of every target. The environment variable `FUZZ_TARGET` selects the target. With `FUZZ_TARGET=list` the fuzzer prints all
//! names and exits.
#![no_main]

use sniffer_fuzz::{drive, target};

libfuzzer_sys::fuzz_target!(init: { target(); }, |data: &[u8]| drive::run(target(), data));
