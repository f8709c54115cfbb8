//! Options of interfaces, flows and processes.

use super::super::{Group, Setting, active, default, example};
use super::shared::{LABELS, PROCESSORS};

pub(super) const GROUPS: &[Group] = &[
    Group {
        page: "interfaces",
        title: "Interfaces",
        section: "packetbeat.interfaces",
        about: "Where packets are captured, and how. For several interfaces write a list: `packetbeat.interfaces: [{device: eth0}, {device: eth1}]`.",
        lists: &[("", INTERFACES)],
    },
    Group {
        page: "flows",
        title: "Flows",
        section: "packetbeat.flows",
        about: "Counts of packets and bytes between two ends. Flows are reported if the section exists.",
        lists: &[("", FLOWS), ("", LABELS), ("", PROCESSORS)],
    },
    Group {
        page: "processes",
        title: "Processes",
        section: "packetbeat.procs",
        about: "Which process of this host sent or received the packets.",
        lists: &[("", PROCESSES)],
    },
];

const INTERFACES: &[Setting] = &[
    active("device", "any", "Name or number of the device, `any`, or `default_route` (also `default_route_ipv4`, `default_route_ipv6`)."),
    default("type", "auto", "How packets are captured: `ebpf`, `af_packet`, `pcap`, or `auto`, which takes the first of them that works."),
    default("snaplen", "65535", "Most bytes of a packet that are captured, at most 262144."),
    default("buffer_size_mb", "24", "Megabytes of all rings of the interface together."),
    default("auto_promisc_mode", "false", "`af_packet` captures packets to other hosts, too; the other types always do."),
    default("with_vlans", "true", "Captures packets with VLAN tags like those without."),
    default(
        "track_vlans",
        "false",
        "Connections with the same addresses and ports in different VLANs are different ones. Not in Packetbeat.",
    ),
    example("bpf_filter", "tcp port 80", "A pcap-filter(7) expression in place of the filter that is made from the ports."),
    example("fanout_group", "7", "Processes with the same number share the traffic of `af_packet`."),
    default("metrics_interval", "5s", "How often the counters of the socket are read."),
    example("poll_default_route", "60s", "How often the device of the default route is looked up again; without it never."),
    default(
        "internal_networks",
        "[]",
        "Networks of this site, by name (`private`) or as `10.0.0.0/8`; they decide about `network.direction`. Those of the first interface \
         apply to all.",
    ),
    example("file", "/var/lib/sniffer/capture.pcap", "A capture file to read in place of a device."),
    default("hook", "auto", "Where eBPF programs are attached: `xdp`, `tc`, `socket` or `auto`. Not in Packetbeat."),
    default("shunt", "true", "Segments of TCP connections that no parser needs stay in the kernel, which counts them. Not in Packetbeat."),
    default(
        "on_match",
        "pass",
        "`drop`: incoming packets that match the filter do not reach the host after they were captured. For interfaces that only receive \
         mirrored packets. Not in Packetbeat.",
    ),
    default("on_match_force", "false", "Allows `on_match: drop` on an interface that has an address. Not in Packetbeat."),
    example("workers", "4", "Number of worker threads; without it one for each core. Not in Packetbeat."),
];

const FLOWS: &[Setting] = &[
    default("enabled", "true", "Counts and reports flows."),
    active("timeout", "30s", "A flow is over when no packet was seen for this time; at least 1s."),
    active("period", "10s", "How often an active flow is reported, at least 1s; `-1s`: only when it is over."),
    default("enable_delta_flow_reports", "false", "Reports count since the previous report instead of since the start of the flow."),
    default("allow_mismatched_eth", "false", "Ethernet addresses do not distinguish flows."),
    default("processes", "true", "Reports name processes if `packetbeat.procs` is enabled. Not in Packetbeat."),
    default(
        "kernel_flows",
        "65536",
        "Most flows that the kernel counts on an interface; 0: all are counted in user space. A flow takes about 220 bytes of locked memory. \
         Not in Packetbeat.",
    ),
];

const PROCESSES: &[Setting] = &[
    default("enabled", "false", "Documents name processes."),
    example(
        "monitored",
        "[{process: mysqld, cmdline_grep: mysqld}]",
        "Names for processes: one whose command line contains `cmdline_grep` is called `process` in documents.",
    ),
    example(
        "redact_args",
        "['(--password=)\\S+']",
        "Regular expressions of secrets in arguments. The list replaces the built-in one; `[]` replaces no secrets. Not in Packetbeat.",
    ),
];
