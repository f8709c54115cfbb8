//! The `sniffer` program. All code is in the library crate.

fn main() -> std::process::ExitCode {
    sniffer::app::main(std::env::args_os())
}
