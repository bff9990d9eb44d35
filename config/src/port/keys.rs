//! The keys of a port: first those of every kind, then those of single kinds.

use crate::keys::Key;

const ALL: &[&str] = &[];

const fn key(
    name: &'static str,
    kinds: &'static [&'static str],
    takes: &'static str,
    default: &'static str,
    meaning: &'static str,
) -> Key {
    Key { name, kinds, takes, default, meaning }
}

pub(crate) const KEYS: &[Key] = &[
    key("name", ALL, "string, 1 to 15 of `a-z A-Z 0-9 . _ @ -`", "required", "the name of the port; unique"),
    key(
        "kind",
        ALL,
        "`\"veth\"`, `\"tap\"`, `\"tun\"`, `\"af_xdp\"`, `\"vhost-user\"`, `\"memif\"` or `\"dpdk\"`",
        "required",
        "what the port is connected to; selects the further keys",
    ),
    key("network", ALL, "string", "\"default\"", "the network the port belongs to"),
    key("admin_up", ALL, "boolean", "true", "`false` keeps the port configured but down"),
    key("mtu", ALL, "integer, 68 to 65521 bytes", "the network's", "bytes after the Ethernet header"),
    key(
        "mac",
        ALL,
        "MAC address, not multicast",
        "the device's own, or drawn",
        "Ethernet address of the switch's end of the port",
    ),
    key("queues", ALL, "integer, 1 to 16", "1", "number of receive and of transmit queues"),
    key(
        "placement",
        ALL,
        "array of worker indexes, one per queue",
        "[]",
        "the worker that serves each queue; empty spreads them automatically",
    ),
    key(
        "mac_limit",
        ALL,
        "integer, 1 to 1048576 addresses",
        "only the network's",
        "most addresses learned on the port",
    ),
    key(
        "stations",
        ALL,
        "array of MAC addresses, not multicast",
        "[]",
        "addresses known to be behind the port: never aged, never moved by traffic; once in a network",
    ),
    key(
        "endpoints",
        ALL,
        "array of `{ mac = MAC, ip = [ADDRESS, ...] }`",
        "[]",
        "stations with their IP addresses: as `stations`, and neighbours that never age; once in a network",
    ),
    key(
        "device",
        &["veth"],
        "device name, at most 15 bytes",
        "required",
        "host end of the veth pair; must exist",
    ),
    key("device", &["af_xdp"], "device name, at most 15 bytes", "required", "kernel device; must exist"),
    key(
        "device",
        &["tap", "tun"],
        "device name, at most 15 bytes",
        "the port's name",
        "name of the kernel device that the daemon makes",
    ),
    key(
        "netns",
        &["tap", "tun"],
        "name as `ip netns` shows it, or absolute path",
        "the daemon's own",
        "network namespace the device is moved into",
    ),
    key(
        "addresses",
        &["tap"],
        "array of addresses with prefix length",
        "[]",
        "addresses given to the kernel's side",
    ),
    key(
        "addresses",
        &["tun"],
        "array of addresses with prefix length",
        "required",
        "addresses given to the kernel's side, at least one; the switch answers ARP and ND for them",
    ),
    key(
        "peer_mac",
        &["tap", "tun"],
        "MAC address, not multicast",
        "drawn from the names of node and port",
        "Ethernet address of the kernel's side; for `tun`, the one the switch answers ARP and ND with",
    ),
    key(
        "start_queue",
        &["af_xdp"],
        "integer, 0 to 1023",
        "0",
        "first queue of the device; the port takes `queues` of them",
    ),
    key(
        "path",
        &["vhost-user", "memif"],
        "absolute path, at most 107 bytes",
        "required",
        "Unix socket that the two sides meet on",
    ),
    key(
        "mode",
        &["vhost-user"],
        "`\"server\"` or `\"client\"`",
        "\"server\"",
        "`server`: the switch makes the socket; `client`: the guest does, and the switch reconnects",
    ),
    key(
        "tso",
        &["vhost-user"],
        "boolean",
        "true",
        "offers checksum and TCP segmentation offload to the guest",
    ),
    key("mergeable", &["vhost-user"], "boolean", "true", "offers mergeable receive buffers to the guest"),
    key(
        "id",
        &["memif"],
        "integer, 0 to 4294967295",
        "0",
        "number of the interface on the socket; the same on both sides",
    ),
    key(
        "role",
        &["memif"],
        "`\"server\"` or `\"client\"`",
        "\"server\"",
        "`server`: the switch makes the socket; `client`: the other side does",
    ),
    key("secret", &["memif"], "string, 1 to 23 characters", "none", "secret that both sides must give"),
    key("ring_size_log2", &["memif"], "integer, 1 to 14", "10", "entries of a ring, as a power of two"),
    key(
        "buffer_size",
        &["memif"],
        "integer, 256 to 65535 bytes",
        "2048",
        "bytes per buffer of the shared memory",
    ),
    key(
        "devargs",
        &["dpdk"],
        "DPDK device arguments",
        "required",
        "PCI address or virtual device, as `0000:03:00.0` or `net_pcap0,rx_pcap=in.pcap`",
    ),
];
