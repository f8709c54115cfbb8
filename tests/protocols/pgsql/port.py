#!/usr/bin/env python3
"""port.py IN OUT FROM TO: a capture of loopback (Ethernet, IPv4, TCP) with one port changed to another. Checksums stay as they were; nobody looks."""
import struct
import sys

source, target, old, new = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
data = bytearray(open(source, "rb").read())
at = 24
while at < len(data):
    length = struct.unpack_from("<I", data, at + 8)[0]
    ports = at + 16 + 14 + (data[at + 16 + 14] & 15) * 4
    for p in (ports, ports + 2):
        if struct.unpack_from("!H", data, p)[0] == old:
            struct.pack_into("!H", data, p, new)
    at += 16 + length
open(target, "wb").write(data)
