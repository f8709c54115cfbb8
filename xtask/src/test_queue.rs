//! `test-queue`: the fault test of the disk queue, and a test in which the server of an output is away. The command line sets the number of kills, or
//! the length of the outage.

use crate::{
    Outcome,
    setup::{cargo, run_command},
};

/// Number of kills if the command line does not set it.
const KILLS: &str = "10000";

/// Tests the queues. `--kills N` (the default, with 10,000 kills) kills a process that uses the disk queue this often, and damages its files.
/// `--outage SECONDS` runs the program with 2,000 events per second, takes the server of its output away for this time, and checks that
/// nothing is lost and memory is bounded.
pub fn test_queue(args: &[String]) -> Outcome {
    let number = |text: &String| text.parse::<u32>().is_ok_and(|number| number > 0);
    let mut command = match args {
        [] => fault_test(KILLS),
        [flag, kills] if flag == "--kills" && number(kills) => fault_test(kills),
        [flag, seconds] if flag == "--outage" && number(seconds) => outage_test(seconds),
        _ => return Err("this verb takes one argument: --kills N, or --outage SECONDS".into()),
    };
    run_command(&mut command)
}

fn fault_test(kills: &str) -> std::process::Command {
    let mut command = cargo(&["test", "--package", "sniffer", "--lib", "--locked", "queue::disk::", "--", "--nocapture"]);
    command.env("DISK_QUEUE_KILLS", kills);
    command
}

fn outage_test(seconds: &str) -> std::process::Command {
    let mut command = cargo(&["test", "--package", "sniffer", "--test", "integration", "--locked", "outage::", "--", "--nocapture"]);
    command.env("OUTAGE_SECONDS", seconds);
    command
}
