//! Network namespaces for live tests. A [`Net`] is two hosts connected by a veth pair, and a [`Running`] is a program that runs in the
//! background. Dropping a [`Net`] removes the namespaces. Dropping a [`Running`] ends the program.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

/// Longest wait for any condition, also on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Whether this process is root, which is needed to make namespaces. If not, prints that `test` is skipped. In CI the function fails
/// instead, because no live test may be skipped there.
pub fn may_run(test: &str) -> bool {
    let root = Command::new("id").arg("-u").output().is_ok_and(|o| o.stdout.starts_with(b"0"));
    assert!(root || std::env::var_os("CI").is_none(), "{test} needs root, and CI has to run it");
    if !root {
        eprintln!("SKIPPED {test}: it needs root to make network namespaces");
    }
    root
}

fn ip(args: &str) {
    let output = Command::new("ip").args(args.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {args}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Two namespaces: a client with 192.0.2.1 and fd00::1, a server with 192.0.2.2 and fd00::2, each on its interface `v0`.
pub struct Net {
    client: String,
    server: String,
}

impl Net {
    /// Creates the namespaces and the veth pair.
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        let name = |end: &str| format!("snf{}{end}{number}", std::process::id());
        let net = Self { client: name("c"), server: name("s") };
        ip(&format!("netns add {}", net.client));
        ip(&format!("netns add {}", net.server));
        net.connect();
        net
    }

    /// Creates the veth pair.
    pub fn connect(&self) {
        let Self { client, server } = self;
        ip(&format!("-n {client} link add v0 mtu 9000 type veth peer name v0 mtu 9000 netns {server}"));
        for (ns, last) in [(client, 1), (server, 2)] {
            ip(&format!("-n {ns} addr add 192.0.2.{last}/24 dev v0"));
            ip(&format!("-n {ns} addr add fd00::{last}/64 dev v0 nodad"));
            ip(&format!("-n {ns} link set lo up"));
            ip(&format!("-n {ns} link set v0 up"));
        }
        // GRO is needed: without GRO and without native XDP, frames sent from packet sockets do not reach all hooks.
        for ns in [client, server] {
            let _ = self.command(ns, "ethtool").args(["-K", "v0", "gro", "on"]).output();
        }
    }

    /// Disables IPv6 at both ends, so that there is no traffic but that of the test: a new interface asks for routers.
    pub fn disable_ipv6(&self) {
        for ns in [&self.client, &self.server] {
            let output = self.command(ns, "sh").args(["-c", "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6"]).output().unwrap();
            assert!(output.status.success(), "disable_ipv6: {}", String::from_utf8_lossy(&output.stderr));
        }
    }

    /// Removes the veth pair.
    pub fn disconnect(&self) {
        ip(&format!("-n {} link del v0", self.server));
    }

    /// A command that runs in the client's namespace.
    pub fn on_client(&self, program: &str) -> Command {
        self.command(&self.client, program)
    }

    /// A command that runs in the server's namespace.
    pub fn on_server(&self, program: &str) -> Command {
        self.command(&self.server, program)
    }

    // This uses nsenter, because `ip netns exec` mounts a new /sys, which hides bpffs.
    fn command(&self, ns: &str, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{ns}")).arg(program).stdin(Stdio::null());
        command
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for ns in [&self.client, &self.server] {
            let _ = Command::new("ip").args(["netns", "del", ns]).output();
        }
    }
}

/// A program that runs until the value is dropped.
pub struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Running {
    /// Starts the program and reads its stderr in the background.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let stderr = child.stderr.take().unwrap();
        std::thread::spawn(move || BufReader::new(stderr).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines, seen: Vec::new() }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the program writes a line that contains `text`.
    pub fn wait_for(&mut self, text: &str) {
        let start = Instant::now();
        while let Ok(line) = self.lines.recv_timeout(PATIENCE.saturating_sub(start.elapsed())) {
            let found = line.contains(text);
            self.seen.push(line);
            if found {
                return;
            }
        }
        panic!("no line with {text:?}; there were:\n{}", self.seen.join("\n"));
    }

    /// The last line that [`Running::wait_for`] has found.
    pub fn last(&self) -> &str {
        self.seen.last().map_or("", String::as_str)
    }

    /// Sends SIGTERM, waits for the program to end, and returns everything that it wrote to stderr. The function fails if the program ended
    /// with an error.
    pub fn stop(mut self) -> String {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        self.ended()
    }

    /// Like [`Running::stop`], but sends no signal and waits until the program ends.
    pub fn finish(mut self) -> String {
        self.ended()
    }

    fn ended(&mut self) -> String {
        let mut status = None;
        until("the program ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let status = status.unwrap();
        self.seen.extend(self.lines.iter());
        let log_text = self.seen.join("\n");
        assert!(status.success(), "{status}:\n{log_text}");
        log_text
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Calls `ready` until it returns true. Panics after [`PATIENCE`], naming `what`.
pub fn until(what: &str, ready: impl FnMut() -> bool) {
    assert!(becomes(ready), "{what}: not within {PATIENCE:?}");
}

/// Calls `ready` until it returns true, and returns true. Returns false after [`PATIENCE`].
pub fn becomes(mut ready: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !ready() {
        if start.elapsed() >= PATIENCE {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}
