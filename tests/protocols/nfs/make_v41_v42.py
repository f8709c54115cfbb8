"""Writes v41_v42.pcap: NFS 4.1 (RFC 8881) and 4.2 (RFC 7862) over RPC (RFC 5531). Checksums are left at 0."""
import struct
from pathlib import Path

PACKETS, SEQ = [], {True: 1000, False: 5000}


def words(*values):
    return b"".join(struct.pack(">I", v) for v in values)


def opaque(data):
    return words(len(data)) + data + bytes(-len(data) % 4)


def segment(to_server, payload, flags=0x18):
    ends = [(0x7F000001, 40100), (0x7F000001, 2049)]
    (a, p), (b, q) = ends if to_server else ends[::-1]
    tcp = struct.pack(">HHIIBBHHH", p, q, SEQ[to_server], SEQ[not to_server], 0x50, flags, 65535, 0, 0) + payload
    ip = struct.pack(">BBHHHBBHII", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0, a, b) + tcp
    PACKETS.append(bytes(12) + b"\x08\x00" + ip)
    SEQ[to_server] += len(payload) + (1 if flags & 3 else 0)


def record(message, *cuts):
    out, start = b"", 0
    for cut in cuts:
        out += words(cut - start) + message[start:cut]
        start = cut
    return out + words(0x80000000 | (len(message) - start)) + message[start:]


def call(xid, minor, *operations, tag=b""):
    cred = words(77) + opaque(b"client") + words(1000, 1000, 0)
    return words(xid, 0, 2, 100003, 4, 1, 1) + opaque(cred) + words(0, 0) + opaque(tag) + words(minor, len(operations)) + b"".join(operations)


def reply(xid, status=0):
    return words(xid, 1, 0, 0, 0, 0, status) + opaque(b"") + words(0)


SEQUENCE = words(53) + bytes(range(16)) + words(1, 0, 0, 1)
PUTFH = words(22) + opaque(b"handle of a file")
STATE = words(1) + bytes(12)
segment(True, b"", 2), segment(False, b"", 0x12), segment(True, b"", 0x10)
segment(True, record(call(1, 1, words(42) + bytes(8) + opaque(b"owner") + words(0, 0, 0))))
segment(False, record(reply(1)))
segment(True, record(call(2, 1, words(43) + bytes(60))))
segment(False, record(reply(2)))
# Two at once, answered the other way round; the first in three fragments.
segment(True, record(call(3, 1, SEQUENCE, PUTFH, words(25) + STATE + words(0, 0, 4096), tag=b"read"), 30, 100))
segment(True, record(call(4, 2, SEQUENCE, PUTFH, words(59) + STATE + words(0, 0, 0, 4096))))
segment(False, record(reply(4, 10004)) + record(reply(3)))
segment(True, record(call(5, 2, SEQUENCE, PUTFH, words(69) + STATE + words(0, 0, 1), words(9, 1, 24))))
segment(False, record(reply(5)))
segment(True, record(call(6, 2, SEQUENCE, PUTFH, words(32), PUTFH, words(71) + STATE + STATE + words(0, 0, 0, 0, 0, 0))))
segment(False, record(reply(6), 9))
segment(True, record(call(7, 1, words(44) + bytes(16))))
segment(False, record(reply(7)))
segment(True, b"", 0x11), segment(False, b"", 0x11)
with open(Path(__file__).with_name("v41_v42.pcap"), "wb") as f:
    f.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
    for i, data in enumerate(PACKETS):
        f.write(struct.pack("<IIII", 1700000000, i * 1000, len(data), len(data)) + data)
