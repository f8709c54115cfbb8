//! The program: everything is in the library.

fn main() -> std::process::ExitCode {
    sniffer::app::main(std::env::args_os())
}
