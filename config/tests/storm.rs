//! The storm limit of a bridge is that of its underlays, too.

use shunt_config::parse;

#[test]
fn an_underlay_has_the_limit_of_its_bridge_and_an_overlay_none() {
    let text = r#"
        [[router]]
        name = "r"
        [[network]]
        name = "br"
        vlans = [7]
        storm_limit = 100
        [[network]]
        name = "pods"
        kind = "underlay"
        bridge = "br"
        vlan = 7
        mode = "bridged"
        router = "r"
        gateways = ["10.0.1.1/24"]
        [[network]]
        name = "over"
        kind = "overlay"
        encap = "vxlan"
        vni = 2
        transport = "pods"
        [[network]]
        name = "other"
    "#;
    let config = parse(text, "test").unwrap_or_else(|errors| panic!("{errors}"));
    let limit = |name: &str| config.storm_limit(config.network(name).unwrap());
    assert_eq!(["br", "pods", "over", "other"].map(limit), [100, 100, 0, 0]);
}
