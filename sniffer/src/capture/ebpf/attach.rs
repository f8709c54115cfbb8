//! Attaches the loaded eBPF programs to interfaces, by hook, and detaches them.

use super::{
    clsact::{Clsact, Place},
    error::{Error, os_error},
    loaded::{AttachPoint, Loaded},
    qdisc::Side,
    sys,
};
use crate::capture::{
    devices::Device,
    options::{HookSetting, Interface},
    sys::strips_vlan_tags,
};
use aya::programs::{
    LinkOrder, Program, ProgramError, SchedClassifier, TcAttachType, Xdp, XdpMode,
    tc::{SchedClassifierLinkId, TcAttachOptions},
    xdp::XdpLinkId,
};
use std::os::fd::{AsFd, OwnedFd};

/// The loaded object and the handles that keep its programs attached. Dropping this value detaches the programs.
pub(super) struct Attachments {
    loaded: Loaded,
    attached: Vec<AttachedPrograms>,
    clsact: Clsact,
}

/// The handles that keep programs attached to one interface.
struct AttachedPrograms {
    ifindex: u32,
    /// The device and its hooks, for messages: `eth0: tcx`.
    summary: String,
    links: Vec<Link>,
    /// Packet sockets that hold a socket filter or promiscuous mode, and the jump table of a short socket filter.
    sockets: Vec<OwnedFd>,
    /// Whether the program has already logged that another filter precedes one of its clsact filters.
    is_behind: bool,
}

enum Link {
    Xdp(XdpLinkId),
    Tc(AttachPoint, SchedClassifierLinkId),
    Clsact(AttachPoint),
}

impl Attachments {
    /// Makes the value for loaded programs that are not attached yet.
    pub fn new(loaded: Loaded) -> Self {
        Self { loaded, attached: Vec::new(), clsact: Clsact::default() }
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
        let drops = interface.drops_matches();
        if drops && device.has_address && !interface.on_match_force {
            let reason =
                "it has an address, so `on_match: drop` would drop the host's own packets; remove on_match, or set on_match_force: true";
            return Err(Error::Interface { name: device.name.clone(), reason: reason.to_owned() });
        }
        let Self { loaded, clsact: owned, .. } = self;
        if !device.is_any() {
            owned.remove_stale(device);
        }
        let mut attachment = Attachment { loaded, owned, device, links: Vec::new(), sockets: Vec::new(), clsact, drops };
        let done = attachment.hook(interface.hook).and_then(|how| {
            if interface.promiscuous() && !device.is_any() && !device.loopback {
                let socket = sys::packet_socket().map_err(|e| Error::io("a packet socket", e))?;
                sys::promiscuous(socket.as_fd(), device.ifindex)
                    .map_err(|e| Error::io(format!("promiscuous mode on {}", device.name), e))?;
                attachment.sockets.push(socket);
            }
            Ok(how)
        });
        match done {
            Ok(how) => {
                let Attachment { links, sockets, .. } = attachment;
                let summary = format!("{}: {how}", device.name);
                self.attached.push(AttachedPrograms { ifindex: device.ifindex, summary, links, sockets, is_behind: false });
                Ok(())
            }
            // If one direction could not be attached, detach the other: a capture of half the traffic is worse than an
            // error.
            Err(error) => {
                attachment.detach();
                Err(error)
            }
        }
    }

    /// Detaches all programs from an interface.
    pub fn detach(&mut self, ifindex: u32) {
        if let Some(at) = self.attached.iter().position(|attached| attached.ifindex == ifindex) {
            let AttachedPrograms { links, sockets, .. } = self.attached.swap_remove(at);
            detach_links(&mut self.loaded, &self.clsact, ifindex, links);
            drop(sockets);
        }
    }

    /// Attaches the programs of `device` again if another program deleted the qdisc or the filters that hold them, and warns once if another
    /// filter was put in front of them. Only clsact needs this: links and sockets belong to this process.
    pub fn check(&mut self, device: &Device) -> Result<(), Error> {
        let Self { loaded, attached, clsact } = self;
        let Some(attached) = attached.iter_mut().find(|attached| attached.ifindex == device.ifindex) else { return Ok(()) };
        for link in &attached.links {
            let Link::Clsact(point) = link else { continue };
            match clsact.place(device, side(*point))? {
                Place::First => attached.is_behind = false,
                Place::Behind if attached.is_behind => {}
                Place::Behind => {
                    attached.is_behind = true;
                    log::warn!(
                        "{}: another TC filter was put in front of this program's; packets that it drops or accepts are not captured; \
                         `hook: socket` avoids this",
                        device.name
                    );
                }
                Place::Missing => {
                    attach_to_clsact(clsact, device, *point, loaded)?;
                    log::warn!("{}: another program removed the TC program; it is attached again", device.name);
                }
            }
        }
        Ok(())
    }
}

impl Drop for Attachments {
    fn drop(&mut self) {
        for attached in std::mem::take(&mut self.attached) {
            detach_links(&mut self.loaded, &self.clsact, attached.ifindex, attached.links);
        }
        self.clsact.delete_unused();
    }
}

fn attach_to_clsact(clsact: &mut Clsact, device: &Device, point: AttachPoint, loaded: &mut Loaded) -> Result<(), Error> {
    let program: &mut SchedClassifier = typed_program(loaded.load_programs(point)?)?;
    let program = program.fd().map_err(|e| Error::aya("the TC program", &e))?;
    clsact.attach(device, side(point), program.as_fd())
}

/// Whether XDP programs of this kernel can read frames that consist of several fragments (Linux 5.18).
fn xdp_reads_every_frame() -> bool {
    sys::kernel_version() >= (5, 18)
}

/// Whether the device removes VLAN tags, which XDP programs then cannot see. If the kernel does not say, it does not.
fn strips_tags(device: &Device) -> bool {
    strips_vlan_tags(&device.name).unwrap_or(false)
}

fn side(point: AttachPoint) -> Side {
    if point == AttachPoint::TcIn { Side::Ingress } else { Side::Egress }
}

/// Detaches programs. If the interface is gone, the kernel has detached them already.
fn detach_links(loaded: &mut Loaded, clsact: &Clsact, ifindex: u32, links: Vec<Link>) {
    for link in links {
        let done = match link {
            Link::Xdp(id) => entry::<Xdp>(loaded, AttachPoint::Xdp).map(|program| program.detach(id).map_err(|e| e.to_string())),
            Link::Tc(point, id) => entry::<SchedClassifier>(loaded, point).map(|program| program.detach(id).map_err(|e| e.to_string())),
            Link::Clsact(_) => clsact.detach(ifindex).map(|done| done.map_err(|e| e.to_string())),
        };
        if let Some(Err(error)) = done {
            log::debug!("interface {ifindex}: detaching a program: {error}");
        }
    }
}

/// State while programs are being attached to one interface.
struct Attachment<'a> {
    loaded: &'a mut Loaded,
    owned: &'a mut Clsact,
    device: &'a Device,
    links: Vec<Link>,
    sockets: Vec<OwnedFd>,
    /// Use clsact, as on kernels without tcx.
    clsact: bool,
    /// Captured packets are dropped, so a packet socket, which gets copies of packets, is not enough.
    drops: bool,
}

impl Attachment<'_> {
    /// Detaches the attached programs.
    fn detach(&mut self) {
        detach_links(self.loaded, self.owned, self.device.ifindex, std::mem::take(&mut self.links));
        self.sockets.clear();
    }

    fn hook(&mut self, hook: HookSetting) -> Result<String, Error> {
        let device = self.device;
        let wrong = |reason: &str| Err(Error::Interface { name: device.name.clone(), reason: reason.to_owned() });
        match hook {
            HookSetting::Socket => self.socket(),
            HookSetting::Xdp if device.is_any() || device.is_raw_ip() => {
                wrong("XDP needs one interface with an Ethernet header; use `hook: auto`")
            }
            HookSetting::Tc if device.is_any() => wrong("TC needs one interface; use `hook: auto` or `hook: socket`"),
            // On an interface that only receives mirrored packets, what XDP costs the host's own traffic does not matter.
            HookSetting::Auto if self.drops && !device.is_raw_ip() && !strips_tags(device) => {
                self.hook(HookSetting::Xdp).or_else(|error| {
                    log::warn!("{}: {error}; using TC", device.name);
                    self.detach();
                    self.tc_both()
                })
            }
            HookSetting::Xdp => {
                if strips_tags(device) {
                    log::warn!(
                        "{0}: the card removes VLAN tags before XDP sees the packets, so packets of all VLANs look untagged; \
                         `ethtool -K {0} rxvlan off` avoids this",
                        device.name
                    );
                }
                let mode = match self.xdp(XdpMode::Driver) {
                    Ok(()) => "native XDP",
                    Err(native) => match self.xdp(XdpMode::Skb) {
                        Ok(()) => "generic XDP",
                        Err(_) if !xdp_reads_every_frame() => {
                            log::warn!("{}: XDP needs Linux 5.18; using TC", device.name);
                            let done = self.tc_both();
                            return self.or_socket(done);
                        }
                        Err(_) => return Err(native),
                    },
                };
                let done = self.xdp_and_tc(mode);
                self.or_socket(done)
            }
            HookSetting::Auto if device.is_any() || device.loopback => self.socket(),
            HookSetting::Auto | HookSetting::Tc => {
                let done = self.tc_both();
                self.or_socket(done)
            }
        }
    }

    /// Replaces the programs by a socket filter if the qdisc of the device does not take them.
    fn or_socket(&mut self, done: Result<String, Error>) -> Result<String, Error> {
        match done {
            Err(error @ Error::Qdisc { .. }) if !self.drops => {
                self.detach();
                log::warn!("{error}; using a packet socket");
                self.socket()
            }
            done => done,
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

    /// Attaches the TC program through tcx, or through clsact if the kernel has no tcx. The program becomes the first one of its hook, so
    /// that the verdicts of other programs do not hide packets from it.
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
        attach_to_clsact(self.owned, self.device, point, self.loaded)?;
        self.links.push(Link::Clsact(point));
        Ok("tc (clsact)")
    }

    fn socket(&mut self) -> Result<String, Error> {
        let name = &self.device.name;
        let socket = sys::packet_socket().map_err(|e| Error::io("a packet socket", e))?;
        let Program::SocketFilter(program) = self.loaded.load_programs(AttachPoint::Socket)? else { return Err(wrong_program_type()) };
        // Attach the filter before binding: otherwise the socket would queue packets before it has a filter.
        let what = || format!("attaching a socket filter to {name}");
        match program.attach(&socket) {
            Ok(_) => {}
            // The entry program is longer than `net.core.optmem_max`, by default 20 kB before Linux 6.8. The limit does not apply to
            // programs that are reached by a tail call.
            Err(error) if os_error(&error) == Some(libc::ENOMEM) => {
                let entry = program.fd().map_err(|e| Error::aya(what(), &e))?;
                let (caller, table) = super::socket::calling(entry.as_fd())?;
                sys::attach_filter(socket.as_fd(), caller.as_fd()).map_err(|e| Error::io(what(), e))?;
                self.sockets.push(table);
            }
            Err(error) => return Err(Error::aya(what(), &error)),
        }
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
