//! Compares the eBPF compiler, the interpreter and libpcap: runs every expression on every packet with every kind of
//! context in the kernel (`BPF_PROG_TEST_RUN`).

use super::{
    assembler::R0,
    cbpf::Program,
    ebpf::{ContextKind, Insn, OnMatch, SetMap, Target, TestConditions, compile, compile_as, table_of},
};
use crate::capture::{
    Link, StrippedTag,
    ebpf::sys::{self, ProgramKind},
};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

const EXPRESSIONS: &[&str] = &[
    "tcp port 80",
    "udp port 53",
    "icmp or icmp6",
    "host 10.0.0.1",
    "net 10.0.0.0/8 and not port 22",
    "ip6 and tcp",
    "ip6 host fe80::1",
    "arp",
    "vlan and tcp port 80",
    "vlan 7 and vlan 8",
    "tcp port 80 or (vlan and (tcp port 80 or (vlan and (tcp port 80))))",
    "vlan and ether[14:2] = 7",
    "mpls",
    "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0",
    "tcp[((tcp[12:1] & 0xf0) >> 2):4] = 0x47455420",
    "ip[6:2] & 0x1fff = 0",
    "ether[0] & 1 = 1 and ip[16] >= 224",
    "len > 100 and len < 1500",
    "greater 200",
    "less 64",
    "ip proto 47 or ip proto 50",
    "portrange 8000-9000",
    "tcp src portrange 1-1023 and dst net 192.168.0.0/16",
    "ether host 00:11:22:33:44:55",
    "not (host 1.2.3.4 or net 5.6.0.0/16)",
    "ip[0] & 0xf != 5",
    "ip[2:2] - ((ip[0] & 0xf) << 2) - ((tcp[12] & 0xf0) >> 2) != 0",
    "udp[8:2] / 3 > 100",
    "udp[8] % 7 = 3",
    "-ip[8] = 0xffffffc0",
    "ip[8] - 65 = 0xffffffff",
    "(ip[8] - 65) >> 28 = 15",
    "(ip[8] - 65) / 2 = 0x7fffffff",
    "ip[ip[9]:1] = 6",
    "ether[len - 1] = 0",
    "ether[12:2] = 0x800 and ether[23] = 17",
    "ether[10:4] & 0xffff = 0x800",
    "ether[9:4] & 0xff = 8",
    "ether[11:4] & 0xffff00 = 0x080000",
    "ether[13:4] & 0xff00 = 0",
    "ether[14:4] & 0xffff = 0x45",
    "ether[15:4] & 0xf0 = 0x40",
    "ether[11:2] & 0xff = 8 or ether[15:2] & 0xff > 3",
    "ether[ether[0] & 0xf:4] != 0",
    "ether[12 + (ether[23] & 3):4] & 0xff != 7",
    "ether[9 + (ether[23] & 7):2] & 0xff00 = 0x0800",
    "multicast",
    "broadcast",
    "pppoes and ip",
    "geneve",
    "tcp[65530] = 1",
    "ether[40000] = 1",
    "ether[2000] = 1 or tcp",
    "ip[8] * ip[9] = 384",
    "ip[12] ^ ip[16] = 0",
    "(tcp[0] << tcp[1]) = 0",
    "(tcp[0] >> (tcp[1] & 63)) = 0",
    "1 = 1",
    "ip[0x7fffffff] = 1",
    "not ip and not ip6",
    "less 1",
];

fn expressions() -> Vec<String> {
    let mut all: Vec<String> = EXPRESSIONS.iter().map(|text| (*text).to_owned()).collect();
    let ports = (0..40).map(|n| format!("tcp port {}", 1000 + n)).collect::<Vec<_>>().join(" or ");
    all.push(format!("{ports} or (vlan and ({ports} or (vlan and ({ports}))))"));
    all.push((0..400).map(|n| format!("host 172.16.{}.{}", n / 250, n % 250 + 1)).collect::<Vec<_>>().join(" or ") + " or host 10.0.0.1");
    let spec = super::FilterSpec {
        ports: [80, 443, 5432]
            .iter()
            .map(|port| super::Ports::one(*port, super::Transports::Tcp))
            .chain([super::Ports::one(53, super::Transports::Both)])
            .collect(),
        icmp: true,
        vlans: super::Vlans::Match,
        ..super::FilterSpec::default()
    };
    all.push(spec.expression());
    for vlans in [super::Vlans::Match, super::Vlans::Reject] {
        for expression in ["not tcp port 80", "udp or host 10.0.0.1"] {
            all.push(
                super::FilterSpec { user_expression: Some(expression.to_owned()), vlans, ..super::FilterSpec::default() }.expression(),
            );
        }
    }
    all
}

fn l4(source: u16, destination: u16, tcp: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = [source.to_be_bytes(), destination.to_be_bytes()].concat();
    if tcp {
        bytes.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x12, 0x20, 0, 0, 0, 0, 0]);
    } else {
        bytes.extend((8 + payload.len() as u16).to_be_bytes());
        bytes.extend([0, 0]);
    }
    bytes.extend(payload);
    bytes
}

fn ethernet(ethertype: u16) -> Vec<u8> {
    let mut bytes = vec![0, 0x22, 0x22, 0x22, 0x22, 0x22, 0, 0x11, 0x22, 0x33, 0x44, 0x55];
    bytes.extend(ethertype.to_be_bytes());
    bytes
}

fn ipv4(protocol: u8, l4: &[u8], options: usize, fragment: u16, addresses: [[u8; 4]; 2]) -> Vec<u8> {
    let words = 5 + options;
    let mut bytes = ethernet(0x0800);
    bytes.extend([0x40 | words as u8, 0]);
    bytes.extend(((words * 4 + l4.len()) as u16).to_be_bytes());
    bytes.extend([0, 1]);
    bytes.extend(fragment.to_be_bytes());
    bytes.extend([64, protocol, 0, 0]);
    bytes.extend(addresses.concat());
    bytes.extend(vec![1; options * 4]);
    bytes.extend(l4);
    bytes
}

fn ipv6(next: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = ethernet(0x86dd);
    bytes.extend([0x60, 0, 0, 0]);
    bytes.extend((rest.len() as u16).to_be_bytes());
    bytes.extend([next, 64, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    bytes.extend(rest);
    bytes
}

fn with_tags(frame: &[u8], tags: &[[u8; 4]]) -> Vec<u8> {
    [&frame[..12], &tags.concat(), &frame[12..]].concat()
}

/// Test packets: complete, tagged, truncated and mutated ones.
pub(super) fn packets() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for (source, destination) in [(40000, 80), (53, 5353), (8080, 443), (22, 1000), (3306, 11)] {
        for tcp in [true, false] {
            for options in [0, 2] {
                for addresses in [[[10, 0, 0, 1], [192, 168, 3, 4]], [[1, 2, 3, 4], [224, 0, 0, 5]]] {
                    for payload in [&b"GET / HTTP/1.1\r\n"[..], &[0; 300], &[]] {
                        all.push(ipv4(if tcp { 6 } else { 17 }, &l4(source, destination, tcp, payload), options, 0x4000, addresses));
                    }
                }
            }
        }
    }
    let whole = all.clone();
    for frame in whole.iter().step_by(5) {
        all.push(with_tags(frame, &[[0x81, 0, 0, 7]]));
        all.push(with_tags(frame, &[[0x81, 0, 0, 7], [0x81, 0, 0, 8]]));
        all.push(with_tags(frame, &[[0x88, 0xa8, 0x60, 9], [0x81, 0, 0, 8], [0x81, 0, 0, 1]]));
        for end in [15, 16, 18, 20, 24, 34, 36, 38, 47, 53].into_iter().filter(|end| *end < frame.len()) {
            all.push(frame[..end].to_vec());
        }
    }
    all.push(ipv6(6, &l4(1234, 80, true, b"GET ")));
    all.push(ipv6(17, &l4(1234, 53, false, b"....")));
    all.push(ipv6(58, &[128, 0, 0, 0, 0, 1, 0, 1]));
    all.push(ipv6(44, &[&[17, 0, 0, 8, 0, 0, 0, 1][..], &l4(1, 2, false, b"")].concat()));
    all.push(ipv6(0, &[&[6, 0, 5, 2, 0, 0, 1, 0][..], &l4(1, 80, true, b"")].concat()));
    all.push(ipv4(17, &[9; 40], 0, 0x2004, [[10, 0, 0, 1], [10, 0, 0, 2]]));
    all.push(ipv4(1, &[8, 0, 0, 0, 0, 1, 0, 1], 0, 0, [[10, 0, 0, 1], [10, 0, 0, 2]]));
    all.push([ethernet(0x0806), vec![0; 28]].concat());
    all.push([ethernet(0x8847), vec![0, 1, 1, 64], vec![0x45; 40]].concat());
    let mut big = whole[0].clone();
    big.resize(2500, 0);
    all.push(big);
    // The random numbers (xorshift) are the same in every run, and so are the mutations.
    let mut state = 0x1234_5678_9abc_def1_u64;
    for n in 0..130 {
        let mut frame = all[n * 7 % all.len()].clone();
        for _ in 0..6 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let at = (state as usize >> 8) % frame.len();
            frame[at] = state as u8;
        }
        all.push(frame);
    }
    all
}

const HIT: i32 = 1;

/// For a kind of context: the program type, the return value for a frame that does not match, and how many leading bytes a test run removes
/// before the program sees the frame.
fn kind(context: ContextKind) -> (ProgramKind, i32, usize) {
    match context {
        ContextKind::Xdp => (sys::XDP, 2, 0),
        ContextKind::Tc => (sys::TC, -1, 0),
        ContextKind::Socket => (sys::SOCKET_FILTER, 0, 14),
    }
}

/// Whether this process may load eBPF programs. If not, prints that the test is skipped; in CI it panics.
pub(crate) fn privileged(test: &str) -> bool {
    let nothing = [Insn::mov_constant(R0, 0), Insn::exit()];
    match sys::load(kind(ContextKind::Xdp).0, &nothing, "probe") {
        Ok(_) => true,
        Err(error) if std::env::var("CI").is_ok_and(|ci| ci == "true") => panic!("{test} must run in CI: bpf(2): {error}"),
        Err(error) => {
            eprintln!("SKIPPED {test}: bpf(2): {error} (needs root, or CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON and CAP_NET_RAW)");
            false
        }
    }
}

fn load(context: ContextKind, program: &Program, forced: TestConditions) -> OwnedFd {
    let (kind, no_match, _) = kind(context);
    let target = Target { context, tags: false, on_match: OnMatch::Return(HIT), no_match, outgoing: false };
    let tables = program.sets().iter().map(|set| table_of(set).unwrap());
    let (descriptors, maps): (Vec<OwnedFd>, Vec<SetMap>) = tables
        .map(|(layout, bytes)| {
            let descriptor = sys::table(&bytes).unwrap();
            let map = SetMap { descriptor: descriptor.as_raw_fd(), layout };
            (descriptor, map)
        })
        .unzip();
    let insns = compile_as(program, &target, &maps, forced).unwrap();
    assert_eq!(descriptors.len(), maps.len());
    sys::load(kind, &insns, "filter").unwrap_or_else(|error| panic!("{context:?} {forced:?}: {error}"))
}

/// Expressions with lists that become sets.
fn expressions_with_lists() -> Vec<String> {
    let list = |values: &[String], or: &str| values.join(or);
    let all = |test: &str, values: &[&str]| values.iter().map(|value| format!("{test}{value}")).collect::<Vec<_>>();
    let ports = ["80", "1000", "8080", "9001", "9002", "9003", "9004", "9005", "9006", "3306"];
    let hosts: Vec<String> = (0..300).map(|n| format!("host 172.16.{}.{}", n / 250, n % 250 + 1)).chain(["host 10.0.0.1".into()]).collect();
    let nets = ["10.1.0.0/16", "192.168.3.0/24", "224.0.0.0/4", "172.16.0.0/12", "8.8.0.0/16", "9.0.0.0/8", "11.0.0.0/8", "12.0.0.0/7"];
    let ipv6 = ["fe80::1", "fe80::2", "fe80::3", "2001:db8::1", "2001:db8::2", "2001:db8:1::1", "fd00::7", "ff02::2", "::1", "::"];
    let nets6 = ["fe80::/10", "fe80::1/128", "2001:db8::/32", "ff00::/9", "fd00::/8", "2002::/16", "2001:db8:1::/48", "3000::/33"];
    let (tcp, udp, both) = (all("tcp port ", &ports), all("udp port ", &ports), all("port ", &ports));
    let (v4, v6, v6nets) = (list(&hosts, " or "), list(&all("host ", &ipv6), " or "), list(&all("net ", &nets6), " or "));
    vec![
        list(&tcp, " or "),
        format!("{} or {} or port 53 or icmp or icmp6", list(&tcp, " or "), list(&udp, " || ")),
        format!("{} or portrange 8000-8100 or portrange 8050-8070", list(&both, " or ")),
        list(&all("src port ", &ports), " or "),
        list(&all("dst or src port ", &ports), " or "),
        list(&all("src and dst port ", &ports), " or "),
        format!("port {}", ports.join(" or ")),
        format!("tcp dst port ({})", ports.join(" or ")),
        format!("not port ({}) and ip", ports.join(" or ")),
        v4.clone(),
        list(&all("src net ", &nets), " or "),
        format!("{} or {v4}", list(&all("net ", &nets), " or ")),
        format!("tcp and not ({v4})"),
        format!(
            "ip and {}",
            list(
                &all("not dst host ", &["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4", "1.1.1.5", "1.1.1.6", "224.0.0.5", "192.168.3.4"]),
                " and "
            )
        ),
        // Two sets are tested for the same value on one path, or a set and a single value.
        format!(
            "({v4}) and not ({})",
            list(&all("host ", &["192.168.3.4", "10.0.0.1", "1.1.1.3", "1.1.1.4", "1.1.1.5", "1.1.1.6", "1.1.1.7", "1.1.1.8"]), " or ")
        ),
        format!("({v4}) and not host 10.0.0.1"),
        format!("({v4}) and host 192.168.3.4"),
        format!("({}) and ({})", list(&both, " or "), list(&all("port ", &["443", "8080", "40000", "1", "2", "3", "4", "5"]), " or ")),
        format!("({}) and not port 80", list(&both, " or ")),
        format!("({}) and tcp[2:2] = 80", list(&tcp, " or ")),
        v6.clone(),
        list(&all("src host ", &ipv6), " or "),
        list(&all("ip6 dst host ", &["ff02::1", "fe80::1", "::2", "::3", "::4", "::5", "::6", "::7"]), " or "),
        v6nets.clone(),
        format!("{v6} or {v6nets} or {v4} or {}", list(&udp, " or ")),
        format!("ip6 and not ({v6})"),
        // `and` and `or` have the same precedence.
        format!("{} and host 10.0.0.1 or udp", list(&both, " or ")),
        format!("udp or host 10.0.0.1 and {}", list(&both, " or ")),
        format!("ether src 00:11:22:33:44:55 and ({})", list(&both, " or ")),
        format!("({}) and not vlan", list(&both, " or ")),
        format!("port http or {} or port domain", list(&both, " or ")),
        format!("!(port 22) && ({})", list(&both, " or ")),
        format!("(ip[6:2] & 0x1fff != 0 and (ip[9] = 6 or ip[9] = 17)) or {}", list(&tcp, " or ")),
    ]
}

/// Runs programs on every packet, in every form that the eBPF compiler can make.
struct Comparison {
    packets: Vec<Vec<u8>>,
    runs: usize,
    hits: usize,
    wrong: Vec<String>,
}

impl Comparison {
    const TAG: StrippedTag = StrippedTag { tpid: 0x8100, tci: 7 };
    /// The context, whether the slow variant is forced, and the tag in the metadata.
    const FORMS: [(ContextKind, bool, bool); 8] = [
        (ContextKind::Xdp, false, false),
        (ContextKind::Xdp, true, false),
        (ContextKind::Tc, false, false),
        (ContextKind::Tc, true, false),
        (ContextKind::Tc, false, true),
        (ContextKind::Tc, true, true),
        (ContextKind::Socket, false, false),
        (ContextKind::Socket, false, true),
    ];

    fn new() -> Self {
        Self { packets: packets(), runs: 0, hits: 0, wrong: Vec::new() }
    }

    /// Compares `program` with libpcap's program for `text`.
    fn compare(&mut self, text: &str, program: &Program, optimized: bool) {
        let libpcap = pcap::Capture::dead(pcap::Linktype::ETHERNET).unwrap().compile(text, optimized).unwrap();
        let mut want = [Vec::new(), Vec::new()];
        for frame in &self.packets {
            for (tag, want) in [None, Some(Self::TAG)].into_iter().zip(&mut want) {
                let whole = if tag.is_some() { with_tags(frame, &[[0x81, 0, 0, 7]]) } else { frame.clone() };
                let (ours, theirs) = (program.matches(frame, frame.len() as u32, tag), libpcap.filter(&whole));
                if ours != theirs {
                    self.wrong.push(format!("`{text}` tag {tag:?}: interpreter {ours}, libpcap {theirs}: {frame:02x?}"));
                }
                want.push(theirs);
            }
        }
        for (context, slow, tagged) in Self::FORMS {
            let loaded = load(context, program, TestConditions { slow, tag: tagged.then_some(0x8100_0007) });
            let front = kind(context).2;
            let mut padded = vec![0; front];
            for (frame, want) in self.packets.iter().zip(&want[usize::from(tagged)]) {
                padded.truncate(front);
                padded.extend_from_slice(frame);
                let got = match sys::test_run(loaded.as_fd(), &padded, 1) {
                    Ok((got, _)) => got == HIT as u32,
                    // Newer kernels do not run a TC program on an IP packet shorter than its header.
                    Err(_) if context == ContextKind::Tc && frame.len() < 54 => continue,
                    Err(error) => panic!("{context:?} {} bytes: {error}", frame.len()),
                };
                self.runs += 1;
                self.hits += usize::from(got);
                if got != *want {
                    let form = format!("{context:?} slow {slow} tagged {tagged}");
                    self.wrong.push(format!("`{text}` {form}: compiler {got}, libpcap {want}: {frame:02x?}"));
                }
            }
        }
    }

    fn finish(self) {
        let Self { packets, runs, hits, wrong } = self;
        assert!(wrong.is_empty(), "{} of {runs} differ\n{}", wrong.len(), wrong[..wrong.len().min(10)].join("\n"));
        assert!(hits > runs / 20, "{hits} of {runs} match: too few to tell");
        println!("{} packets, {runs} runs in the kernel, {hits} matches, no difference", packets.len());
    }
}

#[test]
fn compiler_interpreter_and_libpcap_agree() {
    if !privileged("compiler_interpreter_and_libpcap_agree") {
        return;
    }
    let (mut comparison, expressions) = (Comparison::new(), expressions());
    let (packets, texts) = (comparison.packets.len(), expressions.len());
    assert!(packets >= 500 && texts >= 50, "{packets} packets, {texts} expressions");
    for (n, text) in expressions.iter().enumerate() {
        // Programs that libpcap did not optimise contain more kinds of instructions.
        let optimized = n % 3 != 0;
        let Ok(program) = Program::compile_with(text, Link::Ethernet, optimized) else { panic!("libpcap does not take `{text}`") };
        comparison.compare(text, &program, optimized);
    }
    comparison.finish();
}

#[test]
fn programs_with_sets_and_libpcap_agree() {
    if !privileged("programs_with_sets_and_libpcap_agree") {
        return;
    }
    let mut comparison = Comparison::new();
    // libpcap's program reads both ports for the first value of a list and ends if one is missing. A set is compared with the first port
    // before the second is read, so a frame that ends between the two can match.
    comparison.packets.retain(|frame| frame.len() >= 38);
    for text in expressions_with_lists() {
        let program = super::compile(&text, Link::Ethernet).unwrap();
        let lists = !text.contains("src and dst");
        assert_eq!(!program.sets().is_empty(), lists, "sets in `{text}`");
        assert!(program.ops().len() < 200, "{} instructions: `{text}`", program.ops().len());
        comparison.compare(&text, &program, false);
    }
    comparison.finish();
}

/// Compiles as capture does: with the branch for a tag in the metadata, and with a tail call on a match.
#[test]
fn a_match_calls_the_program_in_the_jump_table() {
    if !privileged("a_match_calls_the_program_in_the_jump_table") {
        return;
    }
    let program = Program::compile("tcp port 80 or (vlan and tcp port 80)", Link::Ethernet).unwrap();
    for context in [ContextKind::Xdp, ContextKind::Tc, ContextKind::Socket] {
        let (kind, no_match, front) = kind(context);
        let table = sys::prog_array(2).unwrap();
        let called = [Insn::mov_constant(R0, HIT), Insn::exit()];
        let called = sys::load(kind, &called, "called").unwrap();
        let on_match = OnMatch::TailCall { table: table.as_raw_fd(), slot: 1 };
        let filter = sys::load(
            kind,
            &compile(&program, &Target { context, tags: true, on_match, no_match, outgoing: false }, &[]).unwrap(),
            "filter",
        )
        .unwrap();
        let frame = [vec![0; front], ipv4(6, &l4(1, 80, true, b""), 0, 0, [[1; 4], [2; 4]])].concat();
        assert_eq!(sys::test_run(filter.as_fd(), &frame, 1).unwrap().0, no_match as u32, "{context:?}: the table is empty");
        sys::set_slot(table.as_fd(), 1, called.as_fd()).unwrap();
        assert_eq!(sys::test_run(filter.as_fd(), &frame, 1).unwrap().0, HIT as u32, "{context:?}");
    }
}
