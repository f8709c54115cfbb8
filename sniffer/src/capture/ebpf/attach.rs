//! Which programs go where on an interface.

use super::{
    Device, Error, Hook, Options,
    error::os_error,
    is_raw_ip,
    loaded::{Chain, Loaded},
    qdisc, sys,
};
use aya::{
    Ebpf,
    programs::{
        LinkOrder, Program, ProgramError, SchedClassifier, TcAttachType, Xdp, XdpMode,
        tc::{self, NlOptions, SchedClassifierLinkId, TcAttachOptions, TcError},
        xdp::XdpLinkId,
    },
};
use std::os::fd::{AsFd, OwnedFd};

/// What holds programs on an interface.
pub(super) struct Attached {
    pub ifindex: u32,
    /// In words: `eth0: tcx`.
    pub hook: String,
    links: Vec<Link>,
    /// Socket filters and promiscuous mode.
    sockets: Vec<OwnedFd>,
}

enum Link {
    Xdp(XdpLinkId),
    Tc(Chain, SchedClassifierLinkId),
}

/// One interface while programs are attached to it.
struct Attaching<'a> {
    loaded: &'a mut Loaded,
    device: &'a Device,
    links: Vec<Link>,
    sockets: Vec<OwnedFd>,
    /// As on kernels without tcx.
    clsact: bool,
}

/// Attaches what `options.hook` asks for.
pub(super) fn attach(loaded: &mut Loaded, device: &Device, options: &Options) -> Result<(), Error> {
    attach_with(loaded, device, options, false)
}

/// The same, with clsact even where the kernel has tcx.
pub(super) fn attach_with(loaded: &mut Loaded, device: &Device, options: &Options, clsact: bool) -> Result<(), Error> {
    let mut attaching = Attaching { loaded, device, links: Vec::new(), sockets: Vec::new(), clsact };
    let done = attaching.hook(options.hook).and_then(|how| {
        if options.promiscuous && !device.is_any() && !device.loopback {
            let socket = sys::packet_socket().map_err(|e| Error::io("a packet socket", e))?;
            sys::promiscuous(socket.as_fd(), device.ifindex).map_err(|e| Error::io(format!("promiscuous mode on {}", device.name), e))?;
            attaching.sockets.push(socket);
        }
        Ok(how)
    });
    let Attaching { links, sockets, .. } = attaching;
    let hook = done.as_ref().map(|how| format!("{}: {how}", device.name)).unwrap_or_default();
    let attached = Attached { ifindex: device.ifindex, hook, links, sockets };
    // Half of it would show half of the traffic.
    match done {
        Ok(_) => loaded.attached.push(attached),
        Err(error) => {
            detach(loaded.ebpf_mut(), attached);
            return Err(error);
        }
    }
    Ok(())
}

/// Takes programs off an interface; one that is gone took them with it.
pub(super) fn detach(ebpf: &mut Ebpf, attached: Attached) {
    for link in attached.links {
        let done = match link {
            Link::Xdp(id) => program::<Xdp>(ebpf, Chain::Xdp).map(|program| program.detach(id)),
            Link::Tc(chain, id) => program::<SchedClassifier>(ebpf, chain).map(|program| program.detach(id)),
        };
        if let Some(Err(error)) = done {
            log::debug!("{}: {error}", attached.hook);
        }
    }
    drop(attached.sockets);
}

/// Takes a clsact away that was ours, when nobody else's programs are in it.
pub(super) fn remove_clsact(ifindex: u32) {
    if let Err(error) = qdisc::delete_unused_clsact(ifindex) {
        log::debug!("clsact of interface {ifindex} stays: {error}");
    }
}

impl Attaching<'_> {
    fn hook(&mut self, hook: Hook) -> Result<String, Error> {
        let device = self.device;
        let wrong = |reason: &str| Err(Error::Interface { name: device.name.clone(), reason: reason.to_owned() });
        match hook {
            Hook::Socket => self.socket(),
            Hook::Xdp if device.is_any() || is_raw_ip(device) => wrong("XDP needs one interface with an Ethernet header; use `hook: auto`"),
            Hook::Tc if device.is_any() => wrong("TC needs one interface; use `hook: auto` or `hook: socket`"),
            Hook::Xdp => {
                let mode = match self.xdp(XdpMode::Driver) {
                    Ok(()) => "native XDP",
                    Err(native) => match self.xdp(XdpMode::Skb) {
                        Ok(()) => "generic XDP",
                        Err(_) => return Err(native),
                    },
                };
                self.xdp_and_tc(mode)
            }
            Hook::Tc => self.tc_both(),
            Hook::Auto if device.is_any() || device.loopback => self.socket(),
            Hook::Auto if device.has_address || is_raw_ip(device) => self.tc_both(),
            Hook::Auto => match self.xdp(XdpMode::Driver) {
                Ok(()) => self.xdp_and_tc("native XDP"),
                Err(reason) => {
                    log::info!("{}: no native XDP, TC takes its place: {reason}", device.name);
                    self.tc_both()
                }
            },
        }
    }

    fn xdp(&mut self, mode: XdpMode) -> Result<(), Error> {
        let name = &self.device.name;
        let program: &mut Xdp = wanted(self.loaded.chain(Chain::Xdp)?)?;
        match program.attach_to_if_index(self.device.ifindex, mode) {
            Ok(id) => {
                self.links.push(Link::Xdp(id));
                Ok(())
            }
            Err(error) if matches!(os_error(&error), Some(libc::EBUSY | libc::EEXIST)) => {
                Err(Error::Interface { name: name.clone(), reason: "another XDP program is attached".into() })
            }
            Err(error) => Err(Error::aya(format!("attaching XDP to {name}"), &error)),
        }
    }

    /// XDP sees only what comes in. On loopback everything that goes out comes in.
    fn xdp_and_tc(&mut self, mode: &str) -> Result<String, Error> {
        if self.device.loopback {
            return Ok(mode.to_owned());
        }
        let by = self.tc(Chain::TcOut)?;
        Ok(format!("{mode} in, {by} out"))
    }

    fn tc_both(&mut self) -> Result<String, Error> {
        let by = self.tc(Chain::TcIn)?;
        if !self.device.loopback {
            self.tc(Chain::TcOut)?;
        }
        Ok(by.to_owned())
    }

    /// By tcx where the kernel has it, first in line: what others do with a packet is theirs, and seen or not we saw it. Else by clsact.
    fn tc(&mut self, chain: Chain) -> Result<&'static str, Error> {
        let name = &self.device.name;
        let side = if chain == Chain::TcIn { TcAttachType::Ingress } else { TcAttachType::Egress };
        let failed = |error: ProgramError| Error::aya(format!("attaching TC to {name}"), &error);
        if !self.clsact {
            let program: &mut SchedClassifier = wanted(self.loaded.chain(chain)?)?;
            match program.attach_with_options(name, side, TcAttachOptions::TcxOrder(LinkOrder::first())) {
                Ok(id) => {
                    self.links.push(Link::Tc(chain, id));
                    return Ok("tcx");
                }
                // An older kernel does not know the attach type.
                Err(error) if matches!(os_error(&error), Some(libc::EINVAL | libc::EOPNOTSUPP)) => self.clsact = true,
                Err(error) => return Err(failed(error)),
            }
        }
        match tc::qdisc_add_clsact(name) {
            Ok(()) => self.loaded.clsact.push(self.device.ifindex),
            Err(TcError::AlreadyAttached) => {}
            Err(error) if os_error(&error) == Some(libc::EEXIST) => {}
            Err(error) => return Err(Error::aya(format!("adding clsact to {name}"), &error)),
        }
        let program: &mut SchedClassifier = wanted(self.loaded.chain(chain)?)?;
        let id = program.attach_with_options(name, side, TcAttachOptions::Netlink(NlOptions::default())).map_err(failed)?;
        self.links.push(Link::Tc(chain, id));
        Ok("tc (clsact)")
    }

    fn socket(&mut self) -> Result<String, Error> {
        let name = &self.device.name;
        let socket = sys::packet_socket().map_err(|e| Error::io("a packet socket", e))?;
        let Program::SocketFilter(program) = self.loaded.chain(Chain::Socket)? else { return Err(mixed_up()) };
        // Before it takes packets: what it takes without a program stays in its queue.
        program.attach(&socket).map_err(|e| Error::aya(format!("attaching a socket filter to {name}"), &e))?;
        sys::bind(socket.as_fd(), self.device.ifindex).map_err(|e| Error::io(format!("binding a packet socket to {name}"), e))?;
        self.sockets.push(socket);
        Ok("socket filter".to_owned())
    }
}

/// The entry of a chain.
fn program<T>(ebpf: &mut Ebpf, chain: Chain) -> Option<&mut T>
where
    for<'a> &'a mut T: TryFrom<&'a mut Program>,
{
    ebpf.program_mut(chain.entry())?.try_into().ok()
}

fn wanted<'a, T>(program: &'a mut Program) -> Result<&'a mut T, Error>
where
    &'a mut T: TryFrom<&'a mut Program>,
{
    program.try_into().map_err(|_| mixed_up())
}

fn mixed_up() -> Error {
    Error::Kernel { what: "the eBPF object".into(), reason: "its programs are of other kinds; run `cargo xtask build-ebpf`".into() }
}
