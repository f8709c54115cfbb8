//! Helpers for tests: processes with sockets of their own.

use std::{
    net::{SocketAddr, UdpSocket},
    os::fd::AsFd,
    process::{Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// Keeps other tests of processes from running: a process that one test starts has, until it executes its program, the sockets of all tests.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A process of the test, which ends with this value.
pub struct Child(std::process::Child);

/// The variable that tells a process of [`Child::helper`] what to do.
const ROLE: &str = "SNIFFER_TEST_ROLE";

impl Child {
    /// A shell that has connected to `server` and waits.
    pub fn connected(server: SocketAddr) -> Self {
        Self::bash(&format!("exec 3<>/dev/tcp/{}/{}; read", server.ip(), server.port()))
    }

    /// A shell that runs `script`. Its input stays open until [`Self::go`].
    pub fn bash(script: &str) -> Self {
        Self::start(Command::new("bash").args(["-c", script]).stdin(Stdio::piped()))
    }

    /// This test program, as a process that plays a role of [`a_child_plays_its_role`] with `input` as its standard input.
    pub fn helper(role: &str, input: impl Into<Stdio>) -> Self {
        let arguments = ["--exact", "process::testing::a_child_plays_its_role"];
        Self::start(Command::new(std::env::current_exe().unwrap()).args(arguments).env(ROLE, role).stdin(input))
    }

    pub fn start(command: &mut Command) -> Self {
        Self(command.stdout(Stdio::null()).spawn().unwrap())
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Closes the input of the process.
    pub fn go(&mut self) {
        drop(self.0.stdin.take());
    }

    /// Waits for the end of the process.
    pub fn wait(mut self) {
        self.go();
        let status = self.0.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

/// Maximum number of datagrams that a server answers.
const DATAGRAMS: usize = 1000;

/// The code of the processes that [`Child::helper`] starts. It tests nothing by itself.
#[test]
fn a_child_plays_its_role() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let (pid, words) = (std::process::id().to_string(), role.split(' ').collect::<Vec<_>>());
    match *words {
        ["send", server] => {
            let any = if server.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
            UdpSocket::bind(any).unwrap().send_to(pid.as_bytes(), server).unwrap();
        }
        // The socket is the standard input.
        ["answer"] => {
            let socket = UdpSocket::from(std::io::stdin().as_fd().try_clone_to_owned().unwrap());
            for _ in 0..DATAGRAMS {
                let (_, from) = socket.recv_from(&mut [0; 16]).unwrap();
                socket.send_to(pid.as_bytes(), from).unwrap();
            }
        }
        _ => unreachable!("{role}"),
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Calls `get` until it returns something.
pub fn wait_for<T>(what: &str, mut get: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(got) = get() {
            return got;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{what} does not come");
        thread::sleep(Duration::from_millis(5));
    }
}
