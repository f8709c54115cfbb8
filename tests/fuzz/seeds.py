#!/usr/bin/env python3
"""Generates the initial inputs of the fuzz targets from the captures in ../protocols: seeds.py [PROTOCOLS_DIR...]

src/drive/*.rs describe the formats of the inputs. For protocols without a capture there are messages written by hand.
"""

import pathlib
import struct
import sys

HERE = pathlib.Path(__file__).parent
# Most bytes of an input, most bytes of one message in it if it must be shortened, most inputs of a target.
MOST_BYTES, MOST_PIECE, MOST_FILES = 3000, 900, 12

BY_HAND = {
    "redis": [
        [(0, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nhello\r\n"), (1, b"+OK\r\n"), (0, b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"), (1, b"$5\r\nhello\r\n")],
        [(0, b"PING\r\n"), (1, b"+PONG\r\n"), (0, b"*1\r\n$5\r\nMULTI\r\n"), (1, b"-ERR no\r\n"), (1, b"*2\r\n:1\r\n$-1\r\n")],
        [(0, b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n"), (1, b"%1\r\n$5\r\nproto\r\n:3\r\n"), (1, b">2\r\n+invalidate\r\n*-1\r\n"), (1, b"~1\r\n#t\r\n")],
    ],
    "sip": [
        [
            (0, b"INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP a.example.com;branch=z9hG4bK1\r\nFrom: Alice <sip:alice@example.com>;tag=1\r\n"
                b"To: <sip:bob@example.com>\r\nCall-ID: 1@a\r\nCSeq: 1 INVITE\r\nContact: <sip:alice@10.0.0.1>\r\nMax-Forwards: 70\r\n"
                b"Content-Type: application/sdp\r\nContent-Length: 49\r\n\r\nv=0\r\no=a 1 1 IN IP4 10.0.0.1\r\ns=-\r\nm=audio 1 R 0\r\n"),
            (1, b"SIP/2.0 180 Ringing\r\nVia: SIP/2.0/UDP a.example.com;branch=z9hG4bK1\r\nFrom: <sip:alice@example.com>;tag=1\r\n"
                b"To: <sip:bob@example.com>;tag=2\r\nCall-ID: 1@a\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"),
            (1, b"SIP/2.0 200 OK\r\nv: SIP/2.0/UDP a.example.com;branch=z9hG4bK1\r\nf: <sip:alice@example.com>;tag=1\r\n"
                b"t: <sip:bob@example.com>;tag=2\r\ni: 1@a\r\nCSeq: 1 INVITE\r\nl: 0\r\n\r\n"),
        ],
        [(0, b'REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK2\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: 2\r\n'
             b'CSeq: 2 REGISTER\r\nAuthorization: Digest username="a", realm="r", nonce="n", uri="sip:b", response="00", algorithm=MD5\r\n\r\n')],
    ],
    "dhcpv4": [[
        (0, b"\1\1\6\0\1\2\3\4" + bytes(20) + b"\2\0\0\0\0\1" + bytes(202) + b"c\x82Sc\x35\1\1\x3d\7\1\2\0\0\0\0\1\x0c\1h\x37\4\1\3\6\x0f\xff"),
        (1, b"\2\1\6\0\1\2\3\4" + bytes(8) + b"\x0a\0\0\5\x0a\0\0\2" + bytes(4) + b"\2\0\0\0\0\1" + bytes(202)
            + b"c\x82Sc\x35\1\2\x36\4\x0a\0\0\2\x33\4\0\0\x0e\x10\1\4\xff\xff\xff\0\3\4\x0a\0\0\1\6\4\x0a\0\0\1\xff"),
    ]],
}

FILTERS = {
    "tcp-port-80": b"\x01" + bytes([0, 8, 45]),
    "vlan-and-udp-port-53": b"\x01" + bytes([55, 15, 1, 8, 44]),
    "ip6-or-arp": b"\x01" + bytes([5, 16, 6]),
    "ether-load": b"\x01" + bytes([7, 20, 42, 22, 38, 21, 23, 48, 32, 37]),
    "classic-jump": b"\x00" + struct.pack(">HBBIHBBIHBBIHBBI", 2, 0, 0, 12, 37, 0, 1, 0x800, 44, 0, 0, 0xFFFF, 44, 0, 0, 0)[:40],
}

VARIABLES = r"""name: ${HOSTNAME:box}
path.home: /nowhere
hosts: [a, b]
packetbeat:
  interfaces.device: ${DEVICE:any}
  protocols:
  - {type: http, ports: [80, 8000-8080], processors: [{add_tags: {tags: ["${name}", '$${stays}']}}]}
  - {type: dns, ports: 53, include_authorities: yes}
  flows: {timeout: 30s, period: 10s}
base: &base {codec.json.pretty: true}
output.console: {<<: *base, enabled: ${ON:true}}
other: ${hosts}
deep: ${${WHICH:name}}
wrong: ${NO:?must be set}
"""
PROCESSORS = r"""processors:
- if: {and: [{equals.type: http}, {range: {http.response.status_code: {gte: 400, lt: 600}}}, {not.has_fields: [tags]}]}
  then: [{drop_fields: {fields: [http.request.headers, '/^url\\./'], ignore_missing: true}}]
  else: {add_fields: {target: project, fields: {name: x, id: 574}}}
- rename: {fields: [{from: a.b, to: c}], fail_on_error: no, when.regexp.query: '^SELECT'}
- include_fields: {fields: client.ip, when.or: [{network: {client.ip: [private, 192.0.2.0/24]}}, {contains.tags: x}]}
- detect_mime_type: {field: http.request.body.content, target: kind}
- drop_event.when.equals.status: OK
- add_host_metadata: {cache.ttl: 5m, netinfo.enabled: false, geo: {name: here, location: "40.7, -74.0"}}
- foo: {bar: 1}
"""
SETTINGS = ["output.console.pretty=true", "packetbeat.protocols.http.ports=[80, 8080]", "a.b={c: 'd', e: [1, \"2\"]}", "tags=a,b", "name=${name}-x", "x=~"]

EVENT = b'{"type":"http","status":"Error","tags":["a","b"],"client":{"ip":"10.1.2.3","port":5},"http.x":{"n":-4.5},"ok":true,"n":404}'
CONDITIONS = {
    "equals": "equals: {type: http, client.port: 5, ok: true}",
    "contains": "contains: {status: Err, tags: b}",
    "regexp": "regexp.status: '^(Err|OK).*$'",
    "range": "range: {client.port: {gt: 4, lte: 5}, n.gte: 400, http.x.n.lt: 0}",
    "has-fields": "has_fields: [client.ip, nothing]",
    "network": "network: {client.ip: [private, '10.0.0.0/8', public]}",
    "joined": "or: [{and: [{equals.type: dns}, {not.equals.n: 5}]}, {not: {has_fields: type}}]",
    "several": "{equals.type: http, contains.tags: a, not: ~}",
    "wrong": "equal: {type: http}",
}
FORMATS = {
    "index": "packetbeat-%{[agent.version]}-%{+yyyy.MM.dd}",
    "default": "%{[a.b]:none}%{[n]}-%{[client.ip]:}",
    "date": "%{+yy.D HH:mm:ss.SSS 'W'ww xxxx''}",
    "open": "a%{[type]",
}


def classic_pcap(order, magic, packets, link=1, fraction=0):
    out = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link)
    for n, data in enumerate(packets):
        out += struct.pack(order + "IIII", 1_700_000_000 + n, fraction, len(data), len(data) + n) + data
    return out


def block(order, kind, body):
    body += bytes(-len(body) % 4)
    return struct.pack(order + "II", kind, len(body) + 12) + body + struct.pack(order + "I", len(body) + 12)


def pcapng(order, packets):
    option = lambda code, value: struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)
    out = block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1) + option(2, b"by hand") + option(0, b""))
    out += block(order, 1, struct.pack(order + "HHI", 1, 0, 65535) + option(2, b"eth0") + option(9, b"\x09") + option(14, bytes(8)) + option(0, b""))
    out += block(order, 1, struct.pack(order + "HHI", 101, 0, 64))
    for n, data in enumerate(packets):
        stamp = 1_700_000_000_000_000_000 + n
        out += block(order, 6, struct.pack(order + "IIIII", n % 2, stamp >> 32, stamp & 0xFFFFFFFF, len(data), len(data) + n) + data)
    return out + block(order, 3, struct.pack(order + "I", 42) + b"simple packet") + block(order, 5, bytes(12)) + block(order, 0xBAD, b"custom")


def capture_files(packets):
    yield "pcap-microseconds", classic_pcap("<", 0xA1B2C3D4, packets)
    yield "pcap-nanoseconds-swapped", classic_pcap(">", 0xA1B23C4D, packets, 101, 999_999_999)
    yield "pcap-modified", classic_pcap("<", 0xA1B2CD34, packets)
    yield "pcap-cut", classic_pcap("<", 0xA1B2C3D4, packets)[:-5]
    yield "pcapng", pcapng("<", packets)
    yield "pcapng-swapped", pcapng(">", packets)
    yield "pcapng-two-sections", pcapng("<", packets[:2]) + pcapng(">", packets[2:])
    yield "pcapng-cut", pcapng("<", packets)[:-7]


def frames(path):
    data = path.read_bytes()
    magic = data[:4]
    if magic not in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1"):
        return
    link = struct.unpack_from("<I", data, 20)[0]
    at = 24
    while at + 16 <= len(data):
        size = struct.unpack_from("<I", data, at + 8)[0]
        yield link, data[at + 16 : at + 16 + size]
        at += 16 + size


def network(link, frame):
    if link == 1:
        at = 12
        while frame[at : at + 2] in (b"\x81\0", b"\x88\xa8"):
            at += 4
        return frame[at + 2 :]
    return frame[{113: 16, 276: 20, 0: 4, 108: 4}.get(link, 0) :]


def conversations(path):
    """Maps (IP protocol, the two ends) to the payloads of a conversation: [(direction, payload)]."""
    talks = {}
    for link, frame in frames(path):
        ip = network(link, frame)
        if len(ip) < 20:
            continue
        if ip[0] >> 4 == 4:
            size, proto, ends = (ip[0] & 15) * 4, ip[9], (ip[12:16], ip[16:20])
            ip = ip[: struct.unpack_from(">H", ip, 2)[0] or len(ip)]
        elif ip[0] >> 4 == 6 and len(ip) >= 40:
            size, proto, ends = 40, ip[6], (ip[8:24], ip[24:40])
        else:
            continue
        l4 = ip[size:]
        if proto in (1, 58):
            key, payload, back = (proto, frozenset(ends)), l4, ends[0] > ends[1]
        elif proto in (6, 17) and len(l4) >= 8:
            ports = struct.unpack_from(">HH", l4)
            if proto == 6 and len(l4) < 20:
                continue
            payload = l4[(l4[12] >> 4) * 4 :] if proto == 6 else l4[8:]
            a, b = (ends[0], ports[0]), (ends[1], ports[1])
            key, back = (proto, frozenset((a, b))), ports[0] < ports[1]
        else:
            continue
        if payload:
            talks.setdefault(key, []).append((int(back), payload))
    return talks


def fuzz_input(first, pieces):
    out = bytearray([first])
    for back, payload in pieces:
        if len(out) + len(payload) > MOST_BYTES:
            lost = max(0, len(payload) - MOST_PIECE)
            payload = payload[:MOST_PIECE]
            if len(out) + len(payload) > MOST_BYTES:
                break
            out += bytes([back]) + struct.pack(">H", len(payload)) + payload
            if lost:
                out += bytes([4 << 1 | back]) + struct.pack(">H", min(lost, 65535))
        else:
            out += bytes([back]) + struct.pack(">H", len(payload)) + payload
    return bytes(out)


def write(target, name, data):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def main():
    roots = [pathlib.Path(arg) for arg in sys.argv[1:]] or [HERE.parent / "protocols"]
    decoded = set()
    for capture in sorted(p for root in roots for p in root.glob("*/*.pcap")):
        target, made = capture.parent.name, 0
        talks = sorted(conversations(capture).items(), key=lambda talk: -len(talk[1]))
        for (proto, _), pieces in talks:
            flags = 1 | (2 if proto == 17 else 0) | (16 if proto == 58 else 0)
            if made < 3 and len(list((HERE / "corpus" / target).glob("*"))) < MOST_FILES:
                write(target, f"{capture.stem}-{made}", fuzz_input(flags, pieces))
                made += 1
        if target not in decoded and len(decoded) < 12:
            out = bytearray()
            for link, frame in list(frames(capture))[:12]:
                out = out or bytearray([{1: 0, 101: 1, 113: 2, 276: 3, 0: 4}.get(link, 0)])
                if len(out) + len(frame) < MOST_BYTES:
                    out += b"\1" + struct.pack(">H", len(frame)) + frame
            write("decode", target, bytes(out))
            decoded.add(target)
    for target, talks in BY_HAND.items():
        for n, pieces in enumerate(talks):
            write(target, f"by-hand-{n}", fuzz_input(3 if target != "redis" else 1, pieces))
    for name, data in FILTERS.items():
        write("filter", name, data)
    packets = [frame for _, frame in list(frames(HERE.parent / "protocols/icmp/ping.pcap"))[:6]]
    for name, data in capture_files(packets):
        write("capture", name, data)
    for path in sorted((HERE.parent / "configs").glob("*.yml")):
        write("config", path.stem, path.read_bytes())
    write("config", "variables", "\0".join([VARIABLES, *SETTINGS]).encode())
    write("config", "processors", PROCESSORS.encode())
    for name, text in CONDITIONS.items():
        write("condition", name, text.encode() + b"\0" + EVENT)
    for name, text in FORMATS.items():
        write("format", name, struct.pack(">Q", 1_700_000_000_123_456_789) + text.encode() + b"\0" + EVENT)
    segments = [(0, 5, 0), (10, 5, 0), (5, 5, 1), (40, 20, 8), (30, 10, 24), (100, 7, 2), (90, 3, 11)]
    for name, isn in (("in-disorder", 0), ("wrapping", 0xFFFFFFFA)):
        write("reassembly", name, struct.pack(">IB", isn, 0) + b"".join(struct.pack(">hBB", *s) for s in segments))
        write("reassembly", name + "-cut", struct.pack(">IB", isn, 1) + b"".join(struct.pack(">hBB", *s[:2], s[2] | 4) for s in segments))


main()
