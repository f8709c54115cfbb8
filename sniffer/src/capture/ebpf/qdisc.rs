//! The clsact qdisc and the filters in it, through which TC programs are attached on kernels without tcx. A clsact
//! filter outlives the process that made it. Therefore each filter carries the name of its [`Owner`], and filters of
//! owners that have ended are removed.

use super::netlink::{self, Request, TcMessage, ask};
use aya_obj::generated::{TC_H_CLSACT, TC_H_MAJ_MASK, TC_H_MIN_EGRESS, TC_H_MIN_INGRESS};
use libc::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, RTM_DELQDISC, RTM_DELTFILTER, RTM_GETQDISC, RTM_GETTFILTER, RTM_NEWQDISC,
    RTM_NEWTFILTER,
};
use std::{
    hash::{BuildHasher, RandomState},
    io,
    os::{
        fd::{AsRawFd, BorrowedFd},
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
};

/// The handle of every clsact or ingress qdisc.
const CLSACT_HANDLE: u32 = TC_H_CLSACT & TC_H_MAJ_MASK;
/// Types of netlink attributes (`linux/rtnetlink.h`, `linux/pkt_cls.h`).
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
/// The program's return value decides about the packet.
const TCA_BPF_FLAG_ACT_DIRECT: u32 = 1;
/// The first priority. The kernel gives filters that ask for none a priority of 0x8000 and more.
const FIRST: u32 = 1;
/// The beginning of every owner's name.
const PREFIX: &str = "sniffer-";

/// A direction of the traffic of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Ingress,
    Egress,
}

impl Side {
    pub const BOTH: [Self; 2] = [Self::Ingress, Self::Egress];

    fn parent(self) -> u32 {
        CLSACT_HANDLE | if self == Self::Ingress { TC_H_MIN_INGRESS } else { TC_H_MIN_EGRESS }
    }
}

/// The name that the filters of this process carry. As long as the owner exists, a socket in the abstract namespace has the same name, by
/// which other processes in this network namespace see that it runs.
#[derive(Debug)]
pub(super) struct Owner {
    name: String,
    _socket: UnixDatagram,
}

impl Owner {
    pub fn new() -> io::Result<Self> {
        let name = format!("{PREFIX}{:016x}", RandomState::new().hash_one(std::process::id()));
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
        Ok(Self { name, _socket: socket })
    }

    /// Whether the owner with this name runs. If this is unknown, the owner is assumed to run.
    fn runs(name: &str) -> bool {
        SocketAddr::from_abstract_name(name).and_then(|address| UnixDatagram::bind_addr(&address)).is_err()
    }
}

/// A filter of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Filter {
    message: TcMessage,
    kind: String,
    /// The name of a filter of kind `bpf`.
    name: String,
}

impl Filter {
    fn priority(&self) -> u32 {
        self.message.info >> 16
    }

    fn protocol(&self) -> u32 {
        self.message.info & 0xffff
    }
}

/// `ETH_P_ALL` in network byte order, as filters have it.
fn every_protocol() -> u32 {
    u32::from((libc::ETH_P_ALL as u16).to_be())
}

/// The kind of the qdisc on the ingress hook: `clsact` or `ingress`; `None` if there is none.
pub(super) fn kind(ifindex: u32) -> io::Result<Option<String>> {
    let mut found = None;
    ask(Request::new(RTM_GETQDISC, NLM_F_DUMP, TcMessage { ifindex, ..TcMessage::default() }), &mut |_, message, attributes| {
        if message.ifindex == ifindex && message.handle == CLSACT_HANDLE {
            found = netlink::attribute(attributes, TCA_KIND).map(netlink::text);
        }
    })?;
    Ok(found)
}

/// Adds a clsact qdisc.
pub(super) fn add_clsact(ifindex: u32) -> io::Result<()> {
    let message = TcMessage { ifindex, handle: CLSACT_HANDLE, parent: TC_H_CLSACT, info: 0 };
    ask(Request::new(RTM_NEWQDISC, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, message).attribute(TCA_KIND, b"clsact\0"), &mut |_, _, _| {})
}

/// The filters of one side, in the order in which they see a packet.
fn filters(ifindex: u32, side: Side) -> io::Result<Vec<Filter>> {
    let mut all = Vec::new();
    let message = TcMessage { ifindex, parent: side.parent(), ..TcMessage::default() };
    let result = ask(Request::new(RTM_GETTFILTER, NLM_F_DUMP, message), &mut |kind, message, attributes| {
        // A message without a handle describes the list that a priority has, not a filter in it.
        if kind == RTM_NEWTFILTER && message.handle != 0 {
            let options = netlink::attribute(attributes, TCA_OPTIONS).unwrap_or_default();
            let text = |bytes, kind| netlink::attribute(bytes, kind).map(netlink::text).unwrap_or_default();
            all.push(Filter { message, kind: text(attributes, TCA_KIND), name: text(options, TCA_BPF_NAME) });
        }
    });
    match result {
        // There is no qdisc.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOENT)) => Ok(Vec::new()),
        result => result.map(|()| all),
    }
}

/// The place of this process's filter among the filters of one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The filter sees every packet first.
    First,
    /// Another filter sees packets first and may hide them from this one.
    Behind,
    /// The filter does not exist.
    Missing,
}

/// Where the filter of `owner` is among the filters of one side of an interface.
pub(super) fn place(ifindex: u32, side: Side, owner: &Owner) -> io::Result<Place> {
    let filters = filters(ifindex, side)?;
    Ok(match filters.iter().position(|filter| filter.name == owner.name) {
        Some(0) => Place::First,
        Some(_) => Place::Behind,
        None => Place::Missing,
    })
}

/// Attaches a program before all other filters of one side.
///
/// # Errors
/// The kernel's error, or `AlreadyExists` with a description of the filter that cannot be preceded.
pub(super) fn attach_first(ifindex: u32, side: Side, program: BorrowedFd<'_>, owner: &Owner) -> io::Result<()> {
    // The kernel adds a program at the head of the list of its priority. All filters of a priority must be of one kind.
    if let Some(other) =
        filters(ifindex, side)?.iter().find(|f| f.priority() <= FIRST && (f.kind != "bpf" || f.protocol() != every_protocol()))
    {
        let text =
            format!("its {side:?} has a filter `{}` with priority {}, which no other filter can precede", other.kind, other.priority());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, text.to_lowercase()));
    }
    add(ifindex, side, program, &owner.name, FIRST << 16 | every_protocol())
}

/// Adds a program; `info`: its priority and protocol, see [`TcMessage::info`].
fn add(ifindex: u32, side: Side, program: BorrowedFd<'_>, name: &str, info: u32) -> io::Result<()> {
    let mut options = Vec::new();
    netlink::push_attribute(&mut options, TCA_BPF_FD, &program.as_raw_fd().to_ne_bytes());
    netlink::push_attribute(&mut options, TCA_BPF_NAME, format!("{name}\0").as_bytes());
    netlink::push_attribute(&mut options, TCA_BPF_FLAGS, &TCA_BPF_FLAG_ACT_DIRECT.to_ne_bytes());
    let message = TcMessage { ifindex, handle: 0, parent: side.parent(), info };
    let request = Request::new(RTM_NEWTFILTER, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, message);
    ask(request.attribute(TCA_KIND, b"bpf\0").attribute(TCA_OPTIONS, &options), &mut |_, _, _| {})
}

fn delete(filter: &Filter) -> io::Result<()> {
    let kind = format!("{}\0", filter.kind);
    ask(Request::new(RTM_DELTFILTER, NLM_F_ACK, filter.message).attribute(TCA_KIND, kind.as_bytes()), &mut |_, _, _| {})
}

/// Removes the owner's filters from an interface.
pub(super) fn detach(ifindex: u32, owner: &Owner) -> io::Result<()> {
    for side in Side::BOTH {
        for filter in filters(ifindex, side)?.iter().filter(|filter| filter.name == owner.name) {
            delete(filter)?;
        }
    }
    Ok(())
}

/// Removes the filters that ended processes left on an interface. Returns their number.
pub(super) fn remove_stale(ifindex: u32) -> io::Result<usize> {
    let mut removed = 0;
    for side in Side::BOTH {
        for filter in filters(ifindex, side)?.iter().filter(|f| f.name.starts_with(PREFIX) && !Owner::runs(&f.name)) {
            delete(filter)?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Deletes the clsact qdisc of an interface if it has no filters.
pub(super) fn delete_unused_clsact(ifindex: u32) -> io::Result<()> {
    for side in Side::BOTH {
        if !filters(ifindex, side)?.is_empty() {
            return Err(io::Error::other("other programs have filters in it"));
        }
    }
    let message = TcMessage { ifindex, handle: CLSACT_HANDLE, parent: TC_H_CLSACT, info: 0 };
    ask(Request::new(RTM_DELQDISC, NLM_F_ACK, message), &mut |_, _, _| {})
}

/// Access for tests: filters that other programs, or killed runs of this one, have.
#[cfg(test)]
pub(super) mod for_tests {
    use super::*;

    /// Adds a filter with any name, priority and protocol (host byte order); priority 0 lets the kernel choose.
    pub fn add(ifindex: u32, program: BorrowedFd<'_>, name: &str, priority: u32, protocol: i32) {
        let info = priority << 16 | u32::from((protocol as u16).to_be());
        super::add(ifindex, Side::Ingress, program, name, info).unwrap();
    }

    /// The names of the filters on ingress, in their order.
    pub fn names(ifindex: u32) -> Vec<String> {
        filters(ifindex, Side::Ingress).unwrap().into_iter().map(|filter| filter.name).collect()
    }
}
