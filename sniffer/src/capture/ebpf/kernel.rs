//! What the ladder ebpf → af_packet → pcap asks of the kernel half.

use super::{Capture, Hook, Options};
use crate::capture::{
    Error, Kernel, Link, afpacket,
    control::Control,
    open::{Plan, Sources, classic_filter},
    options,
};
use std::sync::Arc;

/// For [`crate::capture::open::open`].
pub const KERNEL: Kernel = Kernel { ebpf, socket_filter };

fn ebpf(plan: &Plan) -> Result<(Sources, Arc<dyn Control>, String), Error> {
    let interface = &plan.interface;
    let options = Options {
        interfaces: vec![if interface.device.starts_with("default_route") { interface.device.clone() } else { plan.device.name.clone() }],
        hook: match interface.hook {
            options::Hook::Auto => Hook::Auto,
            options::Hook::Xdp => Hook::Xdp,
            options::Hook::Tc => Hook::Tc,
            options::Hook::Socket => Hook::Socket,
        },
        snaplen: interface.snaplen,
        buffer_bytes: usize::try_from(interface.buffer_size_mb << 20).unwrap_or(usize::MAX),
        workers: interface.workers(),
        promiscuous: plan.promiscuous,
        filter: plan.filters.clone(),
        follow_route: interface.poll_default_route,
    };
    let opened = Capture::open(&options).map(|(capture, sources)| {
        let hooks = capture.hooks().join(", ");
        (sources, Arc::new(capture) as Arc<dyn Control>, hooks)
    });
    opened.map_err(|e| Error::Device { device: plan.device.name.clone(), reason: e.to_string() })
}

/// eBPF where `bpf(2)` is allowed and the device has one kind of frames, else libpcap's classic form.
fn socket_filter(plan: &Plan) -> Result<afpacket::Filter, Error> {
    let Some(link) = plan.device.link else { return classic_filter(plan) };
    match super::socket_filter(&plan.filters, link != Link::Ethernet, plan.interface.snaplen) {
        Ok(Some(program)) => Ok(afpacket::Filter::Ebpf(program)),
        Ok(None) => Ok(afpacket::Filter::None),
        Err(error) => {
            log::info!("{}: a classic filter for the socket: {error}", plan.device.name);
            classic_filter(plan)
        }
    }
}
