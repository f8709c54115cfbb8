"""Writes udp.pcap: NFS 3 (RFC 1813) over RPC (RFC 5531) over UDP, where a datagram is a message. Checksums are left at 0."""
import struct
from pathlib import Path

PACKETS = []


def words(*values):
    return b"".join(struct.pack(">I", v) for v in values)


def opaque(data):
    return words(len(data)) + data + bytes(-len(data) % 4)


def datagram(to_server, payload):
    ends = [(0x7F000001, 797), (0x7F000001, 2049)]
    (a, p), (b, q) = ends if to_server else ends[::-1]
    udp = struct.pack(">HHHH", p, q, 8 + len(payload), 0) + payload
    ip = struct.pack(">BBHHHBBHII", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, a, b) + udp
    PACKETS.append(bytes(12) + b"\x08\x00" + ip)


def call(xid, procedure, arguments):
    cred = words(77) + opaque(b"client") + words(1000, 1000, 0)
    datagram(True, words(xid, 0, 2, 100003, 3, procedure, 1) + opaque(cred) + words(0, 0) + arguments)


def reply(xid, status, result=b""):
    datagram(False, words(xid, 1, 0, 0, 0, 0, status) + result)


HANDLE = opaque(b"handle of a file")
ATTRIBUTES = bytes(84)
call(1, 0, b""), datagram(False, words(1, 1, 0, 0, 0, 0))  # NULL has no status
call(2, 1, HANDLE), reply(2, 0, ATTRIBUTES)  # GETATTR
call(3, 3, HANDLE + opaque(b"missing")), call(4, 6, HANDLE + words(0, 0, 512))  # LOOKUP and READ at once ...
reply(4, 0, words(1) + ATTRIBUTES + words(512, 1) + opaque(b"x" * 512)), reply(3, 2, words(0))  # ... answered the other way round
call(5, 4, HANDLE + words(0x1F)), call(5, 4, HANDLE + words(0x1F)), reply(5, 0, words(0, 0x1F))  # ACCESS, asked twice
call(6, 18, HANDLE)  # FSSTAT, never answered
with open(Path(__file__).with_name("udp.pcap"), "wb") as f:
    f.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
    for i, data in enumerate(PACKETS):
        f.write(struct.pack("<IIII", 1700000000, i * 1000, len(data), len(data)) + data)
