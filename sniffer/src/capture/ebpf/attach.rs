//! Which programs go where on an interface.

use super::{Chain, Device, Error, Hook, Loaded, Options, error::os_error, qdisc, sys};
use aya::{
    Ebpf,
    programs::{
        LinkOrder, Program, ProgramError, SchedClassifier, TcAttachType, Xdp, XdpMode,
        tc::{self, NlOptions, TcAttachOptions},
    },
};
use std::os::fd::AsFd;

/// Attaches what `options.hook` asks for.
pub(super) fn attach(loaded: &mut Loaded, device: &Device, options: &Options) -> Result<(), Error> {
    if options.promiscuous && device.ifindex != 0 && !device.loopback {
        let socket = sys::packet_socket().map_err(|e| Error::io("a packet socket", e))?;
        sys::promiscuous(socket.as_fd(), device.ifindex).map_err(|e| Error::io(format!("promiscuous mode on {}", device.name), e))?;
        loaded.sockets.push(socket);
    }
    let how = match options.hook {
        Hook::Socket => socket(loaded, device)?,
        Hook::Xdp if device.ifindex == 0 || device.raw_ip => {
            return Err(Error::Interface {
                name: device.name.clone(),
                reason: "XDP needs one interface with an Ethernet header; use `hook: auto`".into(),
            });
        }
        Hook::Tc if device.ifindex == 0 => {
            return Err(Error::Interface {
                name: device.name.clone(),
                reason: "TC needs one interface; use `hook: auto` or `hook: socket`".into(),
            });
        }
        Hook::Xdp => {
            let mode = match xdp(loaded, device, XdpMode::Driver) {
                Ok(()) => "native XDP",
                Err(native) => match xdp(loaded, device, XdpMode::Skb) {
                    Ok(()) => "generic XDP",
                    Err(_) => return Err(native),
                },
            };
            xdp_and_tc(loaded, device, mode)?
        }
        Hook::Tc => tc_both(loaded, device)?,
        Hook::Auto if device.ifindex == 0 || device.loopback => socket(loaded, device)?,
        Hook::Auto if device.addressed || device.raw_ip => tc_both(loaded, device)?,
        Hook::Auto => match xdp(loaded, device, XdpMode::Driver) {
            Ok(()) => xdp_and_tc(loaded, device, "native XDP")?,
            Err(reason) => {
                log::info!("{}: no native XDP, TC takes its place: {reason}", device.name);
                tc_both(loaded, device)?
            }
        },
    };
    loaded.hooks.push(format!("{}: {how}", device.name));
    Ok(())
}

fn xdp(loaded: &mut Loaded, device: &Device, mode: XdpMode) -> Result<(), Error> {
    let program: &mut Xdp = wanted(loaded.chain(Chain::Xdp)?)?;
    match program.attach_to_if_index(device.ifindex, mode) {
        Ok(_) => Ok(()),
        Err(error) if matches!(os_error(&error), Some(libc::EBUSY | libc::EEXIST)) => {
            Err(Error::Interface { name: device.name.clone(), reason: "another XDP program is attached".into() })
        }
        Err(error) => Err(Error::aya(format!("attaching XDP to {}", device.name), &error)),
    }
}

/// XDP sees only what comes in. On loopback everything that goes out comes in.
fn xdp_and_tc(loaded: &mut Loaded, device: &Device, mode: &str) -> Result<String, Error> {
    if device.loopback {
        return Ok(mode.to_owned());
    }
    let by = tc(loaded, device, Chain::TcOut)?;
    Ok(format!("{mode} in, {by} out"))
}

fn tc_both(loaded: &mut Loaded, device: &Device) -> Result<String, Error> {
    let by = tc(loaded, device, Chain::TcIn)?;
    if !device.loopback {
        tc(loaded, device, Chain::TcOut)?;
    }
    Ok(by.to_owned())
}

/// By tcx where the kernel has it, first in line: what others do with a packet is theirs, and seen or not we saw it. Else by clsact.
fn tc(loaded: &mut Loaded, device: &Device, chain: Chain) -> Result<&'static str, Error> {
    let side = if chain == Chain::TcIn { TcAttachType::Ingress } else { TcAttachType::Egress };
    let program: &mut SchedClassifier = wanted(loaded.chain(chain)?)?;
    let failed = |error: ProgramError| Error::aya(format!("attaching TC to {}", device.name), &error);
    match program.attach_with_options(&device.name, side, TcAttachOptions::TcxOrder(LinkOrder::first())) {
        Ok(_) => return Ok("tcx"),
        // An older kernel does not know the attach type.
        Err(error) if matches!(os_error(&error), Some(libc::EINVAL | libc::EOPNOTSUPP)) => {}
        Err(error) => return Err(failed(error)),
    }
    match tc::qdisc_add_clsact(&device.name) {
        Ok(()) => loaded.clsact.push(device.ifindex),
        Err(tc::TcError::AlreadyAttached) => {}
        Err(error) if os_error(&error) == Some(libc::EEXIST) => {}
        Err(error) => return Err(Error::aya(format!("adding clsact to {}", device.name), &error)),
    }
    let program: &mut SchedClassifier = wanted(loaded.chain(chain)?)?;
    program.attach_with_options(&device.name, side, TcAttachOptions::Netlink(NlOptions::default())).map_err(failed)?;
    Ok("tc (clsact)")
}

fn socket(loaded: &mut Loaded, device: &Device) -> Result<String, Error> {
    let socket = sys::packet_socket().map_err(|e| Error::io("a packet socket", e))?;
    let Program::SocketFilter(program) = loaded.chain(Chain::Socket)? else { return Err(mixed_up()) };
    // Before it takes packets: what it takes without a program stays in its queue.
    program.attach(&socket).map_err(|e| Error::aya(format!("attaching a socket filter to {}", device.name), &e))?;
    sys::bind(socket.as_fd(), device.ifindex).map_err(|e| Error::io(format!("binding a packet socket to {}", device.name), e))?;
    loaded.sockets.push(socket);
    Ok("socket filter".to_owned())
}

/// Takes a clsact away that was ours: after our own programs, and only when nobody else's are in it.
pub(super) fn remove_clsact(ebpf: &mut Ebpf, ifindex: u32) {
    for name in ["tc_entry_in", "tc_entry_out"] {
        if let Some(Program::SchedClassifier(program)) = ebpf.program_mut(name) {
            // Unloading detaches; whatever is wrong with that, the qdisc is then still in use and stays.
            let _ = program.unload();
        }
    }
    if let Err(error) = qdisc::delete_unused_clsact(ifindex) {
        log::debug!("clsact of interface {ifindex} stays: {error}");
    }
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
