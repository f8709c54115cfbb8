//! `watch` as a user sees it: on a pipe, and in terminals of several sizes.

use crate::{
    harness::{Home, sniffer, tests},
    net::{Net, Running, may_run, until},
    terminal::{SIZES, Terminal, has_tmux},
};
use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

/// Runs `watch -r` on a file below `tests`, with a UTF-8 locale.
fn watched(file: &Path, args: &[&str], variables: &[(&str, &str)]) -> (String, String) {
    let mut command = sniffer();
    command.args(["watch", "-r"]).arg(file).args(args).env("TZ", "UTC").env("LC_ALL", "C.UTF-8").env_remove("NO_COLOR");
    let output: Output = command.envs(variables.iter().copied()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    (text(&output.stdout), text(&output.stderr))
}

fn capture(name: &str) -> std::path::PathBuf {
    tests().join(name)
}

/// Rows 12 and 14 of what new users met: local times, labelled once; and the grammar of one transaction.
#[test]
fn one_transaction_with_local_times() {
    let file = capture("configs/request.pcap");
    let (lines, others) = watched(&file, &[], &[("TZ", "Asia/Shanghai")]);
    let lines: Vec<&str> = lines.lines().collect();
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    assert!(line.contains("192.0.2.10:40001 > 198.51.100.20:80") && line.contains(" GET / "), "{line}");
    let (first, rest) = others.split_once('\n').unwrap();
    assert!(first.ends_with(", times UTC+8") && first.contains(" protocols on "), "{first}");
    assert!(rest.starts_with("1 transaction, 2023-11-15 06:13:20\n") && rest.contains("Packets: ") && rest.contains("\nhttp "), "{rest}");
    let (utc, _) = watched(&file, &[], &[]);
    let hour = |line: &str| line.get(..2).and_then(|hour| hour.parse::<u32>().ok()).unwrap();
    assert_eq!((hour(&utc) + 8) % 24, hour(line), "{utc}{line}");
}

/// Row 13: the query of a request is shown, and what `hide_keywords` hides is hidden.
#[test]
fn the_query_is_shown_without_secrets() {
    let file = capture("protocols/http");
    let with_query =
        fs::read_dir(file).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "pcap"));
    let shown: String = with_query.map(|file| watched(&file, &[], &[]).0).collect();
    assert!(shown.lines().any(|line| line.contains(" GET /") && line.contains('?')), "{shown}");
    let home = Home::with_output("packetbeat.protocols: [{type: http, ports: [80], hide_keywords: [token]}]\noutput.console: {}\n");
    let raw = fs::read(capture("configs/request.pcap")).unwrap();
    // The capture has a request of `/`. Its line gets a query of the same length as the bytes that it replaces.
    let place = raw.windows(14).position(|bytes| bytes == b"GET / HTTP/1.1").unwrap();
    let line_end = place + raw[place..].windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    let mut request = b"GET /a?token=1 HTTP/1.0\r\n".to_vec();
    let rest = (line_end + 2 - place).checked_sub(request.len() + 4).expect("the request is long enough");
    request.extend(b"X: ".iter().chain(&vec![b'y'; rest - 1]).chain(b"\r\n"));
    let mut changed = raw.clone();
    changed[place..place + request.len()].copy_from_slice(&request);
    let file = home.path().join("query.pcap");
    fs::write(&file, changed).unwrap();
    let (open, _) = watched(&file, &[], &[]);
    assert!(open.contains(" GET /a?token=1 "), "{open}");
    let config = home.path().join("packetbeat.yml");
    let (hidden, _) = watched(&file, &["-c", config.to_str().unwrap()], &[]);
    assert!(hidden.contains(" GET /a?token=xxxxx "), "{hidden}");
}

/// A pipe gets every line, without control characters, also with a hostile environment.
#[test]
fn a_pipe_gets_plain_lines() {
    let file = capture("protocols/redis/resp2.pcap");
    let (lines, others) = watched(&file, &[], &[("TERM", "xterm-256color")]);
    assert!(lines.lines().count() > 3 && !lines.contains(|c: char| c.is_control() && c != '\n'), "{lines}");
    assert!(others.contains(&format!("{} transactions in ", lines.lines().count())), "{others}");
    let (ascii, _) = watched(&file, &[], &[("LC_ALL", "C"), ("LANG", "C")]);
    assert!(ascii.is_ascii(), "{ascii}");
    let (colored, _) = watched(&file, &["--color", "always"], &[("NO_COLOR", "1")]);
    assert!(colored.contains("\x1b[31m!"), "{colored}");
}

/// A file without transactions says what it holds.
#[test]
fn redis_on_another_port() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("redis.pcap");
    let mut bytes = fs::read(capture("protocols/redis/resp2.pcap")).unwrap();
    for place in 0..bytes.len() - 1 {
        if bytes[place..place + 2] == 6379u16.to_be_bytes() {
            bytes[place..place + 2].copy_from_slice(&6380u16.to_be_bytes());
        }
    }
    fs::write(&file, bytes).unwrap();
    let (lines, others) = watched(&file, &[], &[]);
    assert_eq!(lines, "");
    assert!(others.contains("0 transactions\n") && others.contains("tcp 6380, ") && others.contains(", looks like redis."), "{others}");
    let command = format!("sniffer watch -r {} -p 6380=redis\n", file.display());
    assert!(others.ends_with(&command), "{others}");
    for port in ["6380=redis", "any"] {
        let (lines, _) = watched(&file, &["-p", port], &[]);
        assert!(lines.lines().count() > 3 && lines.contains(" redis "), "-p {port}: {lines}");
    }
}

/// Rows 9 to 11: lines fit terminals of all sizes.
#[test]
fn lines_of_files_fit_every_terminal() {
    if !has_tmux("lines_of_files_fit_every_terminal") {
        return;
    }
    let program = env!("CARGO_BIN_EXE_sniffer");
    for size in SIZES {
        for file in ["http/nginx", "dns/dnsmasq", "pgsql/simple", "redis/resp2"] {
            let file = capture(&format!("protocols/{file}.pcap"));
            let command = format!("{program} watch -r {}", file.display());
            let terminal = Terminal::start(Command::new("tmux"), size, &command);
            terminal.wait_for_the_end();
            terminal.wait_for("Packets: ");
            terminal.assert_no_line_wraps_from("", size.0);
        }
    }
}

/// Row 3: the status line names the port of a service that no protocol has.
#[test]
fn a_live_terminal_names_the_port_that_is_not_watched() {
    const TEST: &str = "a_live_terminal_names_the_port_that_is_not_watched";
    if !may_run(TEST) || !has_tmux(TEST) {
        return;
    }
    let net = Net::new();
    net.disable_ipv6();
    let _server = Running::start(net.on_server("python3").args(["-m", "http.server", "8123"]));
    let request = || {
        let mut curl = net.on_client("curl");
        curl.args(["-s", "-o", "/dev/null", "--max-time", "2", "http://192.0.2.2:8123/"]).status().is_ok_and(|status| status.success())
    };
    until("the server", request);
    let terminal = Terminal::start(net.on_client("tmux"), (140, 30), &format!("{} watch -i v0", env!("CARGO_BIN_EXE_sniffer")));
    terminal.wait_for("Nothing yet");
    let hint = "none on a watched port  busy: port 8123  -p 8123=PROTOCOL adds it";
    terminal.until(hint, || request() && terminal.lines().iter().any(|line| line.contains(hint)));
    terminal.tmux(&["send-keys", "q"]);
    terminal.wait_for_the_end();
}

/// Rows 9 and 14: the status line follows the width, Space pauses, and `q` and Ctrl-C leave a clean terminal with a summary.
#[test]
fn a_live_terminal() {
    if !may_run("a_live_terminal") || !has_tmux("a_live_terminal") {
        return;
    }
    let net = Net::new();
    net.disable_ipv6();
    let _server = Running::start(net.on_server("python3").args(["-m", "http.server", "80"]));
    let request = |path: &str| {
        let url = format!("http://192.0.2.2/{path}");
        net.on_client("curl").args(["-s", "-o", "/dev/null", "--max-time", "2", &url]).status().is_ok_and(|status| status.success())
    };
    until("the server", || request("start"));
    let program = env!("CARGO_BIN_EXE_sniffer");
    for (size, key) in SIZES.into_iter().zip(["q", "C-c", "q", "C-c"]) {
        let terminal = Terminal::start(net.on_client("tmux"), size, &format!("{program} watch -i v0"));
        terminal.wait_for("Nothing yet");
        let rest = "long/".repeat(60);
        let shown = |path: &str| {
            terminal.until(path, || request(&format!("{path}?{rest}")) && terminal.lines().iter().any(|line| line.contains(path)))
        };
        shown("one");
        terminal.assert_no_line_wraps_from("", size.0);
        // The terminal becomes narrower, and wraps what was printed before.
        let narrow = size.0 - 5;
        terminal.tmux(&["resize-window", "-x", &narrow.to_string(), "-y", "9"]);
        shown("two");
        terminal.assert_no_line_wraps_from("two", narrow);
        let statuses = || terminal.lines().iter().filter(|line| line.contains("/s  ") && line.contains("% errors")).count();
        terminal.until("one status line", || statuses() == 1);
        if narrow >= 75 {
            terminal.tmux(&["send-keys", "Space"]);
            terminal.wait_for("PAUSED");
            assert!(request("hidden"));
            terminal.wait_for("not shown");
            let lines = terminal.lines();
            assert!(!lines.iter().any(|line| line.contains("hidden")), "a transaction of the pause is shown: {lines:#?}");
            terminal.tmux(&["send-keys", "Space"]);
            terminal.until("the end of the pause", || !terminal.lines().iter().any(|line| line.contains("PAUSED")));
        }
        terminal.tmux(&["resize-window", "-x", &size.0.to_string(), "-y", "30"]);
        terminal.tmux(&["send-keys", key]);
        terminal.wait_for("Packets: ");
        terminal.wait_for_the_end();
        assert_eq!(statuses(), 0, "the status line is cleared: {:#?}", terminal.lines());
        let lines = terminal.lines();
        assert!(lines.iter().any(|line| line.contains("transactions in ")), "{lines:#?}");
        assert!(!lines.iter().any(|line| line.contains("Nothing yet")), "an old status line is left: {lines:#?}");
    }
}
