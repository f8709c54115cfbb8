//! Parses ONC RPC version 2 (RFC 5531) as NFS uses it, with RPCSEC_GSS (RFC 2203): the headers of calls and replies,
//! and the start of records in a stream. The rest of a message is not parsed.

use super::compound::{self, Compound};
use crate::protocols::kit::reader::Reader;
use memchr::memmem;
use smallvec::SmallVec;

/// The program number of NFS (RFC 1813, RFC 8881).
pub const PROGRAM: u32 = 100_003;
/// Maximum number of bytes of a call that are parsed: header, credentials (at most 400 bytes), a tag (1024 bytes), and the
/// operations before the main one.
pub const CALL_HEAD: usize = 4 << 10;
/// Maximum number of bytes of a reply that are parsed: header, verifier (at most 400) and status.
pub const REPLY_HEAD: usize = 512;
/// Length of the record mark before each fragment, in bytes (RFC 5531 section 11).
pub const MARK: usize = 4;
/// Longest body of credentials and verifiers in bytes (RFC 5531 section 8.2).
const LONGEST_AUTH: usize = 400;
/// Longest fragment in bytes that is accepted: servers support reads and writes of 1 MiB, some of 16 MiB.
const LONGEST_FRAGMENT: u32 = 64 << 20;
/// Minimum length of a call in bytes: header, empty credentials and verifier.
const SHORTEST_CALL: u32 = 40;
/// Minimum length of a reply in bytes.
const SHORTEST_REPLY: u32 = 20;

const CALL: u32 = 0;
const REPLY: u32 = 1;
const RPC_VERSION: u32 = 2;

/// The Unix credentials of a call.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Unix {
    /// A number chosen by the client.
    pub stamp: u32,
    /// The name of the client; may be empty.
    pub machine: SmallVec<[u8; 32]>,
    /// The user id.
    pub uid: u32,
    /// The group id.
    pub gid: u32,
    /// Further group ids.
    pub gids: SmallVec<[u32; 16]>,
}

/// The protection of arguments and results (RFC 2203 section 5.3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wrapping {
    /// Arguments and results are not protected.
    #[default]
    Plain,
    /// Arguments and results have integrity protection: they are readable, after a length and a sequence number.
    Integrity,
    /// Arguments and results are encrypted (privacy).
    Privacy,
}

/// The parts of a call that are reported or needed to find its reply.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// The transaction id.
    pub xid: u32,
    /// The version of the program.
    pub version: u32,
    /// The number of the called procedure.
    pub procedure: u32,
    /// The flavour of the credentials.
    pub flavor: u32,
    /// The credentials, if they are Unix credentials.
    pub unix: Option<Unix>,
    /// The protection of the results.
    pub wrapping: Wrapping,
    /// The start of a COMPOUND of version 4.
    pub compound: Option<Compound>,
}

impl Call {
    /// Whether the call requests TLS (RFC 9289 section 4.1).
    pub fn asks_for_tls(&self) -> bool {
        self.flavor == 7
    }
}

/// The needed parts of a reply.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// The transaction id.
    pub xid: u32,
    /// The body of the verifier.
    pub verifier: &'a [u8],
    /// `accept_stat`; `None` if the call was denied.
    pub accepted: Option<u32>,
    results: &'a [u8],
}

impl Reply<'_> {
    /// The status with which the results of all versions begin; `None` if it cannot be parsed.
    pub fn status(&self, wrapping: Wrapping) -> Option<u32> {
        let mut r = Reader::new(self.results);
        match wrapping {
            Wrapping::Plain => {}
            Wrapping::Integrity => r.skip(8)?,
            Wrapping::Privacy => return None,
        }
        r.u32()
    }
}

/// An RPC message.
#[derive(Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A call of NFS.
    Call(Call),
    /// A call of another program, for instance the client's callback service.
    OtherProgram,
    /// A reply to a call.
    Reply(Reply<'a>),
}

/// Number of bytes of results that are needed: a length and a sequence number of the protection, and a status.
const RESULTS: usize = 12;

/// Parses the header of a message. `None` if it is invalid or incomplete. `whole` is set if `data` is the complete
/// message.
pub fn read(data: &[u8], whole: bool) -> Option<Message<'_>> {
    let mut r = Reader::new(data);
    let xid = r.u32()?;
    match r.u32()? {
        CALL => call(xid, &mut r, whole),
        REPLY => reply(xid, &mut r).filter(|reply| whole || reply.results.len() >= RESULTS).map(Message::Reply),
        _ => None,
    }
}

fn call<'a>(xid: u32, r: &mut Reader<'a>, whole: bool) -> Option<Message<'a>> {
    if r.u32()? != RPC_VERSION {
        return None;
    }
    let (program, version, procedure) = (r.u32()?, r.u32()?, r.u32()?);
    if program != PROGRAM {
        return Some(Message::OtherProgram);
    }
    let (flavor, body) = auth(r)?;
    auth(r)?;
    let mut call = Call { xid, version, procedure, flavor, ..Call::default() };
    match flavor {
        1 => call.unix = Some(unix(body)?),
        6 => call.wrapping = wrapping(body)?,
        _ => {}
    }
    if version == 4 && procedure == 1 {
        // The arguments follow the length of the protected data and a sequence number.
        let readable = match call.wrapping {
            Wrapping::Plain => true,
            Wrapping::Integrity => r.skip(8).is_some(),
            Wrapping::Privacy => false,
        };
        call.compound = if readable { Some(compound::read(r, whole)?) } else { None };
    }
    Some(Message::Call(call))
}

fn reply<'a>(xid: u32, r: &mut Reader<'a>) -> Option<Reply<'a>> {
    match r.u32()? {
        0 => {
            let (_, verifier) = auth(r)?;
            let accepted = Some(r.u32()?);
            Some(Reply { xid, verifier, accepted, results: r.rest() })
        }
        1 => Some(Reply { xid, verifier: &[], accepted: None, results: &[] }),
        _ => None,
    }
}

fn auth<'a>(r: &mut Reader<'a>) -> Option<(u32, &'a [u8])> {
    let flavor = r.u32()?;
    let body = opaque(r)?;
    (body.len() <= LONGEST_AUTH).then_some((flavor, body))
}

/// Bytes preceded by their length and padded to a multiple of four (RFC 4506 section 4.10).
pub fn opaque<'a>(r: &mut Reader<'a>) -> Option<&'a [u8]> {
    let length = usize::try_from(r.u32()?).ok()?;
    let bytes = r.take(length)?;
    r.skip(length.wrapping_neg() % 4)?;
    Some(bytes)
}

/// Parses Unix credentials (RFC 5531 appendix A).
fn unix(body: &[u8]) -> Option<Unix> {
    let mut r = Reader::new(body);
    let stamp = r.u32()?;
    let machine = opaque(&mut r)?.into();
    let (uid, gid, count) = (r.u32()?, r.u32()?, r.u32()?);
    // The body has at most 400 bytes, which bounds the list.
    let mut gids = SmallVec::new();
    for _ in 0..count {
        gids.push(r.u32()?);
    }
    Some(Unix { stamp, machine, uid, gid, gids })
}

/// The protection that a call with RPCSEC_GSS uses (RFC 2203 section 5). Only data calls are protected, not those
/// that create and destroy a context.
fn wrapping(body: &[u8]) -> Option<Wrapping> {
    let mut r = Reader::new(body);
    let (_version, procedure, _number, service) = (r.u32()?, r.u32()?, r.u32()?, r.u32()?);
    Some(match (procedure, service) {
        (0, 2) => Wrapping::Integrity,
        (0, 3) => Wrapping::Privacy,
        _ => Wrapping::Plain,
    })
}

/// Reads a record mark: whether the fragment is the last of its record, and its length.
pub fn mark(data: &[u8]) -> Option<(bool, u32)> {
    data.first_chunk().map(|mark| u32::from_be_bytes(*mark)).map(|mark| (mark >> 31 == 1, mark & 0x7fff_ffff))
}

/// Whether a message can begin with this fragment, including the mark. `None` if more bytes are needed.
pub fn plausible(data: &[u8]) -> Option<bool> {
    let (last, length) = mark(data)?;
    if length > LONGEST_FRAGMENT || last && length < SHORTEST_REPLY {
        return Some(false);
    }
    if (length as usize) < START {
        return Some(!last); // The first fragment of a record may be very short.
    }
    let message = data.get(MARK..)?;
    let short_call = last && length < SHORTEST_CALL && message.get(4..8) == Some(&CALL.to_be_bytes());
    plausible_start(message).map(|plausible| plausible && !short_call)
}

/// Number of bytes that [`plausible_start`] needs.
pub const START: usize = 12;

/// Whether `message` can be the start of a message, without marks. `None` if it has less than [`START`] bytes.
pub fn plausible_start(message: &[u8]) -> Option<bool> {
    let mut r = Reader::new(message);
    r.skip(4)?;
    Some(match (r.u32()?, r.u32()?) {
        (CALL, version) => version == RPC_VERSION,
        (REPLY, how) => how <= 1,
        _ => false,
    })
}

/// Number of bytes that [`certain_start`] needs.
pub const CERTAIN_START: usize = 16;

/// Whether `message`, without marks, is the start of a call of NFS or of a reply that is `awaited`. `None` if it has less
/// than [`CERTAIN_START`] bytes.
pub fn certain_start(message: &[u8], awaited: impl Fn(u32) -> bool) -> Option<bool> {
    let mut r = Reader::new(message);
    let (xid, kind, third, fourth) = (r.u32()?, r.u32()?, r.u32()?, r.u32()?);
    Some(match kind {
        CALL => third == RPC_VERSION && fourth == PROGRAM,
        REPLY => third <= 1 && awaited(xid),
        _ => false,
    })
}

/// Whether a fragment after the first can have this length.
pub fn plausible_length(length: u32) -> bool {
    length <= LONGEST_FRAGMENT
}

/// Number of consecutive bytes in which [`find`] recognises the start of a record.
pub const FOUND_IN: usize = 20;

/// Finds the start of a record: a call of NFS, or a reply that is `awaited`.
pub fn find(data: &[u8], awaited: impl Fn(u32) -> bool) -> Option<usize> {
    const ASKS: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0x86, 0xa3];
    const ANSWERS: [u8; 7] = [0, 0, 0, 1, 0, 0, 0];
    let begins = |at: usize| {
        let begin = at.checked_sub(8)?;
        let record = data.get(begin..)?;
        (plausible(record) != Some(false)).then_some(begin)
    };
    let call = positions(data, &ASKS).find_map(begins);
    let reply = positions(data, &ANSWERS).find_map(|at| {
        let begin = begins(at)?;
        let xid = data.get(begin + 4..)?.first_chunk()?;
        awaited(u32::from_be_bytes(*xid)).then_some(begin)
    });
    [call, reply].into_iter().flatten().min()
}

/// All positions of `pattern` in `data`. The occurrences may overlap: a transaction id can look like the first bytes of the pattern.
fn positions<'a>(data: &'a [u8], pattern: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let (finder, mut from) = (memmem::Finder::new(pattern), 0);
    std::iter::from_fn(move || {
        let at = from + finder.find(data.get(from..)?)?;
        from = at + 1;
        Some(at)
    })
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Writes numbers as big-endian words.
    pub fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|w| w.to_be_bytes()).collect()
    }

    /// A call with the Unix credentials of `ani`, up to its arguments.
    pub fn call(xid: u32, version: u32, procedure: u32, arguments: &[u8]) -> Vec<u8> {
        let mut out = words(&[xid, 0, 2, PROGRAM, version, procedure, 1, 28, 7, 3]);
        out.extend(b"ani\0");
        out.extend(words(&[500, 501, 1, 502, 0, 0]));
        out.extend(arguments);
        out
    }

    #[test]
    fn a_call_and_its_reply() {
        let bytes = call(9, 3, 1, &[]);
        let gids = SmallVec::from_slice(&[502]);
        let unix = Some(Unix { stamp: 7, machine: b"ani"[..].into(), uid: 500, gid: 501, gids });
        let want = Call { xid: 9, version: 3, procedure: 1, flavor: 1, unix, ..Call::default() };
        assert_eq!(read(&bytes, true), Some(Message::Call(want)));
        for n in 0..bytes.len() {
            assert_eq!(read(&bytes[..n], true), None, "{n} bytes");
        }
        let bytes = words(&[9, 1, 0, 0, 0, 0, 70]);
        let Some(Message::Reply(reply)) = read(&bytes, true) else { panic!() };
        assert_eq!((reply.xid, reply.accepted, reply.status(Wrapping::Plain)), (9, Some(0), Some(70)));
        assert_eq!(reply.status(Wrapping::Privacy), None);
        assert!(matches!(read(&words(&[9, 1, 1, 0]), true), Some(Message::Reply(Reply { accepted: None, .. }))));
    }

    #[test]
    fn invalid_messages_are_rejected() {
        assert_eq!(read(&words(&[9, 2, 0, 0, 0, 0]), true), None);
        assert_eq!(read(&words(&[9, 0, 3, PROGRAM, 3, 0, 0, 0, 0, 0]), true), None);
        assert_eq!(read(&words(&[9, 0, 2, PROGRAM, 3, 0, 0, 404]), true), None);
        assert_eq!(read(&words(&[9, 0, 2, 0x4000_0000, 1, 0, 0, 0, 0, 0]), true), Some(Message::OtherProgram));
        assert_eq!(plausible(b"GET / HTTP/1.1\r\n"), Some(false));
        assert_eq!(plausible(&words(&[0x8000_0028, 1, 0, 2])), Some(true));
        assert_eq!(plausible(&words(&[0x8000_0028, 1, 0])), None);
    }

    #[test]
    fn wrapped_by_gss() {
        let gss = |service, arguments: &[u32]| {
            let head = [9, 0, 2, PROGRAM, 4, 1, 6, 20, 1, 0, 5, service, 0, 0, 0];
            words(&[&head[..], arguments].concat())
        };
        let compound = [0, 1, 1, 24];
        let bytes = gss(2, &[&[99, 5][..], &compound].concat());
        let Some(Message::Call(call)) = read(&bytes, true) else { panic!() };
        assert_eq!((call.wrapping, call.compound.map(|c| c.opcode)), (Wrapping::Integrity, Some("PUTROOTFH")));
        let bytes = gss(3, &[1, 2, 3]);
        let Some(Message::Call(call)) = read(&bytes, true) else { panic!() };
        assert_eq!((call.wrapping, call.compound), (Wrapping::Privacy, None));
        let bytes = words(&[9, 1, 0, 6, 0, 0, 99, 5, 13]);
        let Some(Message::Reply(reply)) = read(&bytes, true) else { panic!() };
        assert_eq!(reply.status(Wrapping::Integrity), Some(13));
    }

    #[test]
    fn the_search_finds_the_next_record() {
        let record = [words(&[0x8000_0000 | 72]), call(9, 3, 1, &[])].concat();
        let data = [b"abc\0\0\0\0", record.as_slice()].concat();
        assert_eq!(find(&data, |_| false), Some(7));
        let answer = [b"abc".to_vec(), words(&[0x8000_0020, 5, 1, 0, 0, 0, 0, 0])].concat();
        assert_eq!((find(&answer, |xid| xid == 5), find(&answer, |_| false)), (Some(3), None));
        // The transaction id and the first byte after it look like the start of a reply.
        let answer = [b"abc".to_vec(), words(&[0x8000_0020, 1, 1, 0, 0, 0, 0, 0])].concat();
        assert_eq!(find(&answer, |xid| xid == 1), Some(3));
    }
}
