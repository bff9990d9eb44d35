//! The MTU of a network: given, or what is left of that of the network it rides on.

use shunt_config::{Config, parse};

fn config(text: &str) -> Config {
    let head = "[[router]]\nname = \"r\"\n";
    parse(&format!("{head}{text}"), "test").unwrap_or_else(|errors| panic!("{errors}"))
}

/// An overlay `o` with `keys` over a transport with an MTU of `mtu`, which has addresses of both families.
fn over(mtu: &str, keys: &str) -> u16 {
    let text = format!(
        "[[network]]\nname = \"t\"\nmtu = {mtu}\nrouter = \"r\"\ngateways = [\"10.0.0.1/24\", \"fd00::1/64\"]\n\
         [[network]]\nname = \"o\"\nkind = \"overlay\"\ntransport = \"t\"\n{keys}\n"
    );
    let config = config(&text);
    config.network_mtu(&config.networks[1])
}

const V4: &str = "peers = [{ address = \"10.0.0.2\" }]";
const V6: &str = "peers = [{ address = \"fd00::2\" }]";

#[test]
fn each_encapsulation_takes_its_headers() {
    let ip = "payload = \"ip\"\nrouter = \"r\"\ngateways = [\"169.254.1.1/32\"]";
    let l3 = "router = \"r\"\ngateways = [\"169.254.1.1/32\"]";
    // Outer IP, UDP or GRE, tunnel header, inner Ethernet header.
    for (keys, v4, v6) in [
        ("encap = \"vxlan\"\nvni = 2".to_owned(), 20 + 8 + 8 + 14, 40 + 8 + 8 + 14),
        ("encap = \"geneve\"\nvni = 2".to_owned(), 20 + 8 + 8 + 14, 40 + 8 + 8 + 14),
        ("encap = \"gre\"".to_owned(), 20 + 4 + 14, 40 + 4 + 14),
        ("encap = \"gre\"\nvni = 0".to_owned(), 20 + 8 + 14, 40 + 8 + 14),
        (format!("encap = \"gre\"\n{ip}"), 20 + 4, 40 + 4),
        (format!("encap = \"gre\"\nvni = 9\n{ip}"), 20 + 8, 40 + 8),
        (format!("encap = \"ipip\"\n{l3}"), 20, 40),
    ] {
        assert_eq!(over("\"auto\"", &format!("{keys}\n{V4}")), 1500 - v4, "{keys}");
        assert_eq!(over("9000", &format!("{keys}\n{V6}")), 9000 - v6, "{keys}");
    }
}

#[test]
fn the_larger_header_counts_where_peers_are_of_both_families() {
    let both = "encap = \"vxlan\"\nvni = 2\npeers = [{ address = \"10.0.0.2\" }, { address = \"fd00::2\" }]";
    assert_eq!(over("1500", both), 1430);
    assert_eq!(over("1500", "encap = \"vxlan\"\nvni = 2"), 1450, "without peers, the family of the source");
}

#[test]
fn what_is_given_counts() {
    assert_eq!(over("1500", &format!("encap = \"vxlan\"\nvni = 2\nmtu = 1400\n{V4}")), 1400);
}

#[test]
fn tunnels_in_tunnels_and_vlans_of_bridges_pass_it_on() {
    let config = config(
        "[[network]]\nname = \"br\"\nvlans = [7]\nmtu = 1496\n\
         [[network]]\nname = \"u\"\nkind = \"underlay\"\nbridge = \"br\"\nvlan = 7\nrouter = \"r\"\ngateways = [\"10.0.0.1/24\"]\n\
         [[network]]\nname = \"a\"\nkind = \"overlay\"\nencap = \"vxlan\"\nvni = 2\ntransport = \"u\"\nrouter = \"r\"\ngateways = [\"10.1.0.1/24\"]\n\
         [[network]]\nname = \"b\"\nkind = \"overlay\"\nencap = \"geneve\"\nvni = 3\ntransport = \"a\"\n\
         [[port]]\nname = \"p\"\nkind = \"tap\"\nnetwork = \"b\"\n",
    );
    let mtus: Vec<_> = config.networks.iter().map(|network| config.network_mtu(network)).collect();
    assert_eq!(mtus, [1496, 1496, 1446, 1396]);
    assert_eq!(config.port_mtu(&config.ports[0]), 1396);
}

#[test]
fn a_vlan_whose_tag_has_no_room_has_less_and_so_has_what_rides_on_it() {
    let text = |mtu: &str| {
        format!(
            "[[network]]\nname = \"br\"\nvlans = [7, 8]\n{mtu}\n\
             [[network]]\nname = \"u\"\nkind = \"underlay\"\nbridge = \"br\"\nvlan = 7\nrouter = \"r\"\ngateways = [\"10.0.0.1/24\"]\n\
             [[network]]\nname = \"v\"\nkind = \"underlay\"\nbridge = \"br\"\nvlan = 8\nmode = \"bridged\"\n\
             [[network]]\nname = \"a\"\nkind = \"overlay\"\nencap = \"vxlan\"\nvni = 2\ntransport = \"u\"\n{V4}\n\
             [[port]]\nname = \"p\"\nkind = \"tap\"\nnetwork = \"u\"\n"
        )
    };
    let cramped = |network: &shunt_config::Network| network.name.as_str() == "u";
    let mtus = |config: &Config| -> Vec<u16> {
        config.networks.iter().map(|network| config.network_mtu_where(network, &cramped)).collect()
    };
    let auto = config(&text(""));
    assert_eq!(mtus(&auto), [1500, 1496, 1500, 1446]);
    assert_eq!(auto.port_mtu_where(&auto.ports[0], &cramped), 1496);
    assert_eq!(auto.port_mtu(&auto.ports[0]), 1500, "without knowledge of devices");
    assert_eq!(mtus(&config(&text("mtu = 1500"))), [1500, 1500, 1500, 1450], "what is given stays");
}
