#!/usr/bin/env python3
"""udp_order.pcap from udp.pcap: the datagrams of each message of the server come last first. Times stay where they are. memcached
answers a `get` of several keys with a message for each, all of one id: they stay in their order."""
import struct

data = open("udp.pcap", "rb").read()
out, at, run = [data[:24]], 24, []


def server(frame):
    """Whether it is a datagram of the server (Ethernet, IPv4 without options)."""
    return frame[12:14] == b"\x08\x00" and frame[23] == 17 and struct.unpack(">H", frame[34:36])[0] == 21211


def flush():
    for (head, _), (_, frame) in zip(run, reversed(run)):
        out.append(head[:8] + struct.pack("<II", len(frame), len(frame)) + frame)
    run.clear()


while at < len(data):
    head = data[at : at + 16]
    frame = data[at + 16 : at + 16 + struct.unpack("<I", head[8:12])[0]]
    at += 16 + len(frame)
    if not server(frame) or run and (run[0][1][42:44], run[0][1][46:48]) != (frame[42:44], frame[46:48]):
        flush()
    if server(frame):
        run.append((head, frame))
    else:
        out.append(head + frame)
flush()
open("udp_order.pcap", "wb").write(b"".join(out))
