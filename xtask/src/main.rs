//! Development tasks: `cargo xtask VERB`. Each verb has one file. Each verb installs the system packages that it needs, prints this, and
//! can be run repeatedly.

mod bench;
mod build_ebpf;
mod checks;
mod docs;
mod fuzz;
mod golden;
mod imports;
mod kernels;
mod layers;
mod layers_page;
mod lint;
mod new_protocol;
mod package;
mod pcap;
mod run;
mod setup;
mod test;
mod test_queue;
mod test_servers;
mod test_web;
mod web;

use std::process::ExitCode;

/// Result of a verb. The error is a message with the cause and a remedy.
type Outcome = Result<(), String>;

/// Name and description of a verb, and the function that runs it with the remaining arguments.
type Verb = (&'static str, &'static str, fn(&[String]) -> Outcome);

const VERBS: &[Verb] = &[
    (
        "run",
        "install missing packages, build the program, and show the transactions in this machine's live traffic; arguments after -- are passed to the program",
        run::run,
    ),
    ("test", "install missing packages, and run all checks except those of test-servers", test::test),
    ("test-servers", "download Elasticsearch and Kafka, and run the tests that need a real server", test_servers::test_servers),
    (
        "test-web",
        "install Chromium and the libraries of the tests, and test the page of `sniffer web`; arguments select tests by name; --screenshots FOLDER writes pictures of all views",
        test_web::test_web,
    ),
    (
        "web",
        "check the files of the page of `sniffer web`: nothing makes elements of text, no other host, all imports exist; and print what they weigh",
        web::web,
    ),
    (
        "test-queue",
        "run the fault test of the disk queue: 10000 kills, or --kills N; --outage SECONDS takes the server of an output away for this time instead, under 2000 events per second",
        test_queue::test_queue,
    ),
    (
        "docs",
        "check the links of the documentation, and make a site of it in target/docs; --write updates its table of contents",
        docs::docs,
    ),
    (
        "package",
        "build the program and make deb, rpm, tar archive, container image, list of components and checksums in target/package; --debug packages the program of \
         the tests; --check builds twice, compares the packages, and installs one",
        package::package,
    ),
    ("lint", "run the fast checks of test: formatting, layers, clippy, documentation, licences", lint::lint),
    ("advisories", "check the dependencies for known vulnerabilities (needs the network)", lint::advisories),
    (
        "new-protocol",
        "create a small example protocol NAME that builds and passes all tests, as a start for a new protocol; --check creates it in a copy of the checkout and runs its tests",
        new_protocol::new_protocol,
    ),
    (
        "build-ebpf",
        "build the eBPF programs; --check compares the result with the committed object instead of replacing it",
        build_ebpf::build_ebpf,
    ),
    ("layers", "check that each module uses only the modules it may use", layers::layers),
    (
        "golden",
        "compare the documents made from every capture file in tests/ with the expected ones beside it, and the field tables in docs/ with the declarations; --accept replaces the expected ones",
        golden::golden,
    ),
    (
        "fuzz",
        "run all fuzz targets, or those named, for ten seconds each; --seconds N sets the time, --jobs N how many run at a time",
        fuzz::fuzz,
    ),
    (
        "kernels",
        "boot other kernels in a virtual machine and capture there in every way; all of them, or those named (5.10, 6.1, 6.12, newest); --program FILE uses a built program",
        kernels::kernels,
    ),
    (
        "bench",
        "measure capture, replay and events on this machine; --against PROGRAM compares with another build in --runs N runs; hostile compares the cost of input that \
         was made to be expensive with bounds",
        bench::bench,
    ),
];

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let verb = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    if let (Some((name, what, _)), [help]) = (VERBS.iter().find(|(name, ..)| *name == verb), rest.as_slice())
        && matches!(help.as_str(), "--help" | "-h")
    {
        println!("usage: cargo xtask {name}\n\n  {what}");
        return ExitCode::SUCCESS;
    }
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
