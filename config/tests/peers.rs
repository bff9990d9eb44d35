//! Peers in a file of their own: read as those of the network, and held against all else.

use shunt_config::{Config, NetworkName, load_peers, parse, parse_peers};

const NODE: &str = r#"
    [[router]]
    name = "r"
    [[network]]
    name = "ctl"
    router = "r"
    gateways = ["10.186.152.114/24"]
    [[network]]
    name = "v"
    kind = "overlay"
    encap = "vxlan"
    vni = 2
    transport = "ctl"
    router = "r"
    gateways = ["169.254.1.1/32"]
    vtep = "10.20.9.0"
    peers_file = "/etc/shunt/v.toml"
    peers = [{ address = "10.186.152.101", vtep = "10.20.6.0", prefixes = ["10.20.6.0/25"] }]
"#;

fn node() -> Config {
    parse(NODE, "node.toml").unwrap_or_else(|errors| panic!("{errors}"))
}

fn name(text: &str) -> NetworkName {
    NetworkName::new(text).unwrap()
}

fn wrong(text: &str) -> String {
    parse_peers(text, "v.toml", &node(), &name("v")).unwrap_err().to_string()
}

#[test]
fn a_file_has_peers_as_a_network_has() {
    let text =
        "[[peers]]\naddress = \"10.186.152.102\"\nvtep = \"10.20.7.0\"\nprefixes = [\"10.20.7.0/25\"]\n";
    let peers = parse_peers(text, "v.toml", &node(), &name("v")).unwrap();
    let inline = text.replace("[[peers]]\n", "peers = [{ ").trim_end().replace('\n', ", ") + " }]";
    assert_eq!(parse_peers(&inline, "v.toml", &node(), &name("v")).unwrap(), peers);
    assert_eq!(peers[0].prefixes[0].to_string(), "10.20.7.0/25");
    assert_eq!(parse_peers("peers = []", "v.toml", &node(), &name("v")), Ok(vec![]));
    // They are no part of the text that a configuration is written as.
    let mut config = node();
    let shunt_config::NetworkKind::Overlay(overlay) = &mut config.networks[1].kind else { panic!() };
    overlay.file_peers = peers;
    assert_eq!(overlay.all_peers().count(), 2);
    assert_eq!(parse(&config.to_toml(), "again"), Ok(node()));
}

#[test]
fn mistakes_have_their_place_in_the_file() {
    assert_eq!(wrong(""), "v.toml: peers: required but missing; write peers = [] for none");
    assert_eq!(
        wrong("peers = [\n  { address = \"10.186.152.102\" },\n  { adress = \"10.186.152.103\" },\n]\n"),
        "v.toml:3:3: peers[1].address: required but missing; add it, as address = \"10.186.152.101\"\n\
         v.toml:3:5: peers[1].adress: unknown key; did you mean address?"
    );
    assert!(wrong("peers = [").starts_with("v.toml:1:10: not valid TOML"), "{}", wrong("peers = ["));
    assert!(wrong("peers = []\nvni = 2\n").contains("v.toml:2:1: vni: unknown key"));
}

#[test]
fn conflicts_with_the_configuration_are_found() {
    // With a peer of the configuration, with another of the file, with this node.
    let twice = wrong("peers = [{ address = \"10.186.152.101\", vtep = \"10.20.8.0\" }]");
    assert_eq!(
        twice,
        "v.toml:1:22: peers[0].address: 10.186.152.101 is already the address of peers[0]; make one peer of the two"
    );
    let own = wrong("peers = [{ address = \"10.186.152.114\" }]");
    assert!(
        own.starts_with("v.toml:1:22: peers[0].address: 10.186.152.114 is this node's own address"),
        "{own}"
    );
    let prefix = wrong("peers = [{ address = \"10.186.152.102\", prefixes = [\"10.20.6.0/26\"] }]");
    assert!(prefix.starts_with("v.toml:1:"), "{prefix}");
}

#[test]
fn what_is_no_file_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    for path in [dir.path().join("missing"), dir.path().to_owned()] {
        let error = load_peers(&path, &node(), &name("v")).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot read {}: ", path.display())), "{error}");
    }
    let path = dir.path().join("v.toml");
    std::fs::write(&path, "peers = [{ address = \"10.186.152.102\" }]").unwrap();
    assert_eq!(load_peers(&path, &node(), &name("v")).unwrap().len(), 1);
}
