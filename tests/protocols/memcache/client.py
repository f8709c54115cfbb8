#!/usr/bin/env python3
"""Talks to a memcached: client.py text|meta|binary|udp PORT. Waits for the answers it expects, so that nothing is pipelined but what
is meant to be."""
import socket
import struct
import sys


class Tcp:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.left = b""

    def until(self, end):
        while end not in self.left:
            data = self.socket.recv(65536)
            assert data, "closed"
            self.left += data
        at = self.left.index(end) + len(end)
        got, self.left = self.left[:at], self.left[at:]
        return got

    def ask(self, request, *ends):
        self.socket.sendall(request)
        return [self.until(end) for end in ends]

    def read(self, n):
        while len(self.left) < n:
            data = self.socket.recv(65536)
            assert data, "closed"
            self.left += data
        got, self.left = self.left[:n], self.left[n:]
        return got


def text(port):
    c = Tcp(port)
    line = b"\r\n"
    c.ask(b"version\r\n", line)
    c.ask(b"set greeting 7 0 13\r\nHello\r\nWorld!\r\n", line)
    c.ask(b"get greeting\r\n", b"END\r\n")
    c.ask(b"get nothing\r\n", b"END\r\n")
    c.ask(b"lru_crawler metadump all\r\n", b"END\r\n")
    c.ask(b"add greeting 0 0 1\r\nx\r\n", line)
    c.ask(b"append greeting 0 0 1\r\n!\r\n", line)
    gets = c.ask(b"gets greeting nothing greeting\r\n", b"END\r\n")[0]
    cas = gets.split(b"\r\n")[0].split()[4]
    c.ask(b"cas greeting 1 0 2 " + cas + b"\r\nok\r\n", line)
    c.ask(b"cas greeting 1 0 2 " + cas + b"\r\nno\r\n", line)
    c.ask(b"set count 0 0 2 noreply\r\n10\r\nincr count 5\r\ndecr count 100\r\nincr nothing 1\r\n", line, line, line)
    c.ask(b"incr greeting 1\r\n", line)
    c.ask(b"touch greeting 100\r\ntouch nothing 1\r\n", line, line)
    c.ask(b"gat 200 greeting\r\n", b"END\r\n")
    c.ask(b"delete count\r\ndelete count\r\ndelete count noreply\r\n", line, line)
    c.ask(b"bogus\r\n", line)
    c.ask(b"set too 0 0\r\n", line)
    c.ask(b"get " + b"k" * 251 + b"\r\n", line)
    big = b"v" * 20_000
    c.ask(b"set big 0 0 %d\r\n%s\r\nget big\r\n" % (len(big), big), line, b"END\r\n")
    c.ask(b"stats settings\r\n", b"END\r\n")
    c.ask(b"stats cachedump 1 10\r\n", b"END\r\n")
    c.ask(b"stats detail on\r\nstats detail dump\r\nstats reset\r\n", line, b"END\r\n", line)
    c.ask(b"slabs automove 1\r\nslabs reassign 1 99\r\n", line, line)
    c.ask(b"lru_crawler disable\r\nlru_crawler enable\r\nlru_crawler sleep 100\r\nlru_crawler tocrawl 5\r\nlru_crawler crawl all\r\n", *[line] * 5)
    c.ask(b"verbosity 1\r\nflush_all\r\nflush_all 10 noreply\r\nget greeting\r\n", line, line, b"END\r\n")
    c.ask(b"quit\r\n")
    assert c.socket.recv(1) == b""


def meta(port):
    c = Tcp(port)
    line = b"\r\n"
    c.ask(b"mn\r\n", line)
    c.ask(b"ms foo 3 T100 F5 c\r\nbar\r\n", line)
    c.ask(b"mg foo\r\nmg foo k f v t c s O123 q\r\n", line, b"bar\r\n")
    c.ask(b"mg nothing v\r\n", line)
    c.ask(b"mg fresh N30 v t\r\n", line, line)
    c.ask(b"ms foo 1 C1\r\nx\r\n", line)
    c.ask(b"ms foo 1 ME\r\nx\r\n", line)
    c.ask(b"ms foo 1 MA q\r\n!\r\nma n N0 J13 v\r\nma n D2\r\nma n MD D1 v q\r\nma none v\r\n", b"13\r\n", line, line)
    c.ask(b"mg a q k v\r\nmg foo q k v\r\nmg b q k v\r\nmg n q k v\r\nmn\r\n", b"MN\r\n")
    c.ask(b"me foo\r\nme nothing\r\n", line, line)
    c.ask(b"mg Zm9v b k v\r\n", line, line)
    c.ask(b"md foo q\r\nmd foo\r\nmd n k O9\r\n", line, line)
    c.ask(b"ms foo x\r\n", line)
    c.socket.close()


def message(opcode, opaque, key=b"", value=b"", extras=b"", cas=0, vbucket=0):
    body = len(key) + len(value) + len(extras)
    return struct.pack(">BBHBBHIIQ", 0x80, opcode, len(key), len(extras), 0, vbucket, body, opaque, cas) + extras + key + value


def binary(port):
    c = Tcp(port)

    def answer():
        head = c.read(24)
        return head, c.read(struct.unpack(">I", head[8:12])[0])

    def ask(*messages, until):
        c.socket.sendall(b"".join(messages))
        while True:
            head, body = answer()
            if struct.unpack(">I", head[12:16])[0] == until and not (head[1] == 0x10 and body):
                return

    store = struct.pack(">II", 0xBEEF, 0)
    count = struct.pack(">QQI", 5, 100, 0)
    ask(message(0x0B, 1), until=1)
    ask(message(0x01, 2, b"key", b"value", store), until=2)
    ask(message(0x00, 3, b"key"), until=3)
    ask(message(0x0C, 4, b"nothing"), until=4)
    ask(message(0x02, 5, b"key", b"value", store), until=5)
    ask(message(0x0E, 6, b"key", b"!"), message(0x19, 7, b"key", b"?"), until=6)
    ask(message(0x09, 8, b"a"), message(0x0D, 9, b"key"), message(0x0D, 10, b"b"), message(0x0A, 11), until=11)
    ask(message(0x05, 12, b"n", extras=count), message(0x05, 13, b"n", extras=count), message(0x16, 14, b"n", extras=count), until=13)
    ask(message(0x05, 15, b"key", extras=count), until=15)
    ask(message(0x05, 16, b"absent", extras=struct.pack(">QQI", 1, 0, 0xFFFFFFFF)), until=16)
    ask(message(0x1C, 17, b"key", extras=struct.pack(">I", 60)), message(0x1D, 18, b"key", extras=struct.pack(">I", 60)), until=18)
    ask(message(0x11, 19, b"key", b"again", store), message(0x12, 20, b"key", b"no", store), message(0x0A, 21), until=21)
    ask(message(0x01, 22, b"key", b"cas", store, cas=1), until=22)
    ask(message(0x10, 23, b"settings"), until=23)
    ask(message(0x04, 25, b"key"), message(0x14, 26, b"key"), message(0x08, 27), until=27)
    ask(message(0x20, 28), until=28)
    big = b"v" * 20_000
    ask(message(0x01, 29, b"big", big, store), message(0x00, 30, b"big"), until=30)
    ask(message(0x07, 31), until=31)


def udp(port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(5)
    s.connect(("127.0.0.1", port))

    def ask(number, part, answers=True):
        s.send(struct.pack(">HHHH", number, 0, 1, 0) + part)
        left = 1 if answers else 0
        total = None
        while left:
            data = s.recv(65536)
            if total is None:
                left = total = struct.unpack(">H", data[4:6])[0]
            left -= 1

    ask(1, b"set key 3 0 5\r\nvalue\r\n")
    ask(2, b"get key\r\n")
    ask(3, b"set quiet 0 0 1 noreply\r\nx\r\n", answers=False)
    ask(4, b"delete key\r\n")
    ask(5, b"stats settings\r\n")
    t = Tcp(port)
    t.ask(b"set big 0 0 5000\r\n" + b"0123456789" * 500 + b"\r\n", b"\r\n")
    t.socket.close()
    ask(6, b"get big quiet\r\n")
    ask(7, b"mg big v k\r\n")
    s.close()


{"text": text, "meta": meta, "binary": binary, "udp": udp}[sys.argv[1]](int(sys.argv[2]))
