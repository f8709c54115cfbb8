//! A user's `bpf_filter` on sources that no kernel filters: capture files. A generated filter is never applied this way, because the
//! map of ports decides the same for less.

use super::{Error, Frame, Link, Polled, Source, Stats, filter::cbpf::Program};
use std::{io, time::Duration};

/// Every link a file may have; its programs are compiled when it is opened.
const LINKS: [Link; 5] = [Link::Ethernet, Link::RawIp, Link::LinuxSll, Link::LinuxSll2, Link::Null];

/// The program of `expression` for `link`, in the form for files.
pub(super) fn compile(expression: &str, link: Link) -> Result<Program, Error> {
    Program::compile(expression, link).map_err(|error| Error::Setting(error.to_string()))
}

/// The program of `expression` for a link without an Ethernet header, where there is no place for a tag and libpcap refuses the word:
/// then of its other alternatives.
fn compile_plain(expression: &str, link: Link) -> Result<Program, Error> {
    compile(expression, link).or_else(|error| compile(&without_vlans(expression).ok_or(error)?, link))
}

/// The program for a device without a link header.
pub(super) fn compile_raw_ip(expression: &str) -> Result<Program, Error> {
    compile_plain(expression, Link::RawIp)
}

/// The expression without its alternatives `or (vlan …)`; `None` when it has none.
pub(super) fn without_vlans(expression: &str) -> Option<String> {
    let mut rest = expression;
    let mut plain = String::new();
    while let Some((before, group)) = rest.split_once(" or (vlan") {
        plain.push_str(before);
        let mut depth = 1_usize;
        let end = group.char_indices().find(|(_, c)| {
            match c {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            depth == 0
        });
        rest = group.get(end?.0 + 1..)?;
    }
    plain.push_str(rest);
    (plain.len() < expression.len()).then_some(plain)
}

/// A source of which only that is handed over which a filter lets through.
pub struct Filtered {
    inner: Box<dyn Source>,
    /// `None` where the expression has no meaning for a link (`ether host` on raw IP): nothing of that link matches.
    programs: Vec<(Link, Option<Program>)>,
    matched: u64,
}

impl Filtered {
    /// Puts `expression`, in libpcap's language, in front of `inner`.
    ///
    /// # Errors
    /// When it is not an expression at all.
    pub fn new(inner: Box<dyn Source>, expression: &str) -> Result<Self, Error> {
        let mut first_error = None;
        let mut programs = Vec::new();
        for link in LINKS {
            match compile_plain(expression, link) {
                Ok(program) => programs.push((link, Some(program))),
                Err(error) => {
                    first_error.get_or_insert(error);
                    programs.push((link, None));
                }
            }
        }
        match first_error {
            Some(error) if programs.iter().all(|(_, program)| program.is_none()) => Err(error),
            _ => Ok(Self { inner, programs, matched: 0 }),
        }
    }
}

impl Source for Filtered {
    fn poll(&mut self, wait: Duration, each: &mut dyn FnMut(Frame<'_>)) -> io::Result<Polled> {
        let programs = &self.programs;
        let mut matched = 0;
        let polled = self.inner.poll(wait, &mut |frame| {
            let program = programs.iter().find(|(link, _)| *link == frame.link).and_then(|(_, program)| program.as_ref());
            if program.is_some_and(|p| p.matches(frame.data, frame.wire_len, frame.tag)) {
                matched += 1;
                each(frame);
            }
        });
        self.matched += matched as u64;
        polled.map(|polled| if matches!(polled, Polled::Frames(_)) { Polled::Frames(matched) } else { polled })
    }

    fn stats(&mut self) -> io::Result<Stats> {
        let stats = self.inner.stats()?;
        Ok(Stats { matched: self.matched, ..stats })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Segments;
    use crate::time::Timestamp;

    struct Both(bool);

    /// A UDP packet to port 53, as raw IP and on Ethernet, and one to port 54.
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
                    });
                }
            }
            Ok(Polled::Frames(4))
        }

        fn stats(&mut self) -> io::Result<Stats> {
            Ok(Stats { seen: 4, matched: 4, ..Stats::default() })
        }
    }

    fn links(expression: &str) -> Vec<Link> {
        let mut source = Filtered::new(Box::new(Both(false)), expression).unwrap();
        let mut seen = Vec::new();
        let first = source.poll(Duration::ZERO, &mut |f| seen.push(f.link)).unwrap();
        assert_eq!(first, Polled::Frames(seen.len()));
        assert_eq!(source.poll(Duration::ZERO, &mut |_| {}).unwrap(), Polled::Ended);
        let stats = source.stats().unwrap();
        assert_eq!((stats.seen, stats.matched), (4, seen.len() as u64));
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
    fn no_expression() {
        let error = Filtered::new(Box::new(Both(false)), "port eighty three").map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("port eighty three") && error.len() > 40, "{error}");
    }

    #[test]
    fn alternatives_with_tags() {
        let cases = [
            ("tcp port 80 or (vlan and (tcp port 80))", Some("tcp port 80")),
            ("not host 10.0.0.1 and (udp or (vlan and (udp or (vlan and udp))))", Some("not host 10.0.0.1 and (udp)")),
            ("a or (vlan and a) or (vlan and vlan and (a)) and b", Some("a and b")),
            ("tcp port 80", None),
            ("vlan and tcp", None),
            ("tcp or (vlan and (tcp", None),
        ];
        for (expression, plain) in cases {
            assert_eq!(without_vlans(expression).as_deref(), plain, "{expression}");
        }
    }
}
