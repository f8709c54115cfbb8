//! The program as a service of systemd: what it tells the service manager, and its unit file.

use crate::{
    harness::{Home, tests},
    net::{Net, PATIENCE, Running, may_run},
};
use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixDatagram},
    process::Command,
    time::Instant,
};

const CONFIG: &str =
    "packetbeat.protocols: [{type: dns, ports: [53]}]\npacketbeat.interfaces: {device: v0, buffer_size_mb: 8}\nlogging.level: info\n";

/// Receives messages until one contains `text`. Returns the messages before it.
fn receive_until(socket: &UnixDatagram, text: &str) -> Vec<String> {
    let (start, mut before) = (Instant::now(), Vec::new());
    while start.elapsed() < PATIENCE {
        let mut message = [0; 4096];
        let length = socket.recv(&mut message).unwrap_or_else(|e| panic!("no {text:?}: {e}; there were {before:?}"));
        let message = String::from_utf8_lossy(&message[..length]).into_owned();
        if message.contains(text) {
            before.push(message);
            return before;
        }
        before.push(message);
    }
    panic!("no {text:?} among {before:?}");
}

#[test]
fn the_service_manager_learns_when_capture_is_attached_and_when_it_ends() {
    if !may_run("the_service_manager_learns_when_capture_is_attached_and_when_it_ends") {
        return;
    }
    let (net, home) = (Net::new(), Home::new(CONFIG));
    let path = home.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    // As the socket of systemd, so that the unprivileged user can send.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let program = home.live();
    let mut command = net.on_server(&program.get_program().to_string_lossy());
    let mut running = Running::start(command.args(program.get_args()).env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "3000000"));
    let first = receive_until(&socket, "READY=1").remove(0);
    assert!(first.contains("READY=1\n") && first.contains("STATUS=Capturing: v0 "), "the first message: {first}");
    running.wait_for("sniffer is running");
    for _ in 0..2 {
        assert_eq!(receive_until(&socket, "WATCHDOG=1").len(), 1);
    }
    running.stop();
    let last = receive_until(&socket, "STOPPING=1");
    assert!(last.iter().all(|message| message.contains("WATCHDOG=1") || message.contains("STOPPING=1")), "{last:?}");
}

#[test]
fn without_a_device_the_program_is_not_ready() {
    let home = Home::new(&CONFIG.replace("v0", "no-such-device"));
    let path = home.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_nonblocking(true).unwrap();
    let output = home.command(&["-e"]).env("NOTIFY_SOCKET", &path).output().unwrap();
    assert!(!output.status.success(), "{output:?}");
    let received = socket.recv(&mut [0; 100]);
    assert!(received.is_err(), "a message of {received:?} bytes");
}

/// `systemd-analyze security` rates a unit from 0 (confined) to 10. The test is skipped without systemd 250 or newer.
#[test]
fn the_unit_is_confined() {
    let unit = tests().join("../packaging/sniffer.service");
    let Ok(output) =
        Command::new("systemd-analyze").args(["security", "--no-pager", "--offline=true", "--threshold=30"]).arg(&unit).output()
    else {
        eprintln!("SKIPPED the_unit_is_confined: there is no systemd-analyze");
        return;
    };
    let (text, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if error.contains("unrecognized option") {
        eprintln!("SKIPPED the_unit_is_confined: systemd-analyze is too old: {error}");
        return;
    }
    assert!(output.status.success(), "the exposure is more than 3.0:\n{text}{error}");
    assert!(text.contains("Overall exposure level for sniffer.service"), "{text}");
    assert!(!error.contains("Unknown"), "{error}");
}
