//! Development tasks: `cargo xtask VERB`. One file per verb. Each verb installs the system packages that it needs, says
//! so, and can be run repeatedly.

mod bench;
mod build_ebpf;
mod checksum;
mod fuzz;
mod golden;
mod imports;
mod layers;
mod layers_page;
mod lint;
mod new_protocol;
mod run;
mod setup;
mod steps;
mod test;
mod test_servers;

use std::process::ExitCode;

/// Result of a verb: an error is a message about what went wrong and what to do.
type Outcome = Result<(), String>;

/// Name and description of a verb, and the function that runs it with the remaining arguments.
type Verb = (&'static str, &'static str, fn(&[String]) -> Outcome);

const VERBS: &[Verb] = &[
    (
        "run",
        "set up what is missing, build, and show the transactions of this machine's live traffic; arguments after -- go to the program",
        run::run,
    ),
    ("test", "set up what is missing, and run every check there is but those of test-servers", test::test),
    ("test-servers", "the tests against real servers that have to be downloaded (Elasticsearch)", test_servers::test_servers),
    ("lint", "the quick part of test: formatting, layers, clippy, documentation, licences", lint::lint),
    ("advisories", "look up known vulnerabilities of the dependencies (network)", lint::advisories),
    (
        "new-protocol",
        "create a small protocol NAME that builds and passes all tests, to be rewritten; --check does so in a copy of the checkout and tests it",
        new_protocol::new_protocol,
    ),
    ("build-ebpf", "build the kernel half from its source; --check compares it with what is committed", build_ebpf::build_ebpf),
    ("layers", "check who uses whom", layers::layers),
    (
        "golden",
        "compare the documents of every capture in tests/ with those beside it, and the field tables in docs/; --accept takes the new ones",
        golden::golden,
    ),
    ("fuzz", "run every fuzz target, or those named, for ten seconds; --seconds N for longer, --jobs N at a time", fuzz::fuzz),
    (
        "bench",
        "measure capture, replay and events on this machine; --against PROGRAM compares with another build, --runs N times; hostile: input that \
         was made to cost much, against bounds",
        bench::bench,
    ),
];

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let verb = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    let Some((_, _, run)) = VERBS.iter().find(|(name, ..)| *name == verb) else {
        eprintln!("usage: cargo xtask VERB\n");
        VERBS.iter().for_each(|(name, what, _)| eprintln!("  {name:<13} {what}"));
        return ExitCode::FAILURE;
    };
    match run(&rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("cargo xtask {verb}: {message}");
            ExitCode::FAILURE
        }
    }
}
