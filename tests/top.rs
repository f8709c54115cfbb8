//! `top` as a user sees it in terminals of several sizes. Captures are files, so that no test needs root.

use crate::{
    crafted::{CLIENT, SERVER, Tcp, ethernet_file, ipv4, udp},
    harness::{Home, assert_success, sniffer, tests},
    net::until,
    terminal::{SIZES, Terminal, has_tmux},
};
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The parts of the hostile path, each with what the screen shows in a UTF-8 locale.
const HOSTILE: [(&str, &str); 5] = [
    ("\x1b[2J", "\\x1b[2J"),
    ("\u{9b}31m", "\\x9b31m"),
    ("\u{202e}abc", "\\u{202e}abc"),
    ("\u{5e9}\u{5dc}", "\\u{5e9}\\u{5dc}"),
    ("<script>", "<script>"),
];

/// A DNS query or response for a name with an escape, Chinese characters and a direction override.
fn dns(is_response: bool) -> Vec<u8> {
    let flags = if is_response { [0x81, 0x83] } else { [1, 0] };
    let mut message = [&[0, 9], &flags[..], &[0, 1, 0, 0, 0, 0, 0, 0]].concat();
    for label in ["a\x1b[2Jb", "\u{4f60}\u{597d}", "\u{202e}cod", "example"] {
        message.push(label.len() as u8);
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    message
}

/// A capture file with hostile bytes in a path, a host, and the name of a DNS query; the path has more than 300 characters.
fn hostile(folder: &Path) -> PathBuf {
    let path = format!("/{}\u{4f60}\u{597d}{}", HOSTILE.map(|(part, _)| part).concat(), "x".repeat(300));
    let request = format!("GET {path} HTTP/1.1\r\nHost: shop\x1b]0;title\x07.example\r\n\r\n");
    let mut packets = Tcp::open().says(CLIENT, request.as_bytes()).says(SERVER, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx").close();
    packets.push(ipv4(CLIENT, 17, 0, &udp(41000, 53, &dns(false))));
    packets.push(ipv4(SERVER, 17, 0, &udp(53, 41000, &dns(true))));
    let file = folder.join("hostile.pcap");
    fs::write(&file, ethernet_file(&packets)).unwrap();
    file
}

/// Starts `top -r` in a terminal and waits for its first complete screen. `variables`: as before the command in a shell.
fn start(size: (u16, u16), variables: &str, file: &Path) -> Terminal {
    let command = format!("{variables} TZ=UTC {} top -r {}", env!("CARGO_BIN_EXE_sniffer"), file.display());
    let terminal = Terminal::start(Command::new("tmux"), size, &command);
    terminal.wait_for("FILE ");
    terminal
}

/// Waits until the screen fits: nothing is wrapped, and the keys are on the last row of the window.
fn wait_for_fit(terminal: &Terminal, (width, height): (u16, u16), what: &str) {
    terminal.until(&format!("a screen of {width}x{height} with {what:?}"), || {
        let rows = terminal.rows();
        // A line that tmux had wrapped would be one line here.
        let fits = terminal.lines().len() == rows.len() && rows.iter().all(|row| row.chars().count() <= usize::from(width));
        fits && rows.len() == usize::from(height)
            && rows.last().is_some_and(|row| row.starts_with("q quit"))
            && rows.iter().any(|row| row.contains(what))
    });
}

fn mixed() -> PathBuf {
    tests().join("protocols/http/nginx.pcap")
}

/// Every tab fits every size, also while the size changes, and `q` leaves the terminal as it was.
#[test]
fn screens_fit_every_terminal() {
    if !has_tmux("screens_fit_every_terminal") {
        return;
    }
    let first = SIZES[0];
    let terminal = start(first, "", &mixed());
    for size in SIZES.into_iter().chain([first]) {
        terminal.tmux(&["resize-window", "-x", &size.0.to_string(), "-y", &size.1.to_string()]);
        let tabs = [("1", "SERVICE"), ("2", "OPERATION"), ("3", "REQUEST"), ("4", "CLIENT"), ("5", "No DNS query"), ("7", "COUNTER")];
        for (key, heading) in tabs {
            terminal.press(&[key]);
            wait_for_fit(&terminal, size, heading);
        }
    }
    terminal.tmux(&["resize-window", "-x", "39", "-y", "9"]);
    terminal.wait_for("is too small");
    terminal.tmux(&["resize-window", "-x", "80", "-y", "24"]);
    wait_for_fit(&terminal, (80, 24), "COUNTER");
    terminal.press(&["q"]);
    terminal.wait_for_the_end();
}

/// Without colours, without UTF-8, and on a terminal that cannot show screens.
#[test]
fn poor_terminals() {
    if !has_tmux("poor_terminals") {
        return;
    }
    let colored = start((80, 24), "", &mixed());
    let plain = start((80, 24), "NO_COLOR=1", &mixed());
    let folder = tempfile::tempdir().unwrap();
    let ascii = start((200, 60), "LC_ALL= LC_CTYPE= LANG=C", &hostile(folder.path()));
    let has_color = |terminal: &Terminal| terminal.rows_with_colors().contains("\x1b[38;5;");
    assert!(has_color(&colored), "no colour in\n{}", colored.rows_with_colors());
    assert!(!has_color(&plain), "a colour in\n{}", plain.rows_with_colors());
    ascii.press(&["3"]);
    ascii.wait_for("\\u{4f60}\\u{597d}");
    assert!(ascii.rows().iter().all(|row| row.is_ascii()), "{}", ascii.rows().join("\n"));
    for terminal in [colored, plain, ascii] {
        terminal.press(&["q"]);
        terminal.wait_for_the_end();
    }
    let command = format!("TERM=dumb {} top -r {}", env!("CARGO_BIN_EXE_sniffer"), mixed().display());
    let dumb = Terminal::start(Command::new("tmux"), (120, 40), &command);
    dumb.wait_for_the_end();
    dumb.wait_for(" transactions in ");
    assert!(!dumb.rows_with_colors().contains('\x1b'), "{}", dumb.rows_with_colors());
}

/// Every way of ending leaves the terminal as it was.
#[test]
fn every_end_leaves_the_terminal_as_it_was() {
    if !has_tmux("every_end_leaves_the_terminal_as_it_was") {
        return;
    }
    for end in ["q", "C-c", "SIGTERM"] {
        let terminal = start((80, 24), "", &mixed());
        match end {
            "SIGTERM" => assert!(Command::new("kill").arg(terminal.program().to_string()).status().unwrap().success()),
            key => terminal.press(&[key]),
        }
        terminal.wait_for_the_end();
        let state = terminal.tmux(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"]);
        assert_eq!(state.trim(), "0 1", "after {end}: alternate screen, cursor");
    }
    // A closed terminal ends the program. Its settings are gone with it.
    let terminal = start((80, 24), "", &mixed());
    let program = terminal.program();
    terminal.close();
    until("the end of the program without a terminal", || {
        let stat = fs::read_to_string(format!("/proc/{program}/stat")).unwrap_or_default();
        // Nobody may wait for the process, which then stays as a zombie.
        stat.is_empty() || stat.contains(") Z ")
    });
}

/// Bytes that control a terminal or change the direction of text are shown as text.
#[test]
fn hostile_bytes_are_text() {
    if !has_tmux("hostile_bytes_are_text") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = hostile(folder.path());
    let terminal = start((200, 60), "", &file);
    let is_sound = |what: &str| {
        let text = terminal.rows().join("\n");
        let is_hostile =
            |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c) || ('\u{590}'..='\u{5ff}').contains(&c);
        assert!(!text.contains(is_hostile), "{what}:\n{text}");
        assert_ne!(terminal.tmux(&["display-message", "-p", "#{pane_title}"]).trim(), "title", "{what}: the title was set");
    };
    terminal.press(&["3"]);
    for (_, shown) in HOSTILE {
        terminal.wait_for(shown);
    }
    terminal.wait_for("\u{4f60}\u{597d}");
    is_sound("the tail");
    wait_for_fit(&terminal, (200, 60), "REQUEST");
    terminal.press(&["k", "Enter"]);
    terminal.wait_for("event.start");
    is_sound("a transaction");
    for (key, part) in [("1", "SERVICE"), ("2", "OPERATION"), ("5", "ASKED BY")] {
        terminal.press(&[key]);
        wait_for_fit(&terminal, (200, 60), part);
        is_sound(part);
    }
    for size in SIZES {
        terminal.tmux(&["resize-window", "-x", &size.0.to_string(), "-y", &size.1.to_string()]);
        for (key, part) in [("2", "OPERATION"), ("3", "REQUEST"), ("5", "NAME")] {
            terminal.press(&[key]);
            wait_for_fit(&terminal, size, part);
        }
    }
    terminal.press(&["C-c"]);
    terminal.wait_for_the_end();
}

/// `e` writes a new file that only its owner can read and names it, and `y` gives text to the terminal's clipboard.
#[test]
fn rows_are_exported_and_copied() {
    if !has_tmux("rows_are_exported_and_copied") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let terminal = start((120, 40), &format!("cd {};", folder.path().display()), &mixed());
    terminal.tmux(&["set-option", "-s", "set-clipboard", "on"]);
    terminal.press(&["e", "c"]);
    terminal.wait_for(" in sniffer-services-");
    let files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap()).collect();
    let [file] = files.as_slice() else { panic!("{files:?}") };
    let (name, mode) = (file.file_name().into_string().unwrap(), file.metadata().unwrap().permissions().mode() & 0o777);
    assert!(name.ends_with(".csv") && terminal.rows().last().is_some_and(|row| row.ends_with(&name)), "{name}: {:?}", terminal.rows());
    assert_eq!(mode, 0o600, "the permissions of {name}");
    let text = fs::read_to_string(file.path()).unwrap();
    assert!(text.starts_with("service,protocol,") && text.contains("\"http\""), "{text}");
    terminal.press(&["3"]);
    wait_for_fit(&terminal, (120, 40), "REQUEST");
    terminal.press(&["y", "j"]);
    terminal.wait_for("Copied ");
    let copied = || terminal.tmux(&["list-buffers", "-F", "#{buffer_sample}"]);
    terminal.until("the transaction in the clipboard", || copied().contains("@timestamp"));
    let document: Value = serde_json::from_str(&terminal.tmux(&["show-buffer"])).unwrap();
    assert_eq!(document["type"], "http", "{document}");
    terminal.press(&["q"]);
    terminal.wait_for_the_end();
}

/// The documents that the program writes for a capture file.
fn documents(home: &Home, capture: &Path) -> PathBuf {
    assert_success(&home.read_capture(capture));
    let files: Vec<PathBuf> = fs::read_dir(home.path().join("out")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [file] = files.as_slice() else { panic!("{files:?}") };
    file.clone()
}

/// The report of `top --json`, without the numbers that depend on the time that was covered: flows also have times.
fn report(command: &mut Command) -> (Value, String) {
    let output = command.args(["--json"]).stdin(Stdio::null()).output().unwrap();
    assert_success(&output);
    let mut report: Value = serde_json::from_slice(&output.stdout).unwrap();
    for part in ["seconds", "packets"] {
        report.as_object_mut().unwrap().remove(part);
    }
    for table in ["services", "operations"] {
        for row in report[table].as_array_mut().unwrap() {
            let row = row.as_object_mut().unwrap();
            for name in ["rate", "bytes_per_second"] {
                row.remove(name);
            }
        }
    }
    (report, String::from_utf8(output.stderr).unwrap())
}

/// A report about documents is that about the capture of which they were made.
#[test]
fn documents_are_counted_as_their_transactions() {
    let protocols =
        "packetbeat.protocols: [{type: http, ports: [80, 8080, 8000, 5000, 8002]}, {type: dns, ports: [53]}, {type: pgsql, ports: [5432]}]";
    for name in ["http/nginx", "dns/dnsmasq", "pgsql/simple"] {
        let capture = tests().join(format!("protocols/{name}.pcap"));
        let home = Home::new(protocols);
        let file = documents(&home, &capture);
        let of = |file: &Path| report(sniffer().args(["top", "-r"]).arg(file));
        let ((expected, _), (found, _)) = (of(&capture), of(&file));
        assert!(expected["transactions"].as_u64() > Some(0), "{name}: {expected}");
        assert_eq!(expected, found, "{name}: the capture, and its documents");
        // A line that is no document is named, and the others are counted.
        let text = fs::read_to_string(&file).unwrap();
        let (first, rest) = text.split_once('\n').unwrap();
        let broken = home.path().join("broken.ndjson");
        fs::write(&broken, format!("{first}\nno document\n{rest}{{\"x\"\n")).unwrap();
        let (found, messages) = of(&broken);
        assert_eq!(expected, found, "{name}: with lines that are no documents");
        assert!(messages.contains("line 2 is no document: ") && messages.contains(": 2 of "), "{messages}");
        // `watch` prints the same lines.
        let lines = |file: &Path| {
            let output = sniffer().args(["watch", "-r"]).arg(file).env("TZ", "UTC").output().unwrap();
            assert_success(&output);
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
            let mut lines: Vec<String> =
                text(output.stdout).lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
            lines.sort();
            (lines, text(output.stderr))
        };
        let ((expected, _), (found, summary)) = (lines(&capture), lines(&file));
        assert_eq!(expected, found, "{name}: the lines of the capture and of its documents");
        assert!(summary.contains(" transaction") && !summary.contains("Packets: "), "{summary}");
    }
}

/// Standard input is a capture or documents, and keys come from the terminal.
#[test]
fn standard_input_is_shown() {
    if !has_tmux("standard_input_is_shown") {
        return;
    }
    let home = Home::new("packetbeat.protocols: [{type: http, ports: [80, 8080, 8000, 5000, 8002]}]");
    let file = documents(&home, &mixed());
    for input in [mixed(), file] {
        let terminal = start((80, 24), &format!("cat {} |", input.display()), Path::new("-"));
        terminal.press(&["3"]);
        wait_for_fit(&terminal, (80, 24), " http ");
        terminal.press(&["q"]);
        terminal.wait_for_the_end();
    }
}
