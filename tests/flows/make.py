#!/usr/bin/env python3
"""Makes the captures beside it, frame by frame: the same bytes every time."""

import pathlib
import struct

HERE = pathlib.Path(__file__).parent
CLIENT_MAC, SERVER_MAC = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
TCP, UDP, ICMP, ICMP6, IPV4, IPV6, FRAGMENT = 6, 17, 1, 58, 4, 41, 44
SYN, FIN, PSH, ACK = 2, 1, 8, 16


def checksum(data):
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def address(text):
    import ipaddress

    return ipaddress.ip_address(text).packed


def ip(source, destination, protocol, payload, ident=0, flags=0, fragment=None):
    """A packet of either version. `fragment` is (offset in bytes, more follow) and makes it one."""
    source, destination = address(source), address(destination)
    if len(source) == 4:
        if fragment:
            flags = fragment[0] // 8 | (0x2000 if fragment[1] else 0)
        head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), ident, flags, 64, protocol, 0, source, destination)
        return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + payload
    if fragment:
        payload = struct.pack(">BBHI", protocol, 0, fragment[0] | fragment[1], ident) + payload
        protocol = FRAGMENT
    return struct.pack(">IHBB16s16s", 6 << 28, len(payload), protocol, 64, source, destination) + payload


def transport(source, destination, protocol, segment, at):
    """Fills in the checksum at offset `at` of a segment."""
    source, destination = address(source), address(destination)
    pseudo = source + destination + struct.pack(">II", len(segment), protocol)
    return segment[:at] + struct.pack(">H", checksum(pseudo + segment) or 0xFFFF) + segment[at + 2 :]


def udp(a, b, data):
    segment = struct.pack(">HHHH", a[1], b[1], 8 + len(data), 0) + data
    return transport(a[0], b[0], UDP, segment, 6)


def tcp(a, b, seq, ack, flags, data=b""):
    segment = struct.pack(">HHIIBBHHH", a[1], b[1], seq, ack if flags & ACK else 0, 5 << 4, flags, 65535, 0, 0) + data
    return transport(a[0], b[0], TCP, segment, 16)


def icmp(kind, code, rest, ends=None):
    """ICMP, or ICMPv6 between two `ends`, whose addresses are part of the checksum."""
    message = struct.pack(">BBH", kind, code, 0) + rest
    if ends:
        return transport(*ends, ICMP6, message, 2)
    return message[:2] + struct.pack(">H", checksum(message)) + message[4:]


def ethernet(packet, back=False, tags=()):
    ends = (CLIENT_MAC + SERVER_MAC) if back else (SERVER_MAC + CLIENT_MAC)
    kind = 0x0800 if packet[0] >> 4 == 4 else 0x86DD
    return ends + b"".join(struct.pack(">HH", tpid, vlan) for tpid, vlan in tags) + struct.pack(">H", kind) + packet


def conversation(a, b, requests, tags=(), isn=(1000, 5000), wrap=lambda packet, back: packet):
    """A TCP connection from handshake to FIN: each request and its response in turn."""
    seq, frames = list(isn), []

    def send(back, flags, data=b""):
        mine, other = (1, 0) if back else (0, 1)
        ends = (b, a) if back else (a, b)
        segment = tcp(*ends, seq[mine], seq[other], flags, data)
        frames.append(ethernet(wrap(ip(ends[0][0], ends[1][0], TCP, segment), back), back, tags))
        seq[mine] += len(data) + (1 if flags & (SYN | FIN) else 0)

    send(False, SYN)
    send(True, SYN | ACK)
    send(False, ACK)
    for request, response in requests:
        send(False, PSH | ACK, request)
        send(True, PSH | ACK, response)
    send(False, FIN | ACK)
    send(True, FIN | ACK)
    send(False, ACK)
    return frames


def exchange(a, b, requests, tags=(), wrap=lambda packet, back: packet):
    """UDP datagrams there and back."""
    frames = []
    for request, response in requests:
        frames.append(ethernet(wrap(ip(a[0], b[0], UDP, udp(a, b, request)), False), False, tags))
        if response is not None:
            frames.append(ethernet(wrap(ip(b[0], a[0], UDP, udp(b, a, response)), True), True, tags))
    return frames


def write(name, frames, step=0.01):
    """A pcap file of Ethernet frames, `step` seconds apart; a number among them is a pause of so many seconds."""
    out = bytearray(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))
    now = 1_700_000_000_000_000
    for frame in frames:
        if isinstance(frame, (int, float)):
            now += int(frame * 1e6)
            continue
        out += struct.pack("<IIII", now // 1_000_000, now % 1_000_000, len(frame), len(frame)) + frame
        now += int(step * 1e6)
    (HERE / name).write_bytes(out)


def fragments(a, b, protocol, payload, ident, size):
    """The payload in fragments of `size` bytes."""
    parts = [(at, payload[at : at + size]) for at in range(0, len(payload), size)]
    return [ethernet(ip(a, b, protocol, part, ident, fragment=(at, at + size < len(payload)))) for at, part in parts]


V4 = (("10.1.0.1", 40001), ("10.1.0.2", 8000))
V6 = (("fd00::1", 40001), ("fd00::2", 8000))
HELLO = [(b"hello", b"hello yourself"), (b"x" * 1000, b"y" * 400)]

# Two connections with the same ends: one flow where no protocol follows them. As HTTP (tracked.yml) they are two.
write("tcp.pcap", conversation(*V4, HELLO) + [1] + conversation(*V4, HELLO[:1], isn=(900_000, 70_000)))

request, response = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
write("tracked.pcap", conversation(*V4, [(request, response)] * 2) + [1] + conversation(*V4, [(request, response)], isn=(900_000, 70_000)))

# A flow that begins with the higher address; one without an answer; an ARP frame, which is none.
arp = b"\xff" * 6 + CLIENT_MAC + bytes.fromhex("08060001080006040001") + CLIENT_MAC + address("10.1.0.1") + bytes(6) + address("10.1.0.2")
write("udp.pcap", exchange(V4[1], V4[0], HELLO) + exchange(("10.1.0.1", 40002), ("10.1.0.3", 514), [(b"log", None)] * 3) + [arp])

# Echo there and back, several times; an error about a datagram; a message that nobody asked for.
echo = [
    ethernet(ip(*(ends[::-1] if back else ends), ICMP, icmp(0 if back else 8, 0, struct.pack(">HH", 7, seq) + b"p" * 32)), back)
    for ends in [("10.1.0.1", "10.1.0.2")]
    for seq in range(3)
    for back in (False, True)
]
lost = ip("10.1.0.1", "10.1.0.4", UDP, udp(("10.1.0.1", 40003), ("10.1.0.4", 9), b"nobody"))
unreachable = ethernet(ip("10.1.0.4", "10.1.0.1", ICMP, icmp(3, 3, bytes(4) + lost[:28])), True)
redirect = ethernet(ip("10.1.0.254", "10.1.0.1", ICMP, icmp(5, 1, address("10.1.0.253") + lost[:28])), True)
write("icmp.pcap", echo + [ethernet(lost), unreachable, redirect])

# The same five-tuple in no VLAN, in two VLANs and in two tags.
tags = [(), ((0x8100, 10),), ((0x8100, 20),), ((0x88A8, 100), (0x8100, 10))]
write("vlan.pcap", [frame for each in tags for frame in exchange(*V4, HELLO, tags=each)])

# TCP, UDP, echo and a neighbour solicitation.
ends = ("fd00::1", "fd00::2")
echo6 = [
    ethernet(ip(*pair, ICMP6, icmp(129 if back else 128, 0, struct.pack(">HH", 7, seq) + b"p" * 32, pair)), back)
    for seq in range(2)
    for back in (False, True)
    for pair in [ends[::-1] if back else ends]
]
solicited = ("fd00::1", "ff02::1:ff00:2")
neighbour = ethernet(ip(*solicited, ICMP6, icmp(135, 0, bytes(4) + address("fd00::2") + b"\1\1" + CLIENT_MAC, solicited)))
write("ipv6.pcap", conversation(*V6, HELLO) + exchange(("fd00::1", 40002), ("fd00::2", 53), HELLO) + echo6 + [neighbour])

# One datagram in four fragments, of either version, and one of which the first fragment is missing.
long4 = udp(*V4, bytes(range(256)) * 12)
long6 = udp(*V6, bytes(range(256)) * 12)
write(
    "fragments.pcap",
    fragments("10.1.0.1", "10.1.0.2", UDP, long4, 1, 1024)
    + exchange(*V4, [(b"whole", None)])
    + fragments("fd00::1", "fd00::2", UDP, long6, 2, 1024)
    + fragments("10.1.0.3", "10.1.0.4", UDP, udp(("10.1.0.3", 1), ("10.1.0.4", 2), bytes(3000)), 3, 1024)[1:],
)


def inside(source, destination, protocol):
    return lambda packet, back: ip(*((destination, source) if back else (source, destination)), protocol, packet)


# IPv4 in IPv4, IPv6 in IPv4, IPv4 in IPv6, and the inner flow without its tunnel.
write(
    "ip_in_ip.pcap",
    exchange(*V4, HELLO, wrap=inside("192.0.2.1", "192.0.2.2", IPV4))
    + conversation(*V6, HELLO, wrap=inside("192.0.2.1", "192.0.2.2", IPV6))
    + exchange(*V4, HELLO, wrap=inside("2001:db8::1", "2001:db8::2", IPV4))
    + exchange(*V4, HELLO),
)

# Seen for 25 seconds, silent for 40, seen again: with periods of 10 and a time-out of 30 seconds.
ticks = [frame for _ in range(6) for frame in (*exchange(*V4, HELLO[:1]), 5)]
write("periods.pcap", ticks + [40] + exchange(*V4, HELLO[:1]) + [60] + exchange(("10.1.0.9", 1), ("10.1.0.2", 2), [(b"late", None)]))


# Fragments in any order: the last first; the first missing; the last missing. SCTP beside an echo between the same addresses.
def orders(ends, ident):
    (a, _), (b, _) = ends
    parts = fragments(a, b, UDP, udp(*ends, bytes(range(256)) * 12), ident, 1024)
    middle = fragments(a, b, UDP, udp((a, 1), (b, 2), bytes(3000)), ident + 1, 1024)
    unfinished = fragments(a, b, UDP, udp((a, 40002), (b, 8000), bytes(3000)), ident + 2, 1024)
    back = fragments(b, a, UDP, udp(*ends[::-1], bytes(3000)), ident, 1024)
    return parts[::-1] + middle[1:] + unfinished[1::-1] + [back[1], back[2], back[0]]


write("fragment-order.pcap", orders(V4, 10) + orders(V6, 20))


def sctp(ends, back=False):
    (a, from_port), (b, to_port) = ends[::-1] if back else ends
    return ethernet(ip(a, b, 132, struct.pack(">HHII", from_port, to_port, 7, 0) + bytes([0, 3, 0, 16]) + bytes(12)), back)


write(
    "sctp.pcap",
    [sctp(V4), sctp(V4, True), sctp(V4), sctp(V6), sctp(V6, True)]
    + [sctp((("10.1.0.1", 40002), ("10.1.0.2", 8000)))]
    + echo[:2]
    + conversation(*V4, HELLO[:1]),
)
