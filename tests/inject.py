#!/usr/bin/env python3
"""Sends the frames of captures over a device, with VLAN tags put in: inject.py DEVICE TAGS PCAP...

TAGS: EtherType and VLAN id of each tag in hexadecimal, the outermost first (`88a8:7,8100:5`), or empty. The pauses between packets are
left out, but not all: requests and responses must not overtake each other on their way through several queues.
"""
import socket
import struct
import sys
import time

device, tags = sys.argv[1], sys.argv[2]
header = b"".join(struct.pack(">HH", int(kind, 16), int(vlan, 16)) for kind, vlan in (tag.split(":") for tag in tags.split(",") if tag))
out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
out.bind((device, 0))
for path in sys.argv[3:]:
    data = open(path, "rb").read()
    order = {b"\xd4\xc3\xb2\xa1": "<", b"\xa1\xb2\xc3\xd4": ">"}[data[:4]]
    at = 24
    while at + 16 <= len(data):
        length = struct.unpack(order + "I", data[at + 8:at + 12])[0]
        frame = data[at + 16:at + 16 + length]
        # Addresses that every device takes for a neighbour's.
        out.send(b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01" + header + frame[12:])
        time.sleep(0.0005)
        at += 16 + length
