//! ONC RPC version 2 (RFC 5531) as NFS uses it, with the credentials of RFC 2203 (RPCSEC_GSS): the heads of calls and replies, and
//! where a record begins in a stream. Pure; what is behind the head of a message is not read.

use super::compound::{self, Compound};
use crate::protocols::kit::reader::Reader;
use memchr::memmem;
use smallvec::SmallVec;

/// The program number of NFS (RFC 1813, RFC 8881).
pub const PROGRAM: u32 = 100_003;
/// Bytes of a call that are looked at: head, credentials (400 at the most), a tag (1024), and the operations before the main one.
pub const CALL_HEAD: usize = 4 << 10;
/// Bytes of a reply that are looked at: head, verifier (400 at the most) and status.
pub const REPLY_HEAD: usize = 512;
/// Bytes of the record mark before each fragment (RFC 5531 section 11).
pub const MARK: usize = 4;
/// The longest body of credentials and verifiers (RFC 5531 section 8.2).
const LONGEST_AUTH: usize = 400;
/// The longest fragment that is believed: servers offer reads and writes of 1 MiB, some of 16.
const LONGEST_FRAGMENT: u32 = 64 << 20;
/// A call cannot be shorter: head, empty credentials and verifier.
const SHORTEST_CALL: u32 = 40;
/// Nor a reply.
const SHORTEST_REPLY: u32 = 20;

const CALL: u32 = 0;
const REPLY: u32 = 1;
const RPC_VERSION: u32 = 2;

/// Who says that he asks.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Unix {
    /// Chosen by the client.
    pub stamp: u32,
    /// The client's name for itself; may be empty.
    pub machine: SmallVec<[u8; 32]>,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// More groups.
    pub gids: SmallVec<[u32; 16]>,
}

/// How arguments and results are wrapped (RFC 2203 section 5.3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wrapping {
    /// Not at all.
    #[default]
    Plain,
    /// Behind a length and a number, and readable.
    Integrity,
    /// Enciphered.
    Privacy,
}

/// A call, as far as it matters.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// The transaction.
    pub xid: u32,
    /// Of the program.
    pub version: u32,
    /// Of the version.
    pub procedure: u32,
    /// The flavour of the credentials.
    pub flavor: u32,
    /// The credentials, when they are of the Unix kind.
    pub unix: Option<Unix>,
    /// How the results will be wrapped.
    pub wrapping: Wrapping,
    /// What a COMPOUND of version 4 begins with.
    pub compound: Option<Compound>,
}

impl Call {
    /// Asks for TLS from here on (RFC 9289 section 4.1).
    pub fn asks_for_tls(&self) -> bool {
        self.flavor == 7
    }
}

/// A reply, as far as it matters.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// The transaction.
    pub xid: u32,
    /// The body of the verifier.
    pub verifier: &'a [u8],
    /// `accept_stat`; `None` when the call was denied.
    pub accepted: Option<u32>,
    results: &'a [u8],
}

impl Reply<'_> {
    /// The status that results of all versions begin with; `None` where it cannot be read.
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

/// A message.
#[derive(Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Somebody asks NFS.
    Call(Call),
    /// Somebody asks another program: the client's callback service, say.
    OtherProgram,
    /// Somebody answers.
    Reply(Reply<'a>),
}

/// What is needed of results: lengths of a wrapping, and a status.
const RESULTS: usize = 12;

/// Reads the head of a message. `None`: it is none, or, where `whole` says that there is more than `data`, not all of it is there.
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
        // Behind the length of what is protected and a sequence number.
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

/// Bytes with their length before them, and filled up to a multiple of four (RFC 4506 section 4.10).
pub fn opaque<'a>(r: &mut Reader<'a>) -> Option<&'a [u8]> {
    let length = usize::try_from(r.u32()?).ok()?;
    let bytes = r.take(length)?;
    r.skip(length.wrapping_neg() % 4)?;
    Some(bytes)
}

/// RFC 5531 appendix A.
fn unix(body: &[u8]) -> Option<Unix> {
    let mut r = Reader::new(body);
    let stamp = r.u32()?;
    let machine = opaque(&mut r)?.into();
    let (uid, gid, count) = (r.u32()?, r.u32()?, r.u32()?);
    // The body is 400 bytes at the most, which bounds them.
    let mut gids = SmallVec::new();
    for _ in 0..count {
        gids.push(r.u32()?);
    }
    Some(Unix { stamp, machine, uid, gid, gids })
}

/// RFC 2203 section 5: only ordinary calls are wrapped, those that make and destroy a context are not.
fn wrapping(body: &[u8]) -> Option<Wrapping> {
    let mut r = Reader::new(body);
    let (_version, procedure, _number, service) = (r.u32()?, r.u32()?, r.u32()?, r.u32()?);
    Some(match (procedure, service) {
        (0, 2) => Wrapping::Integrity,
        (0, 3) => Wrapping::Privacy,
        _ => Wrapping::Plain,
    })
}

/// A record mark: whether the fragment is the last, and its length.
pub fn mark(data: &[u8]) -> Option<(bool, u32)> {
    data.first_chunk().map(|mark| u32::from_be_bytes(*mark)).map(|mark| (mark >> 31 == 1, mark & 0x7fff_ffff))
}

/// Whether a message can begin with this fragment, mark included. `None`: too little is there to say.
pub fn plausible(data: &[u8]) -> Option<bool> {
    let (last, length) = mark(data)?;
    if length > LONGEST_FRAGMENT || last && length < SHORTEST_REPLY {
        return Some(false);
    }
    if length < 12 {
        return Some(!last); // a first fragment of next to nothing is allowed
    }
    let mut r = Reader::new(data);
    r.skip(8)?;
    Some(match (r.u32()?, r.u32()?) {
        (CALL, version) => version == RPC_VERSION && (!last || length >= SHORTEST_CALL),
        (REPLY, how) => how <= 1,
        _ => false,
    })
}

/// Bytes that [`find`] must see together.
pub const FOUND_IN: usize = 20;

/// Where a record begins in bytes of which it is not known where they begin: a call of NFS, or a reply that is `awaited`.
pub fn find(data: &[u8], awaited: impl Fn(u32) -> bool) -> Option<usize> {
    const ASKS: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0x86, 0xa3];
    const ANSWERS: [u8; 7] = [0, 0, 0, 1, 0, 0, 0];
    let begins = |at: usize| {
        let begin = at.checked_sub(8)?;
        let record = data.get(begin..)?;
        (mark(record)?.0 && plausible(record) != Some(false)).then_some(begin)
    };
    let call = memmem::find_iter(data, &ASKS).find_map(begins);
    let reply = memmem::find_iter(data, &ANSWERS).find_map(|at| {
        let begin = begins(at)?;
        let xid = data.get(begin + 4..)?.first_chunk()?;
        awaited(u32::from_be_bytes(*xid)).then_some(begin)
    });
    [call, reply].into_iter().flatten().min()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Words, big-endian.
    pub fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|w| w.to_be_bytes()).collect()
    }

    /// A call with Unix credentials of `ani`, up to its arguments.
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
    fn what_is_none() {
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
    fn the_way_back() {
        let record = [words(&[0x8000_0000 | 72]), call(9, 3, 1, &[])].concat();
        let data = [b"abc\0\0\0\0", record.as_slice()].concat();
        assert_eq!(find(&data, |_| false), Some(7));
        let answer = [b"abc".to_vec(), words(&[0x8000_0020, 5, 1, 0, 0, 0, 0, 0])].concat();
        assert_eq!((find(&answer, |xid| xid == 5), find(&answer, |_| false)), (Some(3), None));
    }
}
