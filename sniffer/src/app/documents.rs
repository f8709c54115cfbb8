//! A file with documents, one per line, as the source of a view: the file is recognised by its first bytes and read line by line.

use super::{
    Error,
    signals::Signals,
    view::{View, Watched},
};
use crate::{
    protocols::PROTOCOLS,
    publish::observer::{
        Observer,
        documents::{Documents, Kind},
    },
    view::{text, units::counted},
};
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, tee};
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    slice,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};
use tokio::sync::oneshot;

/// How long the program may take to end after a signal, besides the time that the view gets.
const GRACE: Duration = Duration::from_secs(2);
/// Longest line that is read. A longer one is no document.
const LONGEST: u64 = 4 << 20;
/// Number of bytes at the beginning of a file that decide what it is.
const HEAD: usize = 64;
/// Number of lines after which the counters are shown again.
const STEP: u64 = 1000;

/// The documents of a file.
pub struct Input {
    reader: BufReader<File>,
    name: String,
}

impl Input {
    /// Opens a file if it contains documents; `None` if it contains something else. `-` is standard input.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn open(path: &Path) -> Result<Option<Self>, String> {
        let is_stdin = path == Path::new("-");
        let real = if is_stdin { PathBuf::from("/dev/stdin") } else { path.to_owned() };
        let of = |error: io::Error| format!("{}: {error}", path.display());
        let mut file = File::open(&real).map_err(of)?;
        let kind = file.metadata().map_err(of)?.file_type();
        let mut head = [0; HEAD];
        let length = if kind.is_file() {
            let length = file.read(&mut head).map_err(of)?;
            // The file is opened again, because another reader may read it, too.
            file = File::open(&real).map_err(of)?;
            length
        } else {
            // What is taken from a pipe would be missing for the reader of captures.
            peek(&file, &mut head).unwrap_or(0)
        };
        let has_documents = is_documents(head.get(..length).unwrap_or_default());
        let name = if is_stdin { "standard input".to_owned() } else { path.display().to_string() };
        Ok(has_documents.then(|| Self { reader: BufReader::new(file), name }))
    }

    /// Reads all documents and passes them to the observer. `progress` gets the counts from time to time and at the end. The method returns early
    /// when `stop` is set.
    fn read(mut self, observer: &mut dyn Observer, stop: &AtomicBool, progress: &impl Fn(&Counts)) {
        let mut documents = Documents::new(PROTOCOLS.iter().map(|protocol| (protocol.name, protocol.summary)));
        let (mut line, mut counts) = (Vec::new(), Counts::default());
        while !stop.load(Ordering::Relaxed) {
            match self.next(&mut line) {
                Ok(false) => break,
                Err(error) => {
                    log::error!("{}: {error}; {} were read", self.name, counted(counts.lines, "line"));
                    break;
                }
                Ok(true) => {}
            }
            counts.lines += 1;
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            match documents.read(&line, observer) {
                Ok(Kind::Transaction) => counts.transactions += 1,
                Ok(Kind::Flow) => counts.flows += 1,
                Err(reason) => {
                    counts.invalid += 1;
                    if counts.invalid == 1 {
                        log::warn!("{}: line {} is no document: {}", self.name, counts.lines, shown(&reason));
                    }
                }
            }
            if counts.lines.is_multiple_of(STEP) {
                progress(&counts);
            }
        }
        if counts.invalid > 1 {
            log::warn!("{}: {} of {} are no documents", self.name, counts.invalid, counted(counts.lines, "line"));
        }
        if counts.flows > 0 {
            log::warn!("{}: {} are not shown", self.name, counted(counts.flows, "flow report"));
        }
        progress(&counts);
    }

    /// Reads the next line. A line that is too long is cut, so that it is no document. Returns false at the end.
    fn next(&mut self, line: &mut Vec<u8>) -> io::Result<bool> {
        line.clear();
        let length = self.reader.by_ref().take(LONGEST).read_until(b'\n', line)?;
        if length as u64 == LONGEST && line.last() != Some(&b'\n') {
            while !line.is_empty() && line.last() != Some(&b'\n') {
                line.clear();
                self.reader.by_ref().take(LONGEST).read_until(b'\n', line)?;
            }
            *line = b"a line that is too long".to_vec();
        }
        Ok(length > 0)
    }
}

/// Reads documents for a view, in place of a capture, until the view has ended or a signal arrives. `leave`: how long the view may take to show
/// the rest after a signal.
///
/// # Errors
/// When the threads cannot be started.
pub fn show(input: Input, view: View, leave: Duration, progress: impl Fn(&Counts) + Send + 'static) -> Result<(), Error> {
    let View { observer, started, quit, finish, mut ended } = view;
    let stop = Arc::new(AtomicBool::new(false));
    let mut observer = observer(Watched { live: false, stop: &stop });
    started(slice::from_ref(&input.name));
    let runtime = super::runtime()?;
    let mut signals = Signals::new(leave + GRACE, false)?;
    let (over, read) = oneshot::channel();
    let stopped = stop.clone();
    // The thread is not waited for: it may wait for the writer of a pipe.
    thread::Builder::new().name("documents".into()).spawn(move || {
        input.read(&mut *observer, &stopped, &progress);
        // The receiver is gone if the view ended before.
        let _ = over.send(());
    })?;
    runtime.block_on(async {
        let is_read = tokio::select! {
            _ = read => true,
            _ = &mut ended => false,
            _ = signals.next() => false,
            () = quit.notified() => false,
        };
        stop.store(true, Ordering::Relaxed);
        finish();
        if is_read {
            tokio::select! {
                _ = &mut ended => return,
                _ = signals.next() => {}
                () = quit.notified() => {}
            }
        }
        // If the view does not end in time, it is left.
        let _ = tokio::time::timeout(leave, ended).await;
    });
    Ok(())
}

/// What was read.
#[derive(Debug, Default)]
pub struct Counts {
    /// All lines.
    pub lines: u64,
    /// Lines that are documents of transactions.
    pub transactions: u64,
    /// Lines that are reports of flows.
    pub flows: u64,
    /// Lines that are no documents.
    pub invalid: u64,
}

impl Counts {
    /// The counts with their names.
    pub fn counters(&self) -> Vec<(String, u64)> {
        let counters = [
            ("documents.lines", self.lines),
            ("documents.transactions", self.transactions),
            ("documents.flows_not_shown", self.flows),
            ("documents.invalid_lines", self.invalid),
        ];
        counters.map(|(name, total)| (name.to_owned(), total)).to_vec()
    }
}

/// A reason in one line without control characters.
fn shown(reason: &str) -> String {
    let mut out = String::new();
    text::push(&mut out, reason, 200, text::Charset::Ascii);
    out
}

/// Whether a file that begins with these bytes has a document of JSON in its first line. Capture files begin with other bytes.
fn is_documents(head: &[u8]) -> bool {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    // A file of pcapng begins with a line feed, too.
    !head.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]) && head.trim_ascii_start().first() == Some(&b'{')
}

/// Copies the first bytes of a pipe without taking them. The function waits for the first bytes.
fn peek(from: &File, head: &mut [u8]) -> io::Result<usize> {
    let (copy, to) = pipe_with(PipeFlags::CLOEXEC)?;
    let length = tee(from, &to, head.len(), SpliceFlags::empty())?;
    File::from(copy).read(head.get_mut(..length).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{net::FlowRecord, process::Ends, publish::observer::Transaction};
    use std::{cell::RefCell, fs, io::Write};

    /// Counts transactions.
    #[derive(Default)]
    struct Counter(usize);

    impl Observer for Counter {
        fn transaction(&mut self, _: &Transaction<'_>) {
            self.0 += 1;
        }

        fn flow(&mut self, _: &FlowRecord, _: &Ends) {}
    }

    fn read(text: &[u8]) -> (usize, Vec<(String, u64)>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.ndjson");
        fs::write(&path, text).unwrap();
        let input = Input::open(&path).unwrap().expect("documents");
        let (mut counter, counters) = (Counter::default(), RefCell::default());
        input.read(&mut counter, &AtomicBool::new(false), &|counts: &Counts| *counters.borrow_mut() = counts.counters());
        (counter.0, counters.into_inner())
    }

    #[test]
    fn a_file_is_recognised_by_its_first_bytes() {
        for head in [&b"{\"a\":1}"[..], b" \n{}", b"\xef\xbb\xbf{", b"{"] {
            assert!(is_documents(head), "{head:?}");
        }
        for head in [&b""[..], b"\n\r\r\n{", b"\xd4\xc3\xb2\xa1{", b"[{}]", b"x{"] {
            assert!(!is_documents(head), "{head:?}");
        }
        let missing = tempfile::tempdir().unwrap().path().join("missing");
        assert!(Input::open(&missing).err().unwrap().starts_with(&format!("{}: ", missing.display())));
    }

    #[test]
    fn nothing_is_taken_from_a_pipe() {
        let (from, to) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let (mut from, mut head) = (File::from(from), [0; 4]);
        File::from(to).write_all(b"{\"a\":1}").unwrap();
        assert_eq!((peek(&from, &mut head).unwrap(), &head), (4, b"{\"a\""));
        let mut rest = String::new();
        from.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "{\"a\":1}");
    }

    #[test]
    fn lines_that_are_no_documents_are_counted() {
        let document = r#"{"@timestamp":"2026-01-02T03:04:05.678Z","type":"http","status":"OK","method":"GET"}"#;
        let flow = r#"{"@timestamp":"2026-01-02T03:04:05.678Z","type":"flow"}"#;
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(LONGEST as usize * 2 + 10));
        let text = format!("{document}\n\nno document\n{flow}\n{long}\n{{\"b\":1}}\n{document}");
        let (transactions, counters) = read(text.as_bytes());
        let total = |name: &str| counters.iter().find(|(known, _)| known == name).unwrap().1;
        assert_eq!((transactions, total("documents.lines"), total("documents.flows_not_shown")), (2, 7, 1));
        assert_eq!(total("documents.invalid_lines"), 3);
    }
}
