#!/usr/bin/env python3
"""Makes the seeds of all targets but parse, open, kube and config, which have theirs elsewhere (README.md): tests/fuzz/seeds/make.py."""

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

# Fragments: IP headers alone.


def fragment_v4(offset, total, words=5):
    header = bytearray(v4_header(17, words, offset))
    header[2:4] = struct.pack("!H", total)
    return bytes(header)


def fragment_v6(offset, length, before=b""):
    kind = 0x3C if before else 0x2C
    header = struct.pack("!IHBB", 6 << 28, len(before) + 8 + length, kind, 64) + v6(1) + v6(2)
    return header + before + struct.pack("!BBHI", 17, 0, offset, 0xDEADBEEF)


write("fragment", "first", fragment_v4(0x2000, 20 + 80))
write("fragment", "later", fragment_v4(0x2000 | 10, 24 + 80, 6))
write("fragment", "last", fragment_v4(185, 20 + 7))
write("fragment", "ping-of-death", fragment_v4(0x1FFF, 20 + 1480))
write("fragment", "no-whole-units", fragment_v4(0x2000, 20 + 81))
write("fragment", "v6-first", fragment_v6(1, 80))
write("fragment", "v6-last", fragment_v6(80, 7, b"\x2c\1" + bytes(14)))
write("fragment", "v6-too-long", fragment_v6(0xFFF8, 16))


# SCTP: a packet is words of four bytes, behind its direction and length.
def chunk(kind, body=b"", flags=0):
    return struct.pack("!BBH", kind, flags, 4 + len(body)) + body + bytes(-len(body) % 4)


def sctp(reply, tag, *chunks):
    packet = struct.pack("!HHII", 1, 2, tag, 0) + b"".join(chunks)
    return bytes([0x80 * reply | len(packet) // 4, 0]) + packet


def init(kind, tag):
    return chunk(kind, struct.pack("!IIHHI", tag, 65535, 1, 1, 7))


HANDSHAKE = sctp(0, 0, init(1, 5)) + sctp(1, 5, init(2, 9)) + sctp(0, 9, chunk(10, bytes(8))) + sctp(1, 5, chunk(11))
DATA = chunk(0, bytes(16))
write("sctp", "association", b"\0" + HANDSHAKE + sctp(0, 9, DATA) + sctp(1, 5, chunk(3, bytes(12)), DATA))
write("sctp", "shutdown", b"\0" + HANDSHAKE + sctp(0, 9, chunk(7, bytes(4))) + sctp(1, 5, chunk(8)) + sctp(0, 9, chunk(14)) + HANDSHAKE)
write("sctp", "abort", b"\0" + HANDSHAKE + sctp(1, 9, chunk(6, flags=1)))
write("sctp", "begins-anew", b"\0" + HANDSHAKE + HANDSHAKE.replace(struct.pack("!I", 5), struct.pack("!I", 6)))
write("sctp", "in-the-middle", b"\1" + sctp(0, 9, DATA) + sctp(1, 5, DATA) + sctp(0, 9, chunk(4, bytes(8))))
write("sctp", "heartbeat", b"\0" + sctp(0, 9, chunk(4, bytes(8))) + sctp(1, 5, chunk(5, bytes(8))))
write("sctp", "wrong-tag", b"\0" + HANDSHAKE + sctp(0, 8, DATA) + sctp(1, 5, chunk(6)))
write("sctp", "no-length", b"\0" + sctp(0, 9, struct.pack("!BBH", 3, 0, 0)))


# Frames, from here on.
def mac(text):
    return bytes.fromhex(text.replace(":", ""))


def ip4(text):
    return bytes(int(part) for part in text.split("."))


def ip6(text):
    import ipaddress

    return ipaddress.ip_address(text).packed


def packet(source, destination, protocol, body, ttl=64, word=0, ident=1):
    """A whole IP packet with the checksums of its transport right."""
    six = ":" in source
    source, destination = ((ip6 if six else ip4)(it) for it in (source, destination))
    place = {6: 16, 17: 6, 58: 2, 1: 2}.get(protocol)
    if place is not None and word & 0x1FFF == 0 and len(body) >= place + 2:
        pseudo = b"" if protocol == 1 else source + destination + struct.pack("!HH", len(body), protocol)
        body = body[:place] + b"\0\0" + body[place + 2 :]
        body = body[:place] + struct.pack("!H", checksum(pseudo + body)) + body[place + 2 :]
    if six:
        return struct.pack("!IHBB", 6 << 28, len(body), protocol, ttl) + source + destination + body
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), ident, word, ttl, protocol, 0) + source + destination
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + body


def ethernet(source, destination, body, tag=None):
    kind = {4: b"\x08\0", 6: b"\x86\xdd"}[body[0] >> 4]
    tags = b"" if tag is None else b"\x81\0" + struct.pack("!H", tag)
    return mac(destination) + mac(source) + tags + kind + body


def tcp(source, destination, flags, sequence=1, ack=0, data=b""):
    return struct.pack("!HHIIBBHHH", source, destination, sequence, ack, 0x50, flags, 1000, 0, 0) + data


def udp(source, destination, data=bytes(8)):
    return struct.pack("!HHHH", source, destination, 8 + len(data), 0) + data


def echo(kind, ident=7):
    return struct.pack("!BBHHH", kind, 0, 0, ident, 1) + bytes(16)


SYN, SYN_ACK, ACK, FIN_ACK = 2, 0x12, 0x10, 0x11
PEER, ROUTER = "02:00:00:00:00:09", "02:00:00:00:00:fe"

for name, body in (
    ("echo", packet("10.0.0.9", "10.0.0.1", 1, echo(8))),
    ("echo-v6", packet("fd00::9", "fd00::1", 58, echo(128))),
    ("echo-reply", packet("10.0.0.9", "10.0.0.1", 1, echo(0))),
    ("syn", packet("10.0.0.9", "10.0.0.1", 6, tcp(40000, 80, SYN))),
    ("data-v6", packet("fd00::9", "fd00::1", 6, tcp(40000, 80, ACK, 5, 7, bytes(9)))),
    ("reset", packet("10.0.0.9", "10.0.0.1", 6, tcp(40000, 80, 4))),
    ("long", packet("10.0.0.9", "10.0.0.1", 17, udp(1, 2, bytes(600)))),
    ("quotes-an-echo", packet("10.0.0.9", "10.0.0.1", 1, b"\3\1" + bytes(6) + packet("10.0.0.1", "10.9.0.1", 1, echo(8)))),
):
    at = 40 if body[0] >> 4 == 6 else 20
    write("answer", name, bytes([len(body) % 7, 14, at, 0]) + ethernet(PEER, ROUTER, body))
write("answer", "two-tags", bytes([6, 22, 20, 4]) + PEER.encode()[:12] + b"\x88\xa8\0\1\x81\0\0\2\x08\0" + packet("10.0.0.9", "10.0.0.1", 1, echo(8)))


# Text, in the form in which a person types it.
for name, text in (
    ("udp", "ip4.src==10.0.0.1 && ip4.dst==10.0.0.2 && udp.dst==53"),
    ("syn", "ip6.src==fd00::1 && tcp.flags==syn|ack && tcp.src==80 && len==1500"),
    ("arp", "arp.op==request && arp.spa==10.0.0.1 && arp.tpa==10.0.0.2 && vlan.id==100 && vlan.pcp==3"),
    ("nd", "nd.target==fd00::1 && eth.src==02:00:00:00:00:01"),
    ("fragment", "ip.frag==first && ip.proto==17 && ip.ttl==1 && ip.tos==0x10"),
    ("other", "eth.type==0x88cc && vlan.tci==0x2064 && vlan.inner.tci==5"),
    ("contradiction", "arp && tcp"),
):
    write("trace", name, text.encode())

UDP_FRAME = ethernet(PEER, ROUTER, packet("10.0.0.1", "10.0.1.2", 17, udp(5000, 53)), 100)
for name, text in (
    ("udp", "udp dst port 53 and host 10.0.0.1"),
    ("not", "not (src net 10.0.0.0/8 or vlan 100) and greater 60"),
    ("ether", "ether src host 02:00:00:00:00:09 or ether proto 0x0806 or broadcast"),
    ("drop", "drop runt or inbound && !outbound"),
    ("range", "tcp src portrange 1000-2000 || icmp6 and less 128"),
    ("unknown", "port http"),
):
    write("filter", name, text.encode() + b"\0" + UDP_FRAME)

SERVICE = """{"kind":"Service","namespace":"shop","name":"web","text":"apiVersion: v1\\nkind: Service\\nmetadata: {name: web, namespace: shop}\\nspec: {clusterIP: 10.96.0.9, ports: [{port: 80}]}\\n"}"""
GONE = """{"kind":"Service","namespace":"shop","name":"web"}"""
PORT = """{"kind":"port","namespace":"","name":"more","text":"name = \\"more\\"\\nkind = \\"tap\\"\\n"}"""
for name, text in (
    ("service", SERVICE),
    ("gone", SERVICE + "\n\n" + GONE),
    ("port", PORT + "\n" + SERVICE),
    ("not-understood", '{"kind":"Later"}\n\n' + SERVICE),
):
    write("kept", name, b"\0" + text.encode())
write("kept", "empty", b"\1shunt state, version 1\n")
write("kept", "torn", b"\1shunt state, version 1\n0000000107 5f0c")
write("kept", "bad", b"\1shunt state, version 1\n" + b"0" * 44 + b"\n{}\n")

# Frames through the node of switch/src/worker/forward/hostile.toml: port, seconds, length, where the transport header begins.
UPLINK, WEB, DB, CHILD, VXLAN, GENEVE, GRE, SPAN, BEYOND, LOCAL, ROUTED, VXLAN6, GENEVE6, GRE_IP = range(14)


def frame(port, body, seconds=0, flags=0, start=0, size=0):
    return struct.pack("<BBHBB", port & 7 | flags, seconds, len(body) | port >> 3 << 11, start, size) + body


def pod(port, body, number={WEB: 1, DB: 2}):
    return ethernet(f"02:00:00:00:10:0{number[port]}", ROUTER, body)


def arp_body(operation, sender, address, target):
    return struct.pack("!HHBBH", 1, 0x800, 6, 4, operation) + mac(sender) + ip4(address) + bytes(6) + ip4(target)


def arp(sender, address, target, operation=1):
    return b"\xff" * 6 + mac(sender) + b"\x08\6" + arp_body(operation, sender, address, target) + bytes(18)


OUTSIDE = "02:00:00:00:00:33"
# The peer, and the router by which the outside is reached, are known from here on.
KNOWN = frame(UPLINK, arp(OUTSIDE, "192.168.50.3", "192.168.50.2")) + frame(UPLINK, arp(OUTSIDE, "192.168.50.1", "192.168.50.2"))
OPEN = [tcp(40000, 80, SYN), tcp(40000, 80, ACK, 2, 2), tcp(40000, 80, 0x18, 2, 2, bytes(30))]


def from_outside(body, tag=None, destination="02:00:00:00:50:fe"):
    return ethernet(OUTSIDE, destination, body, tag)


write("forward", "arp", KNOWN + frame(WEB, arp("02:00:00:00:10:01", "10.16.0.2", "10.16.0.1")) + frame(WEB, arp("02:00:00:00:10:01", "10.16.0.2", "10.16.0.3")))
write("forward", "nd", frame(GENEVE, neighbor(135, b"\1\1" + FAR)) + frame(WEB, neighbor(136, b"\2\1" + FAR)))
write("forward", "service", KNOWN + b"".join(frame(WEB, pod(WEB, packet("10.16.0.2", "10.96.0.10", 6, it))) for it in OPEN))
write("forward", "service-v6", b"".join(frame(DB, pod(DB, packet("fd00:16::3", "fd00:96::10", 6, it))) for it in OPEN))
write("forward", "out", KNOWN + b"".join(frame(DB, pod(DB, packet("10.16.0.3", "8.8.8.8", 6, it))) for it in OPEN))
write("forward", "masqueraded", KNOWN + b"".join(frame(WEB, pod(WEB, packet("10.16.0.2", "8.8.8.8", 17, udp(5000, 53))), seconds) for seconds in (0, 1, 40)))
write("forward", "policy", frame(WEB, pod(WEB, packet("10.16.0.2", "10.16.0.3", 6, tcp(5000, 8080, SYN)))) + frame(WEB, pod(WEB, packet("10.16.0.2", "10.16.0.3", 6, tcp(5000, 22, SYN)))))
write("forward", "spoofed", frame(WEB, pod(WEB, packet("10.16.0.9", "10.16.0.3", 17, udp(1, 2)))))
write("forward", "echo", frame(WEB, pod(WEB, packet("10.16.0.2", "10.16.0.1", 1, echo(8)))) + frame(DB, pod(DB, packet("fd00:16::3", "fd00:16::1", 58, echo(128)))))
write("forward", "expired", KNOWN + frame(WEB, pod(WEB, packet("10.16.0.2", "8.8.8.8", 17, udp(1, 33434), ttl=1))))
BIG = udp(5000, 53, bytes(1600))
write("forward", "too-big", KNOWN + frame(WEB, pod(WEB, packet("10.16.0.2", "10.20.6.7", 17, BIG))) + frame(WEB, pod(WEB, packet("10.16.0.2", "8.8.8.8", 17, BIG, word=0x4000))))
FIRST, REST = BIG[:800], BIG[800:]
write("forward", "fragments", KNOWN + frame(WEB, pod(WEB, packet("10.16.0.2", "8.8.8.8", 17, REST, word=100))) + frame(WEB, pod(WEB, packet("10.16.0.2", "8.8.8.8", 17, FIRST, word=0x2000))))
SIX = packet("fd00:16::2", "fd00:40:2::9", 44, struct.pack("!BBHI", 17, 0, 1, 9) + FIRST)
write("forward", "fragments-v6", KNOWN + frame(WEB, pod(WEB, SIX)) + frame(WEB, pod(WEB, packet("fd00:16::2", "fd00:40:2::9", 44, struct.pack("!BBHI", 17, 0, 800, 9) + REST))))
ERROR = b"\3\4\0\0\0\0\4\0" + packet("10.16.0.2", "8.8.8.8", 17, udp(5000, 53))
write("forward", "icmp-error", KNOWN + frame(WEB, pod(WEB, packet("10.16.0.2", "8.8.8.8", 17, udp(5000, 53)))) + frame(WEB, pod(WEB, packet("10.16.0.2", "8.8.8.8", 1, ERROR))))
write("forward", "sctp", b"".join(frame(DB, pod(DB, packet("10.16.0.3", "10.96.0.10", 132, struct.pack("!HHII", 9, 38412, tag, 0) + it))) for tag, it in ((0, init(1, 5)), (9, chunk(10, bytes(8))), (9, DATA))))
INNER = packet("10.20.6.7", "10.20.9.60", 17, udp(1, 2))
INNER_FRAME = ethernet("02:00:00:00:20:06", "3e:7c:ce:00:09:3c", INNER)
VXLAN_PACKET = packet("192.168.50.3", "192.168.50.2", 17, udp(50000, 4789, b"\x08\0\0\0\0\0\2\0" + INNER_FRAME))
write("forward", "vxlan", KNOWN + frame(UPLINK, from_outside(VXLAN_PACKET)) + frame(VXLAN, ethernet("3e:7c:ce:00:09:3c", "02:00:00:00:20:fe", packet("10.20.9.60", "10.20.6.7", 6, OPEN[0]))))
GENEVE_FRAME = ethernet("02:00:00:11:00:05", "02:00:00:11:00:04", packet("10.17.0.5", "10.17.0.4", 6, OPEN[0]))
write("forward", "geneve", KNOWN + frame(UPLINK, from_outside(packet("192.168.50.3", "192.168.50.2", 17, udp(50000, 6081, b"\0\0\x65\x58\0\0\5\0" + GENEVE_FRAME)))) + frame(GENEVE, ethernet("02:00:00:11:00:04", "02:00:00:11:00:05", packet("10.17.0.4", "10.17.0.5", 6, SYN.to_bytes(1, "big") * 20))))
write("forward", "gre", KNOWN + frame(UPLINK, from_outside(packet("192.168.50.3", "192.168.50.2", 47, b"\x20\0\x65\x58\0\0\0\1" + GENEVE_FRAME))) + frame(GRE, GENEVE_FRAME))
write("forward", "ipip", KNOWN + frame(UPLINK, from_outside(packet("192.168.50.3", "192.168.50.2", 4, packet("10.40.2.5", "10.16.0.2", 17, udp(1, 2))))) + frame(WEB, pod(WEB, packet("10.16.0.2", "10.40.2.5", 17, udp(1, 2)))))
write("forward", "demux", frame(UPLINK, from_outside(packet("10.186.152.9", "10.186.152.16", 17, udp(1, 2)), 1155, "8e:78:9c:32:b5:72")) + frame(CHILD, ethernet("8e:78:9c:32:b5:72", OUTSIDE, packet("10.186.152.16", "10.186.152.9", 17, udp(1, 2)))))
LARGE = packet("10.16.0.2", "10.16.0.3", 6, tcp(5000, 8080, ACK, 2, 2, bytes(1500)))
write("forward", "to-be-cut", KNOWN + frame(WEB, pod(WEB, LARGE), 0, 0x50, 34, 30) + frame(DB, pod(DB, LARGE), 0, 0x58, 34, 30))
write("forward", "to-be-cut-and-wrapped", KNOWN + frame(WEB, pod(WEB, packet("10.16.0.2", "10.20.6.7", 17, BIG)), 0, 0x70, 34, 30))
write("forward", "node-port", KNOWN + frame(UPLINK, from_outside(packet("192.168.50.9", "192.168.50.2", 6, tcp(5000, 30080, SYN)))) + frame(UPLINK, from_outside(packet("192.168.50.9", "192.168.50.7", 6, tcp(5000, 8080, SYN)))))


# Ways that the above do not go.
def each(port, *bodies):
    return b"".join(frame(port, it) for it in bodies)


def from_peer(protocol, body, six=False):
    ends = ("fd00:50::3", "fd00:50::2") if six else ("192.168.50.3", "192.168.50.2")
    return from_outside(packet(*ends, protocol, body))


def inside(source, destination, tos=0):
    body = bytearray(packet(source, destination, 17, udp(1, 2)))
    if ":" in source:
        body[0:2] = struct.pack("!H", 6 << 12 | tos << 4)
    else:
        body[1] = tos
        body[10:12] = b"\0\0"
        body[10:12] = struct.pack("!H", checksum(bytes(body[:20])))
    return bytes(body)


def solicitation(sender, source, target):
    body = struct.pack("!BBHI", 135, 0, 0, 0) + ip6(target) + b"\1\1" + mac(sender)
    group = "ff02::1:ff" + f"{ip6(target)[13]:02x}:{ip6(target)[14]:02x}{ip6(target)[15]:02x}"
    return ethernet(sender, f"33:33:ff:{ip6(target)[13]:02x}:{ip6(target)[14]:02x}:{ip6(target)[15]:02x}", packet(source, group, 58, body, ttl=255))


def advertisement(sender, source, target, owner):
    body = struct.pack("!BBHI", 136, 0, 0, 0x60000000) + ip6(target) + b"\2\1" + mac(owner)
    return ethernet(sender, "33:33:00:00:00:01", packet(source, "ff02::1", 58, body, ttl=255))


# A SYN that says an MSS of 1460.
SYN_MSS = struct.pack("!HHIIBBHHH", 5000, 80, 1, 0, 0x60, SYN, 1000, 0, 0) + b"\2\4\5\xb4"
POD_R, GW_R = "02:00:00:00:99:10", "02:00:00:00:99:fe"
write("forward", "routed", each(ROUTED,
    arp(POD_R, "10.186.153.16", "169.254.1.3"), arp(POD_R, "10.186.153.16", "8.8.8.8"), arp(POD_R, "10.186.153.16", "10.186.153.16"),
    solicitation(POD_R, "fd00:153::10", "fd00:153::99"), arp(POD_R, "10.186.153.17", "8.8.8.8"),
    advertisement(POD_R, "fd00:153::10", "fd00:153::11", POD_R), arp(POD_R, "10.186.153.16", "169.254.1.3", 2),
    ethernet(POD_R, GW_R, packet("10.186.153.16", "10.16.0.2", 6, SYN_MSS)),
    ethernet(POD_R, GW_R, packet("fd00:153::10", "fd00:60:6::9", 6, SYN_MSS)),
    ethernet(POD_R, GW_R, packet("10.186.153.16", "8.8.8.8", 6, SYN_MSS)),
    ethernet(POD_R, GW_R, packet("10.186.153.17", "8.8.8.8", 6, SYN_MSS)),
) + frame(DB, pod(DB, packet("10.16.0.3", "10.186.153.16", 6, SYN_MSS))))
PARENT = "8e:78:9c:32:b5:73"
write("forward", "local-route", each(LOCAL,
    ethernet(PARENT, OUTSIDE, packet("10.186.155.6", "10.20.6.7", 17, udp(1, 2))),
    ethernet(PARENT, OUTSIDE, packet("fd00:155::6", "fd00:60:6::9", 17, udp(1, 2))),
    ethernet(PARENT, OUTSIDE, packet("10.186.155.6", "10.16.0.2", 17, udp(1, 2))),
    ethernet(PARENT, OUTSIDE, packet("10.186.155.6", "10.20.9.60", 17, udp(1, 2))),
    ethernet(PARENT, OUTSIDE, packet("10.186.155.6", "9.9.9.9", 17, udp(1, 2))),
    ethernet(PARENT, PARENT, packet("10.186.155.6", "10.186.155.9", 17, udp(1, 2))),
) + frame(UPLINK, from_outside(packet("10.186.155.9", "10.186.155.6", 17, udp(1, 2)), 1156, PARENT)))
VX6, GN6, GR6 = "02:00:00:00:60:01", "02:00:00:61:00:04", "02:00:00:00:62:01"
TO_VX6 = b"\x08\0\0\0\0\0\6\0"
vxlan6 = lambda body: from_peer(17, udp(50000, 4789, TO_VX6 + ethernet("02:00:00:00:60:06", VX6, body)), True)
write("forward", "vxlan-v6", each(UPLINK, vxlan6(inside("10.60.6.7", "10.60.9.16")), vxlan6(inside("fd00:60:6::7", "fd00:60:9::16")), vxlan6(inside("10.60.9.16", "10.60.9.16")), vxlan6(inside("fd00:63::7", "fd00:60:9::16")))
    + each(VXLAN6, ethernet(VX6, "02:00:00:00:60:fe", inside("10.60.9.16", "10.60.6.7", 0xB8)), arp(VX6, "10.60.9.16", "169.254.1.6"))
    + each(WEB, pod(WEB, inside("10.16.0.2", "10.60.6.7", 0xB8)), pod(WEB, inside("fd00:16::2", "fd00:60:6::9", 0xB8)), pod(WEB, inside("fd00:16::2", "fd00:60:5::9")), pod(WEB, inside("10.16.0.2", "10.60.77.7"))))
GENEVE6_OPEN = lambda options, body: from_peer(17, udp(50000, 6081, bytes([len(options) // 4, 0x40 if options else 0]) + b"\x65\x58\0\0\7\0" + options + body), True)
GN6_FRAME = ethernet("02:00:00:61:00:05", GN6, inside("fd00:61::5", "fd00:61::4"))
write("forward", "geneve-v6", each(UPLINK, GENEVE6_OPEN(OVN, GN6_FRAME), GENEVE6_OPEN(b"", GN6_FRAME), GENEVE6_OPEN(b"\xff\xff\x81\0", GN6_FRAME))
    + each(GENEVE6, ethernet(GN6, "02:00:00:61:00:05", inside("10.61.0.4", "10.61.0.5", 0x28)), ethernet(GN6, "02:00:00:61:00:05", inside("fd00:61::4", "fd00:61::5", 0x28)), ethernet(GN6, "02:00:00:61:00:77", inside("10.61.0.4", "10.61.0.77")), solicitation(GN6, "fd00:61::4", "fd00:61::5"), advertisement(GN6, "fd00:61::4", "fd00:61::5", GN6),
        ethernet(GN6, "0a:58:0a:3d:00:01", packet("10.61.0.4", "10.16.0.2", 6, SYN_MSS)))
    + frame(DB, pod(DB, packet("fd00:16::3", "fd00:61::5", 6, SYN_MSS))))
GRE_KEY = b"\x20\0%s\0\0\0\x09"
write("forward", "gre-ip", each(UPLINK, from_peer(47, GRE_KEY % b"\x08\0" + inside("10.62.6.7", "10.62.9.16")), from_peer(47, GRE_KEY % b"\x86\xdd" + inside("fd00:62:7::7", "fd00:62:9::16"), True), from_peer(47, GRE_KEY % b"\x08\0" + inside("10.62.7.7", "10.62.9.16")), from_peer(47, GRE_KEY % b"\x65\x58" + GENEVE_FRAME))
    + each(GRE_IP, ethernet(GR6, "02:00:00:00:62:fe", inside("10.62.9.16", "10.62.6.7", 0x48)))
    + each(WEB, pod(WEB, inside("10.16.0.2", "10.62.6.7", 0x48)), pod(WEB, inside("10.16.0.2", "10.62.7.7", 0x48)), pod(WEB, inside("fd00:16::2", "fd00:62:7::7", 0x48))))
write("forward", "ipip-v6", each(UPLINK, from_peer(4, inside("10.40.6.5", "10.16.0.2"), True), from_peer(41, inside("fd00:40:6::5", "fd00:16::2"), True), from_peer(41, inside("fd00:60:6::5", "fd00:16::2"), True))
    + each(WEB, pod(WEB, inside("10.16.0.2", "10.40.6.5")), pod(WEB, inside("fd00:16::2", "fd00:40:6::5")), pod(WEB, inside("fd00:16::2", "fd00:40:3::5"))))
write("forward", "refused", each(UPLINK, from_peer(17, udp(50000, 4789, b"\x08\0\0\0\0\0\x77\0" + INNER_FRAME)), from_peer(17, udp(50000, 4789, b"\0\0\0\0\0\0\2\0" + INNER_FRAME)),
    from_outside(packet("192.168.50.77", "192.168.50.2", 17, udp(50000, 4789, b"\x08\0\0\0\0\0\2\0" + INNER_FRAME))),
    from_outside(packet("192.168.50.3", "192.168.50.2", 17, udp(50000, 4789, b"\x08\0\0\0\0\0\2\0" + INNER_FRAME), word=0x2000)),
    ethernet(OUTSIDE, "02:00:00:00:50:fe", packet("192.168.50.3", "192.168.50.2", 17, udp(1, 2)), 99),
    from_outside(packet("192.168.50.3", "192.168.50.7", 1, echo(8))), from_outside(packet("192.168.50.3", "192.168.50.2", 6, tcp(5000, 8080, SYN))), from_outside(packet("192.168.50.3", "127.0.0.1", 17, udp(1, 2)))))
# Through a tunnel to a peer whose address nobody has.
write("forward", "nobody-there", each(WEB, pod(WEB, inside("10.16.0.2", "10.20.5.7")), pod(WEB, inside("10.16.0.2", "192.168.50.99")), pod(WEB, inside("fd00:16::2", "fd00:50::99"))))


# Rings of a guest: steps.
def step(kind, slot=0, a=0, b=0, flags=0, following=0, receives=False):
    return struct.pack("<BBHHBB", kind | 0x80 * receives, slot, a, b, flags, following)


LONE, TAIL, WRAPPED, RINGS, HEAD, OFFER, JUMP, WRITE, TABLE, SILENT, USED, AVAILABLE, RECEIVE, GIVE = (*range(13), 14)
SENT = b"".join(step(OFFER, slot) for slot in range(8))
write("vhost", "received", SENT + step(RECEIVE, 32))
write("vhost", "given", step(GIVE, 8, b=100))
write("vhost", "chain", step(LONE, 0, 0, 12, 1, 1) + step(LONE, 1, 16, 3000, 0) + step(OFFER) + step(RECEIVE, 32))
write("vhost", "loop", step(LONE, 0, 0, 12, 1, 0) + step(OFFER) + step(RECEIVE, 32) + SENT + step(RECEIVE, 32))
write("vhost", "indirect", step(TABLE, 4, 0, 112) + step(LONE, 0, 0, 16, 4) + step(OFFER) + step(RECEIVE, 32))
write("vhost", "over-the-end", step(TAIL, 0, 10, 100) + step(OFFER) + step(WRAPPED, 1, 10) + step(OFFER, 1) + step(RECEIVE, 32))
write("vhost", "rings", step(RINGS, 0, 0x4000, 1500) + step(OFFER) + step(RECEIVE, 32) + step(RINGS, 0, 0x8000, 2048, 2, 0, True) + step(OFFER, receives=True) + step(GIVE, 32, b=1500))
write("vhost", "jump", step(JUMP, a=40000) + step(RECEIVE, 32) + step(JUMP, a=300, receives=True) + step(GIVE, 32, b=60))
write("vhost", "no-head", step(HEAD, a=50000) + step(RECEIVE, 32) + SENT + step(RECEIVE, 32))
write("vhost", "checksum", step(WRITE, 16, 0x100 * 256 // 16, 1, 34) + step(LONE, 0, 0x1000, 200) + step(OFFER) + step(RECEIVE, 32))
write("vhost", "long-frames", b"".join(step(OFFER, slot, receives=True) for slot in range(8)) + step(GIVE, 4, b=8000) + step(SILENT, a=1, receives=True) + step(GIVE, 4, b=8000))
