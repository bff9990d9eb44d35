#!/usr/bin/env python3
"""Makes the golden packets of this directory with scapy, which knows nothing of shunt.

usage: generate.py     needs scapy (pip install scapy)

Each file holds two packets: what a node of a lab scene receives on one port, and what it must send on another. Addresses are
those of the scenes under tests/scenes/, which are the references' where these give some. The UDP source port of a tunnel is "random"
in the reference: it stands as 49152 here, and the test asks only for a dynamic one.
"""

import os

from scapy.all import (
    ICMP, IP, TCP, UDP, Dot1Q, Ether, ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr, IPv6, Raw, wrpcap)
from scapy.contrib.geneve import GENEVE
from scapy.layers.vxlan import VXLAN

SPORT = 0xC000


def v4(src, dst, ttl):
    return IP(src=src, dst=dst, ttl=ttl, id=0x1111)


def outer(src, dst, node, peer, port):
    """Outer headers: shunt sends no UDP checksum (RFC 6935 allows that), identification 0 and DF."""
    return Ether(dst=dst, src=src) / IP(src=node, dst=peer, ttl=64, id=0, flags="DF") / UDP(
        sport=SPORT, dport=port, chksum=0)


def vxlan(vni):
    return VXLAN(flags=0x08, vni=vni)


# Reference 002: node1 and its peer on `ctl`, their ends of the overlay, pods.
CTL, PEER_CTL = "02:00:0a:ba:98:72", "02:00:0a:ba:98:65"
NODE, PEER = "10.186.152.114", "10.186.152.101"
VTEP, PEER_VTEP = "66:66:00:00:00:09", "66:66:66:66:66:66"
POD, POD_MAC = "10.20.9.60", "3e:7c:ce:00:09:3c"
LOCAL, LOCAL_MAC = "10.20.9.41", "3e:7c:ce:00:09:29"
REMOTE = "10.20.6.10"
SHARED, GATEWAY = "8e:78:9c:32:b5:72", "aa:bb:cc:dd:ee:ff"
request = TCP(sport=40000, dport=80, flags="S", seq=1)
answer = TCP(sport=80, dport=40000, flags="SA", seq=9, ack=2)
out_udp, in_udp = (UDP(sport=5000, dport=53) / Raw(b"question"), UDP(sport=53, dport=5000) / Raw(b"answer"))
echo = ICMP(type=8, id=7, seq=1) / Raw(b"are you there")
# Who has the IPv6 address of pod A? To the solicited-node group of that address (RFC 4291 section 2.7.1).
ND_GROUP_MAC, ND_GROUP = "33:33:ff:00:00:06", "ff02::1:ff00:6"
solicitation = (
    IPv6(src="fd00:186:155::30", dst=ND_GROUP, hlim=255) / ICMPv6ND_NS(tgt="fd00:186:155::6")
    / ICMPv6NDOptSrcLLAddr(lladdr=GATEWAY))

# Reference 000: pods in VLAN 100, the physical router.
ROUTER, SWITCH = "02:00:c0:a8:01:01", "02:00:c0:a8:01:11"
A0, A0_MAC, B0 = "192.168.1.20", "aa:bb:cc:dd:ee:20", "192.168.1.21"
# Reference 001.
A1, B1, A1_MAC, B1_MAC = "10.16.0.2", "10.16.0.3", "aa:bb:cc:dd:ee:02", "aa:bb:cc:dd:ee:03"
a_to_b = Ether(dst=B1_MAC, src=A1_MAC) / v4(A1, B1, 64) / request
b_to_a = Ether(dst=A1_MAC, src=B1_MAC) / v4(B1, A1, 64) / answer
# Reference 003: br-ex of two nodes.
EX, PEER_EX = "02:00:0a:b8:86:52", "02:00:0a:b8:86:53"
EX_IP, PEER_EX_IP = "10.184.134.82", "10.184.134.83"
# Reference 004: Flannel.
F_NODE, F_PEER = "02:00:c0:a8:01:0a", "02:00:c0:a8:01:0b"
F_VTEP, F_PEER_VTEP = "02:00:0a:f4:01:00", "02:00:0a:f4:02:00"
FA, FA_MAC, FB = "10.244.1.2", "02:00:0a:f4:01:02", "10.244.2.3"

golden = {
    "002-overlay-out": (
        Ether(dst=VTEP, src=POD_MAC) / v4(POD, REMOTE, 64) / request,
        outer(CTL, PEER_CTL, NODE, PEER, 4789) / vxlan(2)
        / Ether(dst=PEER_VTEP, src=VTEP) / v4(POD, REMOTE, 63) / request),
    "002-overlay-in": (
        outer(PEER_CTL, CTL, PEER, NODE, 4789) / vxlan(2)
        / Ether(dst=VTEP, src=PEER_VTEP) / v4(REMOTE, POD, 63) / answer,
        Ether(dst=POD_MAC, src=VTEP) / v4(REMOTE, POD, 62) / answer),
    "002-overlay-same-node": (
        Ether(dst=VTEP, src=POD_MAC) / v4(POD, LOCAL, 64) / request,
        Ether(dst=LOCAL_MAC, src=VTEP) / v4(POD, LOCAL, 63) / request),
    "002-underlay-out": (
        Ether(dst=GATEWAY, src=SHARED) / v4("10.186.155.6", "8.8.8.8", 64) / out_udp,
        Ether(dst=GATEWAY, src=SHARED) / Dot1Q(vlan=1155) / v4("10.186.155.6", "8.8.8.8", 64) / out_udp),
    "002-underlay-in": (
        Ether(dst=SHARED, src=GATEWAY) / Dot1Q(vlan=1155) / v4("8.8.8.8", "10.186.155.6", 57) / in_udp,
        Ether(dst=SHARED, src=GATEWAY) / v4("8.8.8.8", "10.186.155.6", 57) / in_udp),
    "002-underlay-no-station": (
        Ether(dst=SHARED, src=GATEWAY) / Dot1Q(vlan=1155) / v4("8.8.8.8", "10.186.155.1", 57) / in_udp,
        Ether(dst=SHARED, src=GATEWAY) / v4("8.8.8.8", "10.186.155.1", 57) / in_udp),
    "002-underlay-nd-in": (
        Ether(dst=ND_GROUP_MAC, src=GATEWAY) / Dot1Q(vlan=1155) / solicitation,
        Ether(dst=ND_GROUP_MAC, src=GATEWAY) / solicitation),
    "000-vlan-out": (
        Ether(dst=SWITCH, src=A0_MAC) / v4(A0, B0, 64) / echo,
        Ether(dst=ROUTER, src=SWITCH) / Dot1Q(vlan=100) / v4(A0, B0, 63) / echo),
    "000-vlan-in": (
        Ether(dst=SWITCH, src=ROUTER) / Dot1Q(vlan=100) / v4(B0, A0, 62) / answer,
        Ether(dst=A0_MAC, src=SWITCH) / v4(B0, A0, 61) / answer),
    "000-plain-out": (
        Ether(dst=SWITCH, src=A0_MAC) / v4(A0, B0, 64) / echo,
        Ether(dst=ROUTER, src=SWITCH) / v4(A0, B0, 63) / echo),
    "000-plain-in": (
        Ether(dst=SWITCH, src=ROUTER) / v4(B0, A0, 62) / answer,
        Ether(dst=A0_MAC, src=SWITCH) / v4(B0, A0, 61) / answer),
    "001-a-to-b": (a_to_b, a_to_b),
    "001-b-to-a": (b_to_a, b_to_a),
    "003-inter-node-out": (
        a_to_b, outer(EX, PEER_EX, EX_IP, PEER_EX_IP, 6081) / GENEVE(proto=0x6558, vni=3) / a_to_b),
    "003-inter-node-in": (
        outer(PEER_EX, EX, PEER_EX_IP, EX_IP, 6081) / GENEVE(proto=0x6558, vni=3) / b_to_a, b_to_a),
    "004-flannel-out": (
        Ether(dst=F_VTEP, src=FA_MAC) / v4(FA, FB, 64) / out_udp,
        outer(F_NODE, F_PEER, "192.168.1.1", "192.168.1.2", 4789) / vxlan(1)
        / Ether(dst=F_PEER_VTEP, src=F_VTEP) / v4(FA, FB, 63) / out_udp),
    "004-flannel-in": (
        outer(F_PEER, F_NODE, "192.168.1.2", "192.168.1.1", 4789) / vxlan(1)
        / Ether(dst=F_VTEP, src=F_PEER_VTEP) / v4(FB, FA, 63) / in_udp,
        Ether(dst=FA_MAC, src=F_VTEP) / v4(FB, FA, 62) / in_udp),
}

if __name__ == "__main__":
    directory = os.path.dirname(os.path.abspath(__file__))
    for name, packets in golden.items():
        packets = [Ether(bytes(packet)) for packet in packets]
        # Times are fixed, so that the files are the same whenever they are made.
        for number, packet in enumerate(packets):
            packet.time = number
        wrpcap(os.path.join(directory, name + ".pcap"), packets)
