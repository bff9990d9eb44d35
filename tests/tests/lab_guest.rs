//! Proves the virtual machine: alone, and over vhost-user against testpmd.

use std::time::Duration;

use shunt_tests::guest::{Backend, Nic, Options};
use shunt_tests::testpmd::{self, Forward, Testpmd};
use shunt_tests::{Guest, Interface, require};

const INSIDE: Interface<'static> = Interface {
    name: "eth0",
    mac: Some("02:00:00:00:00:0b"),
    addrs: &["10.0.0.2/24", "fd00::2/64"],
    mtu: 1500,
};

#[test]
fn boots_and_runs_commands() {
    require!(root(), guest(), tool("iperf3"));
    let nic = Nic::new(Backend::User, INSIDE);
    let mut guest =
        Guest::boot(&Options { nics: vec![nic], tools: &["iperf3"], ..Options::default() }).unwrap();
    println!("the guest took {:?} to boot", guest.boot_time());
    assert_eq!(guest.sh("cat /sys/class/net/eth0/address").unwrap(), "02:00:00:00:00:0b");
    assert_eq!(guest.sh("basename $(readlink /sys/class/net/eth0/device/driver)").unwrap(), "virtio_net");
    assert_eq!(guest.sh("echo one; echo two >&2").unwrap(), "one\ntwo");
    assert_eq!(guest.run("exit 7", Duration::from_secs(5)).unwrap().status, 7);
    assert!(guest.sh("false").is_err());
    for module in ["bridge", "8021q", "vxlan", "geneve", "ip_gre", "ip6_gre", "ipip", "ip6_tunnel"] {
        guest.load(module).unwrap();
    }
    assert!(guest.sh("iperf3 --version").unwrap().starts_with("iperf 3"));
    // A program in the background, then one in front that talks to it over TCP.
    guest.sh("mkdir -p /tmp/www && echo page > /tmp/www/index.html && httpd -p 80 -h /tmp/www").unwrap();
    assert_eq!(guest.sh("wget -q -O - http://10.0.0.2/index.html").unwrap(), "page");
}

/// Boots a guest on a vhost-user socket whose other side is testpmd, and pings testpmd.
fn pings_testpmd(guest_listens: bool) {
    require!(root(), guest(), tool("dpdk-testpmd"));
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("vhost");
    let vdev = testpmd::vhost(0, &socket, 1, guest_listens);
    let mut pmd = Testpmd::launch(&testpmd::Options { vdevs: vec![vdev], ..Default::default() }).unwrap();
    let backend = if guest_listens { Backend::Listen(socket) } else { Backend::Connect(socket) };
    let mut guest =
        Guest::boot(&Options { nics: vec![Nic::new(backend, INSIDE)], ..Options::default() }).unwrap();
    pmd.start(Forward::IcmpEcho).unwrap();
    let answers = guest.sh("ping -c 5 -i 0.1 -W 2 10.0.0.1").unwrap();
    assert!(answers.contains("5 packets received"), "{answers}");
    let stats = pmd.port_stats(0).unwrap();
    assert!(stats.rx_packets >= 6 && stats.tx_packets >= 6, "ARP and five echoes: {stats:?}");
}

#[test]
fn pings_testpmd_over_a_socket_of_the_switch() {
    pings_testpmd(false);
}

#[test]
fn pings_testpmd_over_a_socket_of_qemu() {
    pings_testpmd(true);
}
