#!/usr/bin/env python3
"""A TLS 1.3 handshake whose hello is an outer one: make_ech.py OUT.pcap

No client with Encrypted Client Hello is to be had here. The extension: RFC 9849 section 5 (type outer, HPKE suite, config id,
encapsulated key, payload); hellos: RFC 8446 section 4.1; the second hello of the capture is GREASE'd as RFC 8701 says.
"""
import struct
import sys

A, B = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])


def lengthened(data, width=2):
    return len(data).to_bytes(width, "big") + data


def extension(number, value):
    return struct.pack(">H", number) + lengthened(value)


def record(kind, data):
    return bytes([kind, 3, 3]) + lengthened(data)


def message(kind, body):
    return bytes([kind]) + lengthened(body, 3)


def client_hello(grease):
    g = bytes([grease, grease])
    ech = b"\0" + struct.pack(">HH", 1, 1) + b"\x2a" + lengthened(bytes(range(32))) + lengthened(bytes(176))
    extensions = b"".join([
        extension(grease << 8 | grease, b""),
        extension(0, lengthened(b"\0" + lengthened(b"public.example.test"))),
        extension(10, lengthened(g + b"\x00\x1d\x11\xec")),
        extension(13, lengthened(bytes.fromhex("040308040401"))),
        extension(16, lengthened(lengthened(b"h2", 1))),
        extension(43, lengthened(g + b"\x03\x04", 1)),
        extension(51, lengthened(b"\x00\x1d" + lengthened(bytes(32)))),
        extension(0xFE0D, ech),
    ])
    suites = g + bytes.fromhex("130113021303")
    body = b"\x03\x03" + bytes(range(32)) + lengthened(bytes(32), 1) + lengthened(suites) + b"\x01\x00" + lengthened(extensions)
    return record(22, message(1, body))


def server_hello():
    extensions = extension(51, b"\x00\x1d" + lengthened(bytes(32))) + extension(43, b"\x03\x04")
    body = b"\x03\x03" + bytes(range(32, 64)) + lengthened(bytes(32), 1) + b"\x13\x01\x00" + lengthened(extensions)
    return record(22, message(2, body)) + record(20, b"\x01") + record(23, bytes(100)) + record(23, bytes(53))


def main():
    time, out = 1_700_000_000_000_000, bytearray(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
    for port, grease in ((40000, 0x0A), (40001, 0xFA)):
        seq = {True: 1000, False: 5000}

        def send(client, flags, data=b""):
            nonlocal time
            source, target = (A, B) if client else (B, A)
            ports = (port, 443) if client else (443, port)
            tcp = struct.pack(">HHIIBBHHH", *ports, seq[client], seq[not client], 0x50, flags, 65535, 0, 0) + data
            ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0, source, target) + tcp
            frame = bytes(12) + b"\x08\x00" + ip
            time += 1000
            out.extend(struct.pack("<IIII", time // 1_000_000, time % 1_000_000, len(frame), len(frame)) + frame)
            seq[client] += len(data) + bool(flags & 3)

        send(True, 2), send(False, 0x12), send(True, 0x10)
        send(True, 0x18, client_hello(grease)), send(False, 0x18, server_hello())
        send(True, 0x18, record(20, b"\x01") + record(23, bytes(53)))
        send(True, 0x11), send(False, 0x11), send(True, 0x10)
    open(sys.argv[1], "wb").write(out)


main()
