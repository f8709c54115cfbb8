//! Applies a filter in user space: a user's `bpf_filter` to capture files, and to devices a filter that the kernel does not
//! run ([`super::unfiltered`]). The generated filter is not applied to files, because the port map of the stream layer
//! makes the same decision at a lower cost.

use super::{
    Error, Frame, Link, Polled, Source, compile,
    filter::cbpf::Program,
    slot::{Reader, Slot},
    tally::Tally,
    wrapper::Wrapper,
};
use std::{io, sync::Arc, time::Duration};

/// Every link type that a file can have.
const LINKS: [Link; 5] = [Link::Ethernet, Link::RawIp, Link::LinuxSll, Link::LinuxSll2, Link::Null];

/// One program per link type. `None` where the expression is invalid for a link type (`ether host` on raw IP): no frame
/// of that type matches.
pub type Programs = Vec<(Link, Option<Program>)>;

/// Compiles `expression`, a pcap-filter(7) expression, for every link type.
///
/// # Errors
/// When the expression is invalid for every link type, or asks for the direction or the interface of a packet, which a
/// file does not have.
pub fn compile_all(expression: &str) -> Result<Programs, Error> {
    compile_each(|_| expression)
}

/// Like [`compile_all`], with an expression for each link type.
///
/// # Errors
/// Those of [`compile_all`].
pub fn compile_each<'a>(expression: impl Fn(Link) -> &'a str) -> Result<Programs, Error> {
    let mut first_error = None;
    let mut programs = Vec::new();
    for link in LINKS {
        let compiled = compile::for_link_without_tags(expression(link), link).and_then(|program| {
            let reason = "`inbound`, `outbound` and `ifindex` are known only to the kernel";
            if program.reads_metadata() { Err(Error::Setting(format!("filter `{}`: {reason}", expression(link)))) } else { Ok(program) }
        });
        programs.push((link, compiled.map_err(|error| first_error.get_or_insert(error)).ok()));
    }
    match first_error {
        Some(error) if programs.iter().all(|(_, program)| program.is_none()) => Err(error),
        _ => Ok(programs),
    }
}

/// A source that hands over only the frames which match a filter.
pub struct Filtered {
    inner: Box<dyn Source>,
    filter: Reader<Option<Arc<Programs>>>,
    /// The filter in force; `None` passes every frame.
    programs: Option<Arc<Programs>>,
    tally: Arc<Tally>,
}

impl Filtered {
    /// Filters the frames of `inner` with the programs in `filter`, and with every replacement set there later. `inner`
    /// must count its frames in the same `tally`.
    pub fn new(inner: Box<dyn Source>, filter: &Arc<Slot<Option<Arc<Programs>>>>, tally: Arc<Tally>) -> Self {
        let (filter, programs) = Reader::new(filter);
        Self { inner, filter, programs, tally }
    }
}

impl Wrapper for Filtered {
    fn inner(&mut self) -> Option<&mut dyn Source> {
        Some(self.inner.as_mut())
    }

    fn poll(&mut self, wait: Duration, each: &mut dyn FnMut(Frame<'_>)) -> io::Result<Polled> {
        if let Some(newer) = self.filter.newer() {
            self.programs = newer;
        }
        let Some(programs) = &self.programs else { return self.inner.poll(wait, each) };
        let (mut matched, mut rejected, mut rejected_bytes) = (0, 0, 0);
        let polled = self.inner.poll(wait, &mut |frame| {
            let program = programs.iter().find(|(link, _)| *link == frame.link).and_then(|(_, program)| program.as_ref());
            if program.is_some_and(|p| p.matches(frame.data, frame.wire_len, frame.tag)) {
                matched += 1;
                each(frame);
            } else {
                rejected += 1;
                rejected_bytes += frame.data.len() as u64;
            }
        });
        if rejected > 0 {
            self.tally.reject(rejected, rejected_bytes);
        }
        polled.map(|polled| if matches!(polled, Polled::Frames(_)) { Polled::Frames(matched) } else { polled })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        capture::{Segments, control::DeviceStats},
        time::Timestamp,
    };

    /// A source that hands over four frames once and adds them to its tally.
    struct Both(bool, Arc<Tally>);

    /// UDP packets to ports 53 and 54, each as raw IP and on Ethernet.
    impl Source for Both {
        fn poll(&mut self, _: Duration, each: &mut dyn FnMut(Frame<'_>)) -> io::Result<Polled> {
            if std::mem::replace(&mut self.0, true) {
                return Ok(Polled::Ended);
            }
            let packet =
                |port: u8| [&b"\x45\0\0\x1c\0\0\0\0\x40\x11\0\0\x7f\0\0\x01\x7f\0\0\x01\x04\0\0"[..], &[port], b"\0\x08\0\0"].concat();
            for port in [53, 54] {
                let ethernet = [&[0; 12][..], b"\x08\0", &packet(port)].concat();
                for (link, data) in [(Link::RawIp, packet(port)), (Link::Ethernet, ethernet)] {
                    each(Frame {
                        time: Timestamp(0),
                        link,
                        data: &data,
                        wire_len: 42,
                        tag: None,
                        ifindex: 0,
                        segments: Segments::default(),
                        task: Default::default(),
                    });
                }
            }
            self.1.add(DeviceStats { seen: 4, copied: 4, copied_bytes: 2 * (28 + 42), ..DeviceStats::default() });
            Ok(Polled::Frames(4))
        }

        fn update_stats(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn links(expression: &str) -> Vec<Link> {
        let tally = Arc::new(Tally::default());
        let filter = Slot::new(Some(Arc::new(compile_all(expression).unwrap())));
        let mut source = Filtered::new(Box::new(Both(false, Arc::clone(&tally))), &filter, Arc::clone(&tally));
        let (mut seen, mut bytes) = (Vec::new(), 0);
        let mut each = |f: Frame<'_>| {
            seen.push(f.link);
            bytes += f.data.len() as u64;
        };
        let first = Wrapper::poll(&mut source, Duration::ZERO, &mut each).unwrap();
        assert_eq!(first, Polled::Frames(seen.len()));
        assert_eq!(Wrapper::poll(&mut source, Duration::ZERO, &mut |_| {}).unwrap(), Polled::Ended);
        let (stats, copied) = (tally.get(), seen.len() as u64);
        assert_eq!(stats, DeviceStats { seen: 4, unmatched: 4 - copied, copied, copied_bytes: bytes, ..DeviceStats::default() });
        assert_eq!(stats.matched(), copied);
        seen
    }

    #[test]
    fn each_link_has_its_program() {
        assert_eq!(links("udp port 53"), [Link::RawIp, Link::Ethernet]);
        assert_eq!(links("ether[0] = 0 and port 54"), [Link::Ethernet], "which has no meaning on raw IP");
        assert_eq!(links("udp port 54 or (vlan and udp port 54)"), [Link::RawIp, Link::Ethernet], "nor has a tag");
        assert_eq!(links("tcp"), []);
    }

    #[test]
    fn an_invalid_expression_is_refused() {
        let error = compile_all("port eighty three").map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("port eighty three") && error.len() > 40, "{error}");
    }
}
