#!/usr/bin/env python3
"""Makes the seeds of the targets lacp, nd, geneve and quoted: tests/fuzz/seeds/make.py. Those of parse and open are made elsewhere (README.md)."""

import pathlib
import struct

HERE = pathlib.Path(__file__).parent


def write(target, name, data):
    (HERE / target).mkdir(exist_ok=True)
    (HERE / target / name).write_bytes(data)


def side(kind, system, key, port, state, priority=32768):
    return struct.pack("!BBH6sHHHB3x", kind, 20, priority, system, key, 255, port, state)


OURS, FAR, OTHER = (bytes([2, 0, 0, 0, 0, n]) for n in (1, 9, 8))


def turn(member, time, partner, state, link=False):
    # The partner's port has the number of ours.
    pdu = bytes([1, 1]) + side(1, partner, 7, member + 1, state) + side(2, OURS, 1, member + 1, 0x0F)
    return bytes([member | (0x80 if link else 0), time]) + pdu + bytes(2)


AGREES, HAS_LEFT = 0x3F, 0x07
both = [turn(member, 10, FAR, AGREES) for _ in range(12) for member in (0, 1)]
write("lacp", "two-links", b"\x01" + b"".join(both))
write("lacp", "two-links-wanted", b"\x03" + b"".join(both) + turn(1, 10, FAR, HAS_LEFT) * 4)
write("lacp", "link-down-and-up", b"\x01" + b"".join(both) + turn(0, 1, FAR, AGREES, True) + turn(0, 9, FAR, AGREES, True))
write("lacp", "two-partners", b"\x01" + b"".join(turn(n % 3, 10, OTHER if n % 3 == 2 else FAR, AGREES) for n in range(30)))
write("lacp", "silence", b"\x00" + b"".join(both) + turn(3, 255, FAR, AGREES) * 8)
write("lacp", "ourselves", b"\x01" + b"".join(turn(n % 2, 10, OURS, AGREES) for n in range(8)))
write("lacp", "marker", b"\x01" + bytes([0, 1, 2, 1, 1, 22]) + bytes(40))


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def v6(host):
    return b"\xfd" + bytes(14) + bytes([host])


def neighbor(kind, options, source=v6(1), hops=255):
    body = struct.pack("!BBHI", kind, 0, 0, 0) + v6(2) + options
    pseudo = source + v6(2) + struct.pack("!II", len(body), 58)
    body = body[:2] + struct.pack("!H", checksum(pseudo + body)) + body[4:]
    header = struct.pack("!IHBB", 6 << 28, len(body), 58, hops) + source + v6(2)
    return b"\x33\x33\xff\0\0\2" + FAR + b"\x86\xdd" + header + body


write("nd", "solicitation", neighbor(135, b"\1\1" + FAR))
write("nd", "advertisement", neighbor(136, b"\2\1" + FAR))
write("nd", "detection", neighbor(135, b"", source=bytes(16)))
write("nd", "two-options", neighbor(136, b"\2\1" + FAR + b"\x0e\2" + bytes(14) + b"\2\1" + OTHER))
write("nd", "zero-option", neighbor(136, b"\2\0" + FAR))
write("nd", "long-option", neighbor(136, b"\2\x1f" + FAR))
write("nd", "routed", neighbor(136, b"\2\1" + FAR, hops=64))
for name, operation in (("arp-request", 1), ("arp-reply", 2)):
    body = struct.pack("!HHBBH", 1, 0x800, 6, 4, operation) + FAR + bytes([10, 0, 0, 9]) + bytes(6) + bytes([10, 0, 0, 1])
    write("nd", name, b"\xff" * 6 + FAR + b"\x08\x06" + body + bytes(18))


def geneve(options=b"", flags=0, words=None):
    words = len(options) // 4 if words is None else words
    return b"\0" + bytes([words, flags]) + b"\x65\x58\0\0\5\0" + options + bytes(20)


OVN = b"\1\2\x80\1\0\3\0\5"
write("geneve", "plain", geneve())
write("geneve", "ovn", geneve(OVN, 0x40))
write("geneve", "ovn-twice", geneve(OVN + b"\1\2\x80\1\0\4\0\6", 0x40))
write("geneve", "others", geneve(b"\xff\xff\1\2" + bytes(8) + b"\0\1\2\0"))
write("geneve", "critical", geneve(b"\xff\xff\x81\0", 0x40))
write("geneve", "control", geneve(flags=0x80))
write("geneve", "63-options", geneve(b"\xff\xff\1\0" * 63))
write("geneve", "longer-than-the-header", geneve(b"\xff\xff\1\x1f", words=1))
write("geneve", "cut", geneve(OVN, words=63))


def v4_header(protocol, words=5, offset=0):
    return struct.pack("!BBHHHBBH4B4B", 0x40 | words, 0, 60, 1, offset, 64, protocol, 0, 10, 0, 0, 1, 10, 0, 0, 2) + b"\1" * (words * 4 - 20)


PORTS = struct.pack("!HHHH", 1234, 80, 20, 0)
write("quoted", "udp", v4_header(17) + PORTS)
write("quoted", "tcp-options", v4_header(6, 15) + PORTS)
write("quoted", "echo", v4_header(1) + b"\x08\0\0\0\0\7\0\1")
write("quoted", "error", v4_header(1) + b"\x03\4\0\0\0\0\0\0")
write("quoted", "later-fragment", v4_header(17, offset=8) + PORTS)
write("quoted", "short", v4_header(6) + PORTS[:3])
V6 = struct.pack("!IH", 6 << 28, 60)
write("quoted", "v6-tcp", V6 + b"\6\x40" + v6(1) + v6(2) + PORTS)
write("quoted", "v6-echo", V6 + b"\x3a\x40" + v6(1) + v6(2) + b"\x80\0\0\0\0\7\0\1")
write("quoted", "v6-chain", V6 + b"\0\x40" + v6(1) + v6(2) + b"\x3c\0" + bytes(6) + b"\x2c\0" + bytes(6) + b"\x11\0\0\0" + bytes(4) + PORTS)
write("quoted", "v6-loop", V6 + b"\0\x40" + v6(1) + v6(2) + b"\0\0\0\0\0\0\0\0" * 20)
