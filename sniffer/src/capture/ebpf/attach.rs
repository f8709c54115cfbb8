//! Attaches the loaded eBPF programs to interfaces, by hook, and detaches them.

use super::{
    error::{Error, os_error},
    loaded::{AttachPoint, Loaded},
    qdisc, sys,
};
use crate::capture::{
    devices::Device,
    options::{HookSetting, Interface},
};
use aya::programs::{
    LinkOrder, Program, ProgramError, SchedClassifier, TcAttachType, Xdp, XdpMode,
    tc::{self, NlOptions, SchedClassifierLinkId, TcAttachOptions, TcError},
    xdp::XdpLinkId,
};
use std::os::fd::{AsFd, OwnedFd};

/// The loaded object and the handles that keep its programs attached. Dropping this value detaches the programs.
pub(super) struct Attachments {
    loaded: Loaded,
    attached: Vec<AttachedPrograms>,
    /// Interfaces to which this program added a clsact qdisc.
    clsact: Vec<u32>,
}

/// The handles that keep programs attached to one interface.
struct AttachedPrograms {
    ifindex: u32,
    /// The device and its hooks, for messages: `eth0: tcx`.
    summary: String,
    links: Vec<Link>,
    /// Packet sockets that hold a socket filter or promiscuous mode.
    sockets: Vec<OwnedFd>,
}

enum Link {
    Xdp(XdpLinkId),
    Tc(AttachPoint, SchedClassifierLinkId),
}

impl Attachments {
    /// Starts with nothing attached.
    pub fn new(loaded: Loaded) -> Self {
        Self { loaded, attached: Vec::new(), clsact: Vec::new() }
    }

    pub fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    pub fn loaded_mut(&mut self) -> &mut Loaded {
        &mut self.loaded
    }

    /// Where programs are attached, for messages: `eth0: tcx`.
    pub fn hooks(&self) -> Vec<String> {
        self.attached.iter().map(|attached| attached.summary.clone()).collect()
    }

    /// Attaches programs to `device` with the hook that `interface` asks for.
    pub fn attach(&mut self, device: &Device, interface: &Interface) -> Result<(), Error> {
        self.attach_with(device, interface, false)
    }

    /// Like [`Self::attach`]; with `clsact` set it uses clsact even where the kernel has tcx.
    pub fn attach_with(&mut self, device: &Device, interface: &Interface, clsact: bool) -> Result<(), Error> {
        let Self { loaded, clsact: ours, .. } = self;
        let mut attachment = Attachment { loaded, ours, device, links: Vec::new(), sockets: Vec::new(), clsact };
        let done = attachment.hook(interface.hook).and_then(|how| {
            if interface.promiscuous() && !device.is_any() && !device.loopback {
                let socket = sys::packet_socket().map_err(|e| Error::io("a packet socket", e))?;
                sys::promiscuous(socket.as_fd(), device.ifindex)
                    .map_err(|e| Error::io(format!("promiscuous mode on {}", device.name), e))?;
                attachment.sockets.push(socket);
            }
            Ok(how)
        });
        let Attachment { links, sockets, .. } = attachment;
        let summary = done.as_ref().map(|how| format!("{}: {how}", device.name)).unwrap_or_default();
        let attached = AttachedPrograms { ifindex: device.ifindex, summary, links, sockets };
        // If one direction could not be attached, detach the other: a capture of half the traffic is worse than an
        // error.
        match done {
            Ok(_) => self.attached.push(attached),
            Err(error) => {
                detach_programs(&mut self.loaded, attached);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Detaches all programs from an interface.
    pub fn detach(&mut self, ifindex: u32) {
        if let Some(at) = self.attached.iter().position(|attached| attached.ifindex == ifindex) {
            let attached = self.attached.swap_remove(at);
            detach_programs(&mut self.loaded, attached);
        }
    }
}

impl Drop for Attachments {
    fn drop(&mut self) {
        for attached in std::mem::take(&mut self.attached) {
            detach_programs(&mut self.loaded, attached);
        }
        // Delete the clsact qdiscs that this program added, unless another program uses them by now.
        for ifindex in std::mem::take(&mut self.clsact) {
            if let Err(error) = qdisc::delete_unused_clsact(ifindex) {
                log::debug!("the clsact qdisc of interface {ifindex} could not be deleted: {error}");
            }
        }
    }
}

/// Detaches programs. If the interface is gone, the kernel has detached them already.
fn detach_programs(loaded: &mut Loaded, attached: AttachedPrograms) {
    for link in attached.links {
        let done = match link {
            Link::Xdp(id) => entry::<Xdp>(loaded, AttachPoint::Xdp).map(|program| program.detach(id)),
            Link::Tc(point, id) => entry::<SchedClassifier>(loaded, point).map(|program| program.detach(id)),
        };
        if let Some(Err(error)) = done {
            log::debug!("{}: {error}", attached.summary);
        }
    }
    drop(attached.sockets);
}

/// State while programs are being attached to one interface.
struct Attachment<'a> {
    loaded: &'a mut Loaded,
    /// Interfaces to which this program added a clsact qdisc; see [`Attachments::clsact`].
    ours: &'a mut Vec<u32>,
    device: &'a Device,
    links: Vec<Link>,
    sockets: Vec<OwnedFd>,
    /// Use clsact, as on kernels without tcx.
    clsact: bool,
}

impl Attachment<'_> {
    fn hook(&mut self, hook: HookSetting) -> Result<String, Error> {
        let device = self.device;
        let wrong = |reason: &str| Err(Error::Interface { name: device.name.clone(), reason: reason.to_owned() });
        match hook {
            HookSetting::Socket => self.socket(),
            HookSetting::Xdp if device.is_any() || device.is_raw_ip() => {
                wrong("XDP needs one interface with an Ethernet header; use `hook: auto`")
            }
            HookSetting::Tc if device.is_any() => wrong("TC needs one interface; use `hook: auto` or `hook: socket`"),
            HookSetting::Xdp => {
                let mode = match self.xdp(XdpMode::Driver) {
                    Ok(()) => "native XDP",
                    Err(native) => match self.xdp(XdpMode::Skb) {
                        Ok(()) => "generic XDP",
                        Err(_) => return Err(native),
                    },
                };
                self.xdp_and_tc(mode)
            }
            HookSetting::Tc => self.tc_both(),
            HookSetting::Auto if device.is_any() || device.loopback => self.socket(),
            HookSetting::Auto if device.has_address || device.is_raw_ip() => self.tc_both(),
            HookSetting::Auto => match self.xdp(XdpMode::Driver) {
                Ok(()) => self.xdp_and_tc("native XDP"),
                Err(reason) => {
                    log::info!("{}: native XDP does not work; using TC: {reason}", device.name);
                    self.tc_both()
                }
            },
        }
    }

    fn xdp(&mut self, mode: XdpMode) -> Result<(), Error> {
        let name = &self.device.name;
        let program: &mut Xdp = typed_program(self.loaded.load_programs(AttachPoint::Xdp)?)?;
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

    /// Attaches XDP, which sees only incoming packets, and TC for outgoing packets. On loopback XDP is enough, because every outgoing
    /// packet comes in again.
    fn xdp_and_tc(&mut self, mode: &str) -> Result<String, Error> {
        if self.device.loopback {
            return Ok(mode.to_owned());
        }
        let by = self.tc(AttachPoint::TcOut)?;
        Ok(format!("{mode} in, {by} out"))
    }

    fn tc_both(&mut self) -> Result<String, Error> {
        let by = self.tc(AttachPoint::TcIn)?;
        if !self.device.loopback {
            self.tc(AttachPoint::TcOut)?;
        }
        Ok(by.to_owned())
    }

    /// Attaches the TC program through tcx. The program becomes the first one, so that the verdicts of other programs do not hide packets
    /// from it. If the kernel has no tcx, attaches the program through clsact.
    fn tc(&mut self, point: AttachPoint) -> Result<&'static str, Error> {
        let name = &self.device.name;
        let side = if point == AttachPoint::TcIn { TcAttachType::Ingress } else { TcAttachType::Egress };
        let failed = |error: ProgramError| Error::aya(format!("attaching TC to {name}"), &error);
        if !self.clsact {
            let program: &mut SchedClassifier = typed_program(self.loaded.load_programs(point)?)?;
            match program.attach_with_options(name, side, TcAttachOptions::TcxOrder(LinkOrder::first())) {
                Ok(id) => {
                    self.links.push(Link::Tc(point, id));
                    return Ok("tcx");
                }
                // A kernel without tcx does not know the attach type.
                Err(error) if matches!(os_error(&error), Some(libc::EINVAL | libc::EOPNOTSUPP)) => self.clsact = true,
                Err(error) => return Err(failed(error)),
            }
        }
        match tc::qdisc_add_clsact(name) {
            Ok(()) => self.ours.push(self.device.ifindex),
            Err(TcError::AlreadyAttached) => {}
            Err(error) if os_error(&error) == Some(libc::EEXIST) => {}
            Err(error) => return Err(Error::aya(format!("adding clsact to {name}"), &error)),
        }
        let program: &mut SchedClassifier = typed_program(self.loaded.load_programs(point)?)?;
        let id = program.attach_with_options(name, side, TcAttachOptions::Netlink(NlOptions::default())).map_err(failed)?;
        self.links.push(Link::Tc(point, id));
        Ok("tc (clsact)")
    }

    fn socket(&mut self) -> Result<String, Error> {
        let name = &self.device.name;
        let socket = sys::packet_socket().map_err(|e| Error::io("a packet socket", e))?;
        let Program::SocketFilter(program) = self.loaded.load_programs(AttachPoint::Socket)? else { return Err(wrong_program_type()) };
        // Attach before binding: the socket would queue packets that arrive before it has a filter.
        program.attach(&socket).map_err(|e| Error::aya(format!("attaching a socket filter to {name}"), &e))?;
        sys::bind(socket.as_fd(), self.device.ifindex).map_err(|e| Error::io(format!("binding a packet socket to {name}"), e))?;
        self.sockets.push(socket);
        Ok("socket filter".to_owned())
    }
}

/// The program to attach at `point`, after its object was loaded.
fn entry<T>(loaded: &mut Loaded, point: AttachPoint) -> Option<&mut T>
where
    for<'a> &'a mut T: TryFrom<&'a mut Program>,
{
    loaded.entry(point)?.try_into().ok()
}

fn typed_program<'a, T>(program: &'a mut Program) -> Result<&'a mut T, Error>
where
    &'a mut T: TryFrom<&'a mut Program>,
{
    program.try_into().map_err(|_| wrong_program_type())
}

fn wrong_program_type() -> Error {
    Error::Kernel { what: "the eBPF object".into(), reason: "its programs have unexpected types; run `cargo xtask build-ebpf`".into() }
}
