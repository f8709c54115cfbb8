//! Tests of the command line: commands, flags before and after the command, and error messages.

use super::{Command, ConfigFlags, Environment, Invocation, Keystore, Root, RunFlags, SourceFlags, Stop, WatchFlags, parse};
use clap::CommandFactory;
use std::path::PathBuf;

fn typed(line: &str) -> Result<Invocation, Stop> {
    parse(std::iter::once("sniffer").chain(line.split_whitespace()))
}

fn run(line: &str) -> RunFlags {
    match typed(line).unwrap().command {
        Command::Run(flags) => flags,
        other => panic!("{other:?}"),
    }
}

#[test]
fn clap_accepts_the_definition() {
    Root::command().debug_assert();
}

#[test]
fn command_lines_of_the_conformance_cases() {
    let all = typed("-t -e -I x.pcap -c /a/config.yml --path.home /h -E output.file.path=/o").unwrap();
    assert_eq!(all.load.files, [PathBuf::from("/a/config.yml")]);
    assert_eq!(all.load.settings, ["output.file.path=/o"]);
    assert_eq!(all.load.home, Some("/h".into()));
    assert!(all.log.stderr && all.load.strict_perms);
    let Command::Run(run) = all.command else { panic!("{:?}", all.command) };
    assert!(run.top_speed);
    assert_eq!(run.file, Some("x.pcap".into()));
}

#[test]
fn flags_before_and_after_the_command_are_joined() {
    let all =
        typed("-c a test -c b -E x=1 config -c c -E y=2 --path.home /p -v -d q,r --environment container --strict.perms=false").unwrap();
    assert_eq!(all.command, Command::TestConfig);
    assert_eq!(all.load.files, [PathBuf::from("a"), "b".into(), "c".into()]);
    assert_eq!(all.load.settings, ["x=1", "y=2"]);
    assert_eq!(all.log.debug, ["q", "r"]);
    assert_eq!(all.log.environment, Environment::Container);
    assert!(all.log.verbose && !all.load.strict_perms);
    assert!(typed("--strict.perms -e run").unwrap().load.strict_perms);
    let run = run("-t run -I f -l 0 -O -N --dump p");
    assert!(run.top_speed && run.one_at_a_time && run.no_publish);
    assert_eq!((run.loops, run.dump, run.file), (Some(0), Some("p".into()), Some("f".into())));
}

#[test]
fn commands() {
    for (line, want) in [
        ("", Command::Run(RunFlags::default())),
        ("run", Command::Run(RunFlags::default())),
        (
            "watch -i eth0 --json",
            Command::Watch(WatchFlags {
                source: SourceFlags { device: Some("eth0".into()), ..SourceFlags::default() },
                json: true,
                ..WatchFlags::default()
            }),
        ),
        (
            "watch -r f",
            Command::Watch(WatchFlags {
                source: SourceFlags { file: Some("f".into()), ..SourceFlags::default() },
                ..WatchFlags::default()
            }),
        ),
        ("devices", Command::Devices),
        ("test config", Command::TestConfig),
        ("test output -c x", Command::TestOutput),
        ("export config", Command::ExportConfig(ConfigFlags::default())),
        ("export config --show-secrets", Command::ExportConfig(ConfigFlags { show_secrets: true })),
        ("export template --es.version 8.1.0 --noilm", {
            Command::ExportTemplate(super::TemplateFlags { es_version: Some("8.1.0".into()), noilm: true, dir: None })
        }),
        ("export ilm-policy --dir d", Command::ExportIlmPolicy(super::PolicyFlags { es_version: None, dir: Some("d".into()) })),
        ("export index-pattern --es.version 9.6.0", Command::ExportIndexPattern(super::PatternFlags { es_version: Some("9.6.0".into()) })),
        ("export completions zsh", Command::ExportCompletions(clap_complete::Shell::Zsh)),
        ("export reference", Command::ExportReference),
        ("export man-pages --dir d", Command::ExportManPages(super::ManPagesFlags { dir: Some("d".into()) })),
        ("export dashboard --id x --folder d", {
            let flags = super::DashboardFlags { id: Some("x".into()), folder: Some("d".into()), ..Default::default() };
            Command::ExportDashboard(flags)
        }),
        ("setup --dashboards --pipelines --enable-all-filesets --force-enable-module-filesets", {
            Command::Setup(super::SetupFlags {
                index_management: false,
                dashboards: true,
                pipelines: true,
                enable_all_filesets: true,
                force_enable_module_filesets: true,
            })
        }),
        ("setup --index-management -e", Command::Setup(super::SetupFlags { index_management: true, ..Default::default() })),
        ("keystore create --force", Command::Keystore(Keystore::Create { force: true })),
        ("keystore -c x add A --stdin -e", { Command::Keystore(Keystore::Add { names: vec!["A".into()], stdin: true, force: false }) }),
        ("keystore list", Command::Keystore(Keystore::List)),
        ("keystore remove A B -c x", Command::Keystore(Keystore::Remove { names: vec!["A".into(), "B".into()] })),
        ("version", Command::Version),
    ] {
        assert_eq!(typed(line).unwrap().command, want, "{line}");
    }
}

#[test]
fn wrong_command_lines_are_refused() {
    for (line, want) in [
        ("keystores", "Error: unknown command \"keystores\" for \"sniffer\"\n"),
        ("keystore make", "Error: unknown command \"make\" for \"sniffer\"\n"),
        ("--foo", "Error: unknown flag: --foo\n"),
        ("-port x", "Error: unknown flag: -p\n"),
        ("run --foo", "Error: unknown flag: --foo\n"),
        ("export dashboards", "Error: unknown command \"dashboards\" for \"sniffer\"\n"),
        ("export dashboard --built-in --id x", "Error: the argument '--built-in' cannot be used with '--id <ID>'\n"),
        ("-c", "Error: a value is required for '-c <FILE>' but none was supplied\n"),
        ("-l x", "Error: invalid value 'x' for '-l <N>': invalid digit found in string\n"),
        ("--environment moon", "Error: invalid value 'moon' for '--environment <ENVIRONMENT>'\n"),
        ("-t devices", "Error: -I, -t, -l, -O, -N, --dump and --user are flags of run\n"),
        ("watch -i a -r b", "Error: the argument '-i <DEVICE>' cannot be used with '-r <FILE>'\n"),
    ] {
        let stop = typed(line).unwrap_err();
        assert!(stop.text.starts_with(want) && !stop.ok, "{line}: {}\nis not\n{want}", stop.text);
        assert!(stop.text.contains("Usage: sniffer"), "{line}: no usage in {}", stop.text);
    }
    for (line, tip) in [("-i lo", "`sniffer watch -i`"), ("-e --json", "`sniffer watch --json`"), ("--id x", "`sniffer watch --id`")] {
        let stop = typed(line).unwrap_err();
        assert_eq!(stop.text.contains(&format!("  tip: it is a flag of a command: {tip}\n")), line != "--id x", "{line}: {}", stop.text);
    }
    for line in ["--cpuprofile f", "run --memprofile f", "--httpprof localhost:1"] {
        let stop = typed(line).unwrap_err();
        assert!(stop.text.starts_with("Exiting: --") && stop.text.lines().count() == 1 && !stop.ok, "{line}: {}", stop.text);
    }
}

#[test]
fn help_is_no_error() {
    for line in ["help", "--help", "-h", "help run", "run --help", "test", "export", "keystore"] {
        let stop = typed(line).unwrap_err();
        assert!(stop.ok && stop.text.contains("Usage: sniffer"), "{line}: {}", stop.text);
    }
}

#[test]
fn flags_of_old_guides_mean_what_they_meant() {
    for (line, want) in [
        ("-devices", Command::Devices),
        ("--devices", Command::Devices),
        ("-configtest -c x", Command::TestConfig),
        ("-e -configtest", Command::TestConfig),
        ("--version", Command::Version),
        ("-version", Command::Version),
    ] {
        assert_eq!(typed(line).unwrap().command, want, "{line}");
    }
    let all = typed("-e -path.home /h -strict.perms=false").unwrap();
    assert_eq!(all.load.home, Some("/h".into()));
    assert!(!all.load.strict_perms);
    assert_eq!(run("-dump p").dump, Some("p".into()));
    let Command::Watch(watch) = typed("watch -- -devices").unwrap().command else { panic!("no watch") };
    assert_eq!(watch.source.expression, ["-devices"]);
}

#[test]
fn words_and_ports_of_watch() {
    let Command::Watch(watch) = typed("watch http status=error -p 8123=http -p 9=dns port 80 -i lo -- tcp port 80").unwrap().command else {
        panic!("no watch")
    };
    assert_eq!(watch.source.words, ["http", "status=error", "port", "80"]);
    assert_eq!(watch.source.ports, ["8123=http", "9=dns"]);
    assert_eq!(watch.source.expression, ["tcp", "port", "80"]);
    assert_eq!(watch.source.device.as_deref(), Some("lo"));
    let all = typed("watch -c a.yml -E x=1 not http").unwrap();
    assert_eq!((all.load.files, all.load.settings), (vec![PathBuf::from("a.yml")], vec!["x=1".to_owned()]));
}
