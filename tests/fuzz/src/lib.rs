//! What the fuzzer is made of: the drivers, and which of them is asked for.

pub mod drive;

use std::{env, process, sync::OnceLock};

/// The target that `FUZZ_TARGET` names, one of [`drive::targets`]. Ends the process where it names none.
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
