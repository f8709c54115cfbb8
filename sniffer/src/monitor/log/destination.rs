//! Where the records of a log are written.

use crate::rotate::Rotator;
use log::Level;
use std::{
    io::{self, Write},
    os::unix::net::{UnixDatagram, UnixStream},
    path::Path,
};

/// Where a log is written.
pub(super) enum To {
    Stderr,
    Files(Rotator),
    Syslog(Syslog),
    Nowhere,
    #[cfg(test)]
    Memory(Vec<u8>),
}

impl To {
    /// The log daemon of this host (syslog).
    pub fn syslog() -> Self {
        Self::Syslog(Syslog { paths: SYSLOG, connected: None })
    }

    /// Writes a line. If that fails, the line goes to standard error.
    pub fn write(&mut self, level: Level, line: &str) {
        let written = match self {
            Self::Stderr => io::stderr().lock().write_all(line.as_bytes()),
            Self::Files(rotator) => rotator.write(line.as_bytes()),
            Self::Syslog(syslog) => syslog.write(level, line),
            Self::Nowhere => Ok(()),
            #[cfg(test)]
            Self::Memory(all) => all.write_all(line.as_bytes()),
        };
        if written.is_err() && matches!(self, Self::Files(_) | Self::Syslog(_)) {
            // An error is ignored: if standard error fails too, the line is lost.
            let _ = io::stderr().lock().write_all(line.as_bytes());
        }
    }
}

/// Paths of the sockets on which log daemons listen.
const SYSLOG: &[&str] = &["/dev/log", "/var/run/syslog", "/var/run/log"];
/// The facility `local0` (RFC 5424, section 6.2.1), which Packetbeat uses too.
const FACILITY: u8 = 16;
/// Name of the program in the messages to a log daemon.
const TAG: &str = "packetbeat";

/// The connection to a log daemon. Messages have the form of RFC 3164 without a host name, as syslog(3) sends them.
pub(super) struct Syslog {
    paths: &'static [&'static str],
    connected: Option<Socket>,
}

enum Socket {
    Datagram(UnixDatagram),
    Stream(UnixStream),
}

impl Socket {
    fn connect(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        if socket.connect(path).is_ok() {
            // The socket does not block, because a daemon that does not read must not stop the program.
            socket.set_nonblocking(true)?;
            return Ok(Self::Datagram(socket));
        }
        let stream = UnixStream::connect(path)?;
        stream.set_nonblocking(true)?;
        Ok(Self::Stream(stream))
    }

    fn send(&mut self, message: &str) -> io::Result<()> {
        match self {
            Self::Datagram(socket) => socket.send(message.as_bytes()).map(drop),
            // A message on a stream ends with a newline. After an incomplete message the stream cannot be used any more.
            Self::Stream(stream) => stream.write_all(format!("{message}\n").as_bytes()).map_err(|_| io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl Syslog {
    /// Sends a line. If that fails, the function connects again and sends the line once more, because the daemon may have been restarted.
    fn write(&mut self, level: Level, line: &str) -> io::Result<()> {
        let time = jiff::Zoned::now().strftime("%b %e %H:%M:%S");
        let message = format!("<{}>{time} {TAG}[{}]: {}", FACILITY * 8 + severity(level), std::process::id(), line.trim_end());
        if let Some(socket) = &mut self.connected {
            match socket.send(&message) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => self.connected = None,
                sent => return sent,
            }
        }
        let mut failed = io::Error::from(io::ErrorKind::NotFound);
        for path in self.paths {
            match Socket::connect(Path::new(path)) {
                Ok(mut socket) => {
                    let sent = socket.send(&message);
                    self.connected = Some(socket);
                    return sent;
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

/// The severity of a level, as RFC 5424 numbers it.
fn severity(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io::Read, os::unix::net::UnixListener};

    fn syslog(path: &Path) -> Syslog {
        let path: &'static str = Box::leak(path.to_str().unwrap().to_owned().into_boxed_str());
        Syslog { paths: Box::leak(Box::new(["/no/such/socket", path])), connected: None }
    }

    fn received(socket: &UnixDatagram) -> String {
        let mut message = [0; 1024];
        let n = socket.recv(&mut message).unwrap();
        String::from_utf8(message[..n].to_vec()).unwrap()
    }

    #[test]
    fn messages_of_all_levels_and_a_daemon_that_is_restarted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let daemon = UnixDatagram::bind(&path).unwrap();
        let mut syslog = syslog(&path);
        for (level, priority) in [(Level::Error, 131), (Level::Warn, 132), (Level::Info, 134), (Level::Debug, 135)] {
            syslog.write(level, "{\"message\":\"m\"}\n").unwrap();
            let message = received(&daemon);
            assert!(message.starts_with(&format!("<{priority}>")), "{message}");
            assert!(message.ends_with(&format!(" packetbeat[{}]: {{\"message\":\"m\"}}", std::process::id())), "{message}");
        }
        drop(daemon);
        std::fs::remove_file(&path).unwrap();
        assert!(syslog.write(Level::Info, "lost\n").is_err());
        let daemon = UnixDatagram::bind(&path).unwrap();
        syslog.write(Level::Info, "again\n").unwrap();
        assert!(received(&daemon).ends_with(": again"));
    }

    #[test]
    fn a_daemon_that_listens_on_a_stream_or_does_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stream");
        let listener = UnixListener::bind(&path).unwrap();
        let mut on_stream = syslog(&path);
        on_stream.write(Level::Info, "one\n").unwrap();
        on_stream.write(Level::Info, "two\n").unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        drop(on_stream);
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let ends: Vec<bool> = text.lines().zip(["one", "two"]).map(|(line, end)| line.ends_with(end)).collect();
        assert_eq!(ends, [true, true], "{text}");
        let path = folder.path().join("full");
        let _daemon = UnixDatagram::bind(&path).unwrap();
        let mut full = syslog(&path);
        // The receive buffer of the daemon is full after at most a few hundred messages.
        let refused = (0..100_000).map(|_| full.write(Level::Info, &"x".repeat(4096))).find_map(Result::err);
        assert_eq!(refused.map(|e| e.kind()), Some(io::ErrorKind::WouldBlock));
    }
}
