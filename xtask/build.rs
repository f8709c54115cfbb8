//! Tells xtask for which target it is built: it packages programs for the same one.

fn main() {
    let target = std::env::var("TARGET").unwrap_or_default();
    println!("cargo::rustc-env=TARGET_OF_XTASK={target}");
    println!("cargo::rerun-if-changed=build.rs");
}
