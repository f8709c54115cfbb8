//! Fuzzes filters. If the first byte is even, the rest is a classic program with ten bytes per instruction; if it is
//! odd, the rest selects the words of an expression.

use super::Input;
use sniffer::capture::{
    Link, StrippedTag,
    filter::{
        cbpf::{Instruction, MAX_INSTRUCTIONS, Program},
        ebpf::{ContextKind, Insn, OnMatch, Target, compile},
    },
};

/// Words of filter expressions. With these words libpcap's parser accepts more than the first word of an input. Host names are left out,
/// because libpcap would ask a name server for them.
#[rustfmt::skip]
const WORDS: [&str; 64] = [
    "tcp", "udp", "icmp", "icmp6", "ip", "ip6", "arp", "ether", "port", "portrange", "host", "net", "proto", "src", "dst", "and",
    "or", "not", "(", ")", "[", "]", ":", "&", "|", "+", "-", "*", "/", "%", "<<", ">>",
    "=", "!=", "<", ">", "0", "1", "2", "4", "6", "7", "12", "14", "53", "80", "443", "1-1023",
    "0xff", "0x1fff", "65535", "10.0.0.1", "10.0.0.0/8", "fe80::1", "00:11:22:33:44:55", "vlan", "mpls", "len", "less", "greater", "multicast", "tcpflags", "tcp-syn", "^",
];
/// Maximum number of words in an expression, because libpcap needs much time to compile long expressions.
const MOST_WORDS: usize = 40;
/// Maximum number of eBPF instructions per classic instruction: a load in all four copies, and some instructions that occur once.
const LONGEST: usize = 200;

/// All instruction codes of classic BPF. Programs made from them are often valid.
const CODES: [u16; 47] = [
    0x00, 0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0x60, 0x80, 0x01, 0x61, 0x81, 0xb1, 0x02, 0x03, 0x04, 0x0c, 0x14, 0x1c, 0x24, 0x2c, 0x34,
    0x3c, 0x44, 0x4c, 0x54, 0x5c, 0x64, 0x6c, 0x74, 0x7c, 0x84, 0x94, 0x9c, 0xa4, 0xac, 0x05, 0x15, 0x1d, 0x25, 0x2d, 0x35, 0x3d, 0x45,
    0x06, 0x07, 0x87,
];

const FRAME: &[u8] = b"\x02\0\0\0\0\x01\x02\0\0\0\0\x02\x08\0\x45\0\0\x34\0\x01\0\0\x40\x06\0\0\x0a\0\0\x01\x0a\0\0\x02\x9c\x40\0\x50\
    \0\0\0\x01\0\0\0\x02\x50\x18\x20\0\0\0\0\0GET / HTTP/1";
const TAG: StrippedTag = StrippedTag { tpid: 0x8100, tci: 7 };

/// Checks that every program is accepted or refused, terminates, and compiles to a program whose jumps stay inside it.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    match input.byte() {
        how if how & 1 == 0 => classic(how, input),
        _ => expression(input),
    }
}

fn classic(how: u8, mut input: Input<'_>) {
    let mut raw = Vec::new();
    while !input.is_empty() && raw.len() <= MAX_INSTRUCTIONS {
        let code = input.short();
        let code = if how & 2 == 0 { CODES[usize::from(code) % CODES.len()] } else { code };
        raw.push(Instruction { code, jt: input.byte(), jf: input.byte(), k: input.word() });
    }
    if how & 4 != 0 {
        raw.push(Instruction { code: 0x16, jt: 0, jf: 0, k: 0 }); // return A
    }
    if let Ok(program) = Program::new(&raw) {
        check(&program);
    }
}

fn expression(input: Input<'_>) {
    let words: Vec<&str> = input.0.iter().take(MOST_WORDS).map(|b| WORDS[usize::from(*b) % WORDS.len()]).collect();
    let text = words.join(" ");
    for link in [Link::RawIp, Link::LinuxSll] {
        if let Ok(program) = Program::compile(&text, link) {
            check(&program);
        }
    }
    let Ok(program) = Program::compile(&text, Link::Ethernet) else { return };
    check(&program);
    let theirs = pcap::Capture::dead(pcap::Linktype::ETHERNET).unwrap().compile(&text, true).unwrap();
    for len in [0, 13, 20, 36, FRAME.len()] {
        let (frame, whole) = (&FRAME[..len], FRAME.len() as u32);
        // libpcap's interpreter takes the captured length as the length on the wire.
        assert_eq!(program.matches(frame, len as u32, None), theirs.filter(frame), "`{text}` on {len} bytes");
        program.matches(frame, whole, Some(TAG));
    }
}

fn check(program: &Program) {
    for frame in [&[][..], &FRAME[..14], FRAME] {
        let plain = program.matches(frame, frame.len() as u32, None);
        assert_eq!(plain, program.matches(frame, frame.len() as u32, None), "the same frame again");
        program.matches(frame, 70_000, Some(TAG));
    }
    for context in [ContextKind::Xdp, ContextKind::Tc, ContextKind::Socket] {
        for tags in [false, true] {
            for on_match in [OnMatch::Return(1), OnMatch::TailCall { table: 3, slot: 1 }] {
                if let Ok(insns) = compile(program, &Target { context, tags, on_match, no_match: 0, outgoing: false }, &[]) {
                    check_compiled(&insns, program);
                }
            }
        }
    }
}

/// Checks by RFC 9669 that every jump leads to an instruction, and that the last instruction ends the program or is a
/// jump.
fn check_compiled(insns: &[Insn], program: &Program) {
    let most = LONGEST * (program.ops().len() + 1);
    assert!(insns.len() <= most, "{} instructions of {}", insns.len(), program.ops().len());
    for (at, insn) in insns.iter().enumerate() {
        let (class, operation) = (insn.code & 7, insn.code & 0xf0);
        let jumps = matches!(class, 5 | 6) && !matches!(operation, 0x80 | 0x90);
        if jumps {
            let to = at as i64 + 1 + i64::from(insn.off);
            assert!((0..insns.len() as i64).contains(&to), "instruction {at} of {} jumps to {to}", insns.len());
        }
    }
    let last = insns.last().map(|insn| insn.code);
    assert!(matches!(last, Some(0x95 | 0x05)), "the last instruction is {last:02x?}");
}
