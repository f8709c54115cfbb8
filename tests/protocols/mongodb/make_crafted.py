#!/usr/bin/env python3
"""Makes packed.pcap and exhaust.pcap: what no server that can be had for the tests says. Standard library and `pymongo`'s `bson`;
`cramjam` and `zstandard` for the two compressors that Python lacks.

Sources: https://github.com/mongodb/specifications/blob/master/source/compression/OP_COMPRESSED.md,
https://github.com/mongodb/specifications/blob/master/source/message/OP_MSG.md,
https://www.mongodb.com/docs/manual/legacy-opcodes/
"""
import os
import struct
import sys
import zlib

import bson
import cramjam
import zstandard

MORE, EXHAUST_ALLOWED, CHECKSUM = 2, 1 << 16, 1
HERE = os.path.dirname(os.path.abspath(__file__))


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def packet(number, to, op, body):
    return struct.pack("<iiii", 16 + len(body), number, to, op) + body


def msg(number, to, document, flags=0, **sequences):
    body = struct.pack("<I", flags) + b"\0" + bson.encode(document)
    for name, documents in sequences.items():
        data = b"".join(map(bson.encode, documents))
        body += b"\x01" + struct.pack("<i", 4 + len(name) + 1 + len(data)) + name.encode() + b"\0" + data
    if flags & CHECKSUM:
        whole = struct.pack("<iiii", 16 + len(body) + 4, number, to, 2013) + body
        body += struct.pack("<I", crc32c(whole))
    return packet(number, to, 2013, body)


def packed(how, plain):
    length, number, to, op = struct.unpack("<iiii", plain[:16])
    body = plain[16:]
    data = {0: lambda b: b, 1: lambda b: bytes(cramjam.snappy.compress_raw(b)), 2: zlib.compress,
            3: zstandard.ZstdCompressor().compress}[how](body)
    return packet(number, to, 2012, struct.pack("<iiB", op, len(body), how) + data)


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def write(name, conversation):
    """CONVERSATION: (from the client?, bytes) in turn, one segment each, a millisecond apart; after a handshake, before FINs."""
    ends = {True: (bytes([10, 0, 0, 1]), 40000), False: (bytes([10, 0, 0, 2]), 27017)}
    seq, out, now = {True: 1000, False: 2000}, [], 1_700_000_000_000_000

    def segment(client, flags, data=b""):
        nonlocal now
        (src, sport), (dst, dport) = ends[client], ends[not client]
        ack = seq[not client] if flags & 16 else 0
        tcp = struct.pack("!HHIIBBHHH", sport, dport, seq[client], ack, 0x50, flags, 65535, 0, 0)
        pseudo = src + dst + struct.pack("!BBH", 0, 6, len(tcp) + len(data))
        tcp = tcp[:16] + struct.pack("!H", checksum(pseudo + tcp + data)) + tcp[18:] + data
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 0, 0x4000, 64, 6, 0, src, dst)
        ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
        frame = bytes(12) + b"\x08\0" + ip + tcp
        out.append(struct.pack("<IIII", now // 1_000_000, now % 1_000_000, len(frame), len(frame)) + frame)
        seq[client] += len(data) + (flags & 3 != 0)
        now += 1000

    segment(True, 2), segment(False, 18), segment(True, 16)
    for client, data in conversation:
        segment(client, 24, data)
    segment(True, 17), segment(False, 17), segment(True, 16)
    with open(os.path.join(HERE, name), "wb") as f:
        f.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + b"".join(out))


def main():
    talk = [(True, packet(1, 0, 2004, b"\0\0\0\0admin.$cmd\0" + struct.pack("<ii", 0, -1) + bson.encode(
        {"isMaster": 1.0, "compression": ["snappy", "zlib", "zstd"]}))),
        (False, packet(2, 1, 1, struct.pack("<iqii", 8, 0, 0, 1) + bson.encode({"ismaster": True, "compression": ["snappy", "zlib", "zstd"], "ok": 1.0})))]
    for how, name in enumerate(("noop", "snappy", "zlib", "zstd")):
        number = 10 * (how + 1)
        documents = [{"_id": i, "text": "the same words " * 20} for i in range(5)]
        talk += [
            (True, packed(how, msg(number, 0, {"insert": name, "ordered": True, "$db": "packed"}, documents=documents))),
            (False, packed(how, msg(number + 1, number, {"n": 5, "ok": 1.0}))),
            (True, packed(how, msg(number + 2, 0, {"find": name, "filter": {"_id": {"$lt": 3}}, "$db": "packed"}, flags=CHECKSUM))),
            (False, packed(how, msg(number + 3, number + 2, {"cursor": {"firstBatch": documents[:3], "id": 0, "ns": "packed." + name}, "ok": 1.0}, flags=CHECKSUM))),
        ]
    # An unknown compressor, and zlib that is broken: neither may cost what comes after it.
    broken = packed(2, msg(60, 0, {"ping": 1, "$db": "packed"}))
    talk += [(True, packet(50, 0, 2012, struct.pack("<iiB", 2013, 40, 9) + b"?" * 30)), (True, broken[:25] + b"\xff" * (len(broken) - 25)),
             (True, msg(70, 0, {"ping": 1, "$db": "packed"})), (False, packed(3, msg(71, 70, {"ok": 0.0, "errmsg": "not now", "code": 11600})))]
    write("packed.pcap", talk)

    hello = {"hello": 1, "topologyVersion": {"processId": bson.ObjectId("0123456789abcdef01234567"), "counter": bson.Int64(0)}, "maxAwaitTimeMS": 10000, "$db": "admin"}
    batch = lambda first, number, field="nextBatch": {"cursor": {field: [{"i": i} for i in range(first, first + 3)], "id": bson.Int64(number), "ns": "d.c"}, "ok": 1.0}
    write("exhaust.pcap", [
        # The server goes on answering a hello; each answer names the one before.
        (True, msg(1, 0, hello, flags=EXHAUST_ALLOWED)),
        (False, msg(101, 1, {"isWritablePrimary": True, "ok": 1.0}, flags=MORE)),
        (False, msg(102, 101, {"isWritablePrimary": True, "ok": 1.0}, flags=MORE)),
        (False, msg(103, 102, {"isWritablePrimary": False, "ok": 1.0})),
        # A cursor that is emptied at once.
        (True, msg(2, 0, {"find": "c", "batchSize": 3, "$db": "d"})),
        (False, msg(104, 2, batch(0, 7, "firstBatch"))),
        (True, msg(3, 0, {"getMore": bson.Int64(7), "collection": "c", "batchSize": 3, "$db": "d"}, flags=EXHAUST_ALLOWED)),
        (False, msg(105, 3, batch(3, 7), flags=MORE) + msg(106, 105, batch(6, 7), flags=MORE)),
        (False, msg(107, 106, batch(9, 0))),
        # Nobody is going to answer this, nor the operations of old that write.
        (True, msg(4, 0, {"insert": "c", "ordered": False, "$db": "d"}, flags=MORE, documents=[{"i": 100}, {"i": 101}])),
        (True, packet(5, 0, 2002, b"\0\0\0\0d.c\0" + bson.encode({"i": 102}))),
        (True, packet(6, 0, 2001, b"\0\0\0\0d.c\0\0\0\0\0" + bson.encode({"i": 102}) + bson.encode({"$set": {"i": 103}}))),
        (True, packet(7, 0, 2006, b"\0\0\0\0d.c\0\0\0\0\0" + bson.encode({"i": 103}))),
        (True, packet(8, 0, 2007, struct.pack("<iiq", 0, 1, 7))),
        # The query operation of old with its exhaust flag.
        (True, packet(9, 0, 2004, struct.pack("<I", 64) + b"d.c\0" + struct.pack("<ii", 0, 2) + bson.encode({}) + bson.encode({"_id": 0}))),
        (False, packet(108, 9, 1, struct.pack("<iqii", 8, 9, 0, 2) + bson.encode({"i": 0}) + bson.encode({"i": 1}))),
        (False, packet(109, 108, 1, struct.pack("<iqii", 8, 0, 2, 1) + bson.encode({"i": 2}))),
        (True, packet(10, 0, 2005, b"\0\0\0\0d.c\0" + struct.pack("<iq", 2, 77))),
        (False, packet(110, 10, 1, struct.pack("<iqii", 1, 0, 0, 1) + bson.encode({"$err": "cursor id 77 not found"}))),
        (True, msg(11, 0, {"ping": 1, "$db": "admin"})),
        (False, msg(111, 11, {"ok": 1.0})),
    ])


if __name__ == "__main__":
    sys.exit(main())
