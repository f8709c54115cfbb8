//! The parts of the fuzzer: the drivers of the targets, and the selection of one target.

pub mod drive;

use std::{env, process, sync::OnceLock};

/// Returns the target in `FUZZ_TARGET`, one of [`drive::targets`]. The function ends the process if the name is unknown.
pub fn target() -> &'static str {
    static TARGET: OnceLock<&str> = OnceLock::new();
    TARGET.get_or_init(|| {
        let wanted = env::var("FUZZ_TARGET").unwrap_or_default();
        if wanted == "list" {
            drive::targets().for_each(|name| println!("{name}"));
            process::exit(0);
        }
        drive::targets().find(|name| *name == wanted).unwrap_or_else(|| {
            eprintln!("FUZZ_TARGET is {wanted:?}; there are: {}", drive::targets().collect::<Vec<_>>().join(", "));
            process::exit(2);
        })
    })
}
