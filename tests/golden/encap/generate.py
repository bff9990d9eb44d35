#!/usr/bin/env python3
"""Makes the golden packets of this directory with scapy, which knows nothing of shunt.

usage: generate.py     needs scapy (pip install scapy)

Also the seeds of the fuzz target `open`, which are the packets on the wire.
Each file holds two packets: what goes into the tunnel, and what is on the wire. Addresses are those of the references where
these give some. The source port stands for a flow with entropy 0x1234: 0xc000 + 0x1234; over IPv6 so does the flow label.
"""

import os
import struct
import sys

from scapy.all import ARP, GRE, IP, TCP, UDP, Dot1Q, Ether, IPv6, Raw, wrpcap
from scapy.contrib.geneve import GENEVE, GeneveOptions
from scapy.layers.vxlan import VXLAN

ENTROPY = 0x1234
SPORT = 0xC000 + ENTROPY
NEXT_HOP, CTL = "02:00:00:00:ee:01", "02:00:00:00:ee:02"
POD, OTHER = "02:00:00:00:00:01", "02:00:00:00:00:02"
# Reference 002: pod to pod; the node's VTEP and the peer's.
VTEP, PEER_VTEP = "aa:aa:aa:aa:aa:aa", "66:66:66:66:66:66"


def wire(src, dst, tag=None, **kw):
    link = Ether(dst=NEXT_HOP, src=CTL)
    if tag is not None:
        link = link / Dot1Q(vlan=tag, prio=5)
    if ":" in src:
        return link / IPv6(src=src, dst=dst, hlim=64, fl=ENTROPY, **kw)
    return link / IP(src=src, dst=dst, ttl=64, id=0, flags="DF", **kw)


def udp(port):
    return UDP(sport=SPORT, dport=port, chksum=0)


def vxlan(vni):
    # Scapy would also set the port by itself.
    return VXLAN(flags=0x08, vni=vni)


def ip_pair(outer, gre=None):
    """An IP packet in an IP tunnel; the frame that carried it in is the first packet."""
    def make(inner):
        packet = inner[Ether].payload.copy()
        if gre is not None:
            return outer / gre / packet
        return outer / packet
    return make


def v4(src, dst, **kw):
    return IP(src=src, dst=dst, ttl=63, id=0x1111, **kw)


def v6(src, dst):
    return IPv6(src=src, dst=dst, hlim=63)


NODE, PEER = "10.186.152.114", "10.186.152.101"
NODE6, PEER6 = "fd00:10::1", "fd00:10::2"
data = Raw(b"golden packets are read by people too")
ref_002 = Ether(dst=PEER_VTEP, src=VTEP) / v4("10.20.9.60", "10.20.6.10") / TCP(sport=40000, dport=80, flags="S", seq=1)
ref_004 = Ether(dst=OTHER, src=POD) / v4("10.244.1.2", "10.244.2.3") / UDP(sport=5000, dport=53) / data
ref_003 = Ether(dst=OTHER, src=POD) / v4("10.128.0.5", "10.128.2.7", tos=0xB9) / TCP(sport=40001, dport=8080) / data
frame6 = Ether(dst=OTHER, src=POD) / v6("fd00:20::60", "fd00:20:6::10") / UDP(sport=5000, dport=53) / data
arp = Ether(dst="ff:ff:ff:ff:ff:ff", src=POD) / ARP(
    op=1, hwsrc=POD, psrc="10.20.9.60", hwdst="00:00:00:00:00:00", pdst="10.20.9.72")
# Class 0x0102, type 0x80: logical ports 3 and 0x8005.
option = GeneveOptions(classid=0x0102, type=0x80, data=struct.pack("!HH", 3, 0x8005))

golden = {
    "vxlan-002-14": (ref_002, lambda i: wire(NODE, PEER) / udp(4789) / vxlan(2) / i),
    "vxlan-002-29-reply": (
        Ether(dst=VTEP, src=PEER_VTEP) / v4("10.20.6.10", "10.20.9.60") / TCP(sport=80, dport=40000, flags="SA", ack=2),
        lambda i: wire(PEER, NODE) / udp(4789) / vxlan(2) / i),
    "vxlan-004-4": (ref_004, lambda i: wire("192.168.1.1", "192.168.1.2") / udp(4789) / vxlan(1) / i),
    "vxlan-flannel": (ref_004, lambda i: wire("192.168.1.1", "192.168.1.2") / udp(8472) / vxlan(1) / i),
    "vxlan-arp": (arp, lambda i: wire(NODE, PEER) / udp(4789) / vxlan(0xFFFFFF) / i),
    "vxlan-tagged-1155": (ref_002, lambda i: wire(NODE, PEER, tag=1155) / udp(4789) / vxlan(2) / i),
    "vxlan-ipv6": (frame6, lambda i: wire(NODE6, PEER6) / udp(4789) / vxlan(2) / i),
    "vxlan-checksum": (ref_004, lambda i: wire(NODE, PEER) / UDP(sport=SPORT, dport=4789) / vxlan(2) / i),
    "vxlan-ipv6-checksum": (frame6, lambda i: wire(NODE6, PEER6) / UDP(sport=SPORT, dport=4789) / vxlan(2) / i),
    "geneve": (ref_004, lambda i: wire(NODE, PEER) / udp(6081) / GENEVE(proto=0x6558, vni=5) / i),
    # The reference's nodes; the pod's packet is ECT(1) with DSCP 46: the outer one inherits both.
    "geneve-003-3-ovn": (
        ref_003,
        lambda i: wire("10.184.134.82", "10.184.134.83", tos=0xB9) / udp(6081)
        / GENEVE(proto=0x6558, critical=1, vni=7, options=[option]) / i),
    "gre-ethernet-key": (ref_004, lambda i: wire(NODE, PEER) / GRE(key_present=1, key=0x01020304, proto=0x6558) / i),
    "gre-ethernet": (arp, lambda i: wire(NODE6, PEER6) / GRE(proto=0x6558) / i),
    "gre-ip": (ref_004, ip_pair(wire(NODE, PEER), GRE(proto=0x0800))),
    "gre-ip-key-ipv6": (frame6, ip_pair(wire(NODE, PEER), GRE(key_present=1, key=9, proto=0x86DD))),
    "ipip-4in4": (ref_004, ip_pair(wire(NODE, PEER))),
    "ipip-6in4": (frame6, ip_pair(wire(NODE, PEER))),
    "ipip-4in6": (ref_004, ip_pair(wire(NODE6, PEER6))),
    "ipip-6in6": (frame6, ip_pair(wire(NODE6, PEER6))),
}

if __name__ == "__main__":
    directory = os.path.dirname(os.path.abspath(__file__))
    seeds = os.path.join(directory, "../../fuzz/seeds/open")
    os.makedirs(seeds, exist_ok=True)
    for name, (inner, tunnel) in golden.items():
        inner = Ether(bytes(inner))
        packets = [inner, Ether(bytes(tunnel(inner)))]
        # Times are fixed, so that the files are the same whenever they are made.
        for number, packet in enumerate(packets):
            packet.time = number
        wrpcap(os.path.join(directory, name + ".pcap"), packets)
        # The control word of tests/fuzz/oracles/open.rs: split behind the first bytes, and the number of tags.
        tags = 1 if Dot1Q in packets[1] else 0
        with open(os.path.join(seeds, name), "wb") as seed:
            seed.write(bytes([40, 0, tags]) + bytes(packets[1]))
