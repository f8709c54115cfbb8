//! `--dump PREFIX`: writes captured frames to `PREFIX-YYYYmmddHHMMSS.pcap` (local time), a pcap file with nanosecond
//! timestamps.

use super::{Error, Frame, Link, Polled, Source, linktype, wrapper::Wrapper};
use std::{
    fs::{File, OpenOptions, Permissions},
    io::{self, BufWriter, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Snap length in the file header: the largest snap length of any backend.
const SNAPLEN: u32 = 262_144;

/// The open dump file, shared by all workers.
pub struct Dump {
    path: PathBuf,
    output: BufWriter<File>,
    /// The link type of the file, which is the link type of the first frame. A pcap file has only one link type.
    link: Option<Link>,
    /// Number of frames not written because their link type differs from `link`.
    left_out: u64,
    failed: bool,
}

impl Dump {
    /// Creates the file.
    ///
    /// # Errors
    /// When the file cannot be created; the message has its path.
    pub fn create(prefix: &str) -> Result<Arc<Mutex<Self>>, Error> {
        let path = PathBuf::from(format!("{prefix}-{}.pcap", jiff::Zoned::now().strftime("%Y%m%d%H%M%S")));
        // Packets contain secrets, so only the user may read the file. `O_NOFOLLOW` prevents that a symbolic link at this path is followed.
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        let file = options.open(&path).and_then(|file| {
            if !file.metadata()?.is_file() {
                return Err(io::Error::other("is not a regular file"));
            }
            // The mode in `open` applies only if the file did not exist before.
            file.set_permissions(Permissions::from_mode(0o600)).map(|()| file)
        });
        let file = file.map_err(|e| Error::file(&path, e.to_string()))?;
        Ok(Arc::new(Mutex::new(Self { path, output: BufWriter::new(file), link: None, left_out: 0, failed: false })))
    }

    /// Path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn header(&mut self, link: Link) -> io::Result<()> {
        self.link = Some(link);
        for word in [0xa1b2_3c4d, 4 << 16 | 2, 0, 0, SNAPLEN, linktype::number(link)] {
            self.output.write_all(&u32::to_le_bytes(word))?;
        }
        Ok(())
    }

    fn write(&mut self, frame: &Frame<'_>) -> io::Result<()> {
        match self.link {
            None => self.header(frame.link)?,
            Some(link) if link != frame.link => {
                self.left_out += 1;
                return Ok(());
            }
            Some(_) => {}
        }
        // Insert a stripped VLAN tag where it was on the wire: after the two MAC addresses.
        let tagged = frame.tag.filter(|_| frame.link == Link::Ethernet).zip(frame.data.split_at_checked(12));
        let extra = if tagged.is_some() { 4 } else { 0 };
        let (seconds, nanos) = (frame.time.0 / 1_000_000_000, frame.time.0 % 1_000_000_000);
        for word in [seconds as u32, nanos as u32, frame.data.len() as u32 + extra, frame.wire_len.saturating_add(extra)] {
            self.output.write_all(&word.to_le_bytes())?;
        }
        let Some((tag, (addresses, rest))) = tagged else { return self.output.write_all(frame.data) };
        self.output.write_all(addresses)?;
        self.output.write_all(&tag.tpid.to_be_bytes())?;
        self.output.write_all(&tag.tci.to_be_bytes())?;
        self.output.write_all(rest)
    }

    /// Handles a write error, such as a full disk. The error must not end the capture: it is logged once, and the dump stops.
    fn note_result(&mut self, result: io::Result<()>) {
        if let Err(error) = result
            && !std::mem::replace(&mut self.failed, true)
        {
            log::warn!("{}: {error}; no more frames are written to this dump file", self.path.display());
        }
    }
}

impl Drop for Dump {
    fn drop(&mut self) {
        if self.link.is_none() {
            let result = self.header(Link::Ethernet);
            self.note_result(result);
        }
        let result = self.output.flush();
        self.note_result(result);
        if self.left_out > 0 {
            log::warn!(
                "{}: {} frames were left out, because their link type differs from that of the first frame and a pcap file has only one link type",
                self.path.display(),
                self.left_out
            );
        }
    }
}

fn lock(dump: &Mutex<Dump>) -> MutexGuard<'_, Dump> {
    // A worker that panicked while writing left at most one incomplete record. The dump continues after it.
    dump.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A source that writes every frame to the dump before it hands the frame over.
pub struct Dumped {
    inner: Box<dyn Source>,
    dump: Arc<Mutex<Dump>>,
}

impl Dumped {
    /// Writes the frames of `inner` to `dump`.
    pub fn new(inner: Box<dyn Source>, dump: Arc<Mutex<Dump>>) -> Self {
        Self { inner, dump }
    }
}

impl Wrapper for Dumped {
    fn inner(&mut self) -> Option<&mut dyn Source> {
        Some(self.inner.as_mut())
    }

    fn poll(&mut self, wait: Duration, each: &mut dyn FnMut(Frame<'_>)) -> io::Result<Polled> {
        let dump = &self.dump;
        let polled = self.inner.poll(wait, &mut |frame| {
            let mut dump = lock(dump);
            if !dump.failed {
                let result = dump.write(&frame);
                dump.note_result(result);
            }
            drop(dump);
            each(frame);
        })?;
        if !matches!(polled, Polled::Frames(_)) {
            // Write the buffer to the file while no frames arrive, so that a user can read the frames captured until now.
            let mut dump = lock(&self.dump);
            let result = dump.output.flush();
            dump.note_result(result);
        }
        Ok(polled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        capture::{Segments, StrippedTag, file::FileSource},
        time::Timestamp,
    };

    struct Three(bool);

    impl Source for Three {
        fn poll(&mut self, _: Duration, each: &mut dyn FnMut(Frame<'_>)) -> io::Result<Polled> {
            if std::mem::replace(&mut self.0, true) {
                return Ok(Polled::Ended);
            }
            let tag = Some(StrippedTag { tpid: 0x88a8, tci: 0x2005 });
            let frame = Frame {
                time: Timestamp(4_000_000_000_123_456_789),
                link: Link::Ethernet,
                data: b"destinsourceTYdata",
                wire_len: 20,
                tag: None,
                ifindex: 3,
                segments: Segments::default(),
                task: Default::default(),
            };
            each(frame);
            each(Frame { tag, ..frame });
            each(Frame { link: Link::RawIp, ..frame });
            Ok(Polled::Frames(3))
        }

        fn update_stats(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn dumped_frames_can_be_read_again() {
        let prefix = std::env::temp_dir().join(format!("sniffer-dump-{}", std::process::id()));
        let dump = Dump::create(prefix.to_str().unwrap()).unwrap();
        let path = lock(&dump).path().to_owned();
        let stamp = path.to_str().unwrap().strip_prefix(prefix.to_str().unwrap()).unwrap().to_owned();
        assert!(stamp.len() == "-20240229120000.pcap".len() && stamp.starts_with("-2") && stamp.ends_with(".pcap"), "{stamp}");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let mut dumped = Dumped::new(Box::new(Three(false)), Arc::clone(&dump));
        let mut count = 0;
        while Source::poll(&mut dumped, Duration::ZERO, &mut |_| count += 1).unwrap() != Polled::Ended {}
        assert_eq!(count, 3);
        let mut seen = Vec::new();
        let mut file = FileSource::open(&path, Arc::default()).unwrap();
        while file.poll(Duration::ZERO, &mut |f| seen.push((f.time.0, f.data.to_vec(), f.wire_len))).unwrap() != Polled::Ended {}
        let time = 4_000_000_000_123_456_789;
        assert_eq!(seen, [(time, b"destinsourceTYdata".to_vec(), 20), (time, b"destinsource\x88\xa8\x20\x05TYdata".to_vec(), 24)]);
        assert_eq!(lock(&dump).left_out, 1);
        std::fs::remove_file(path).unwrap();
    }
}
