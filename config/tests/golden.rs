//! The messages of a configuration full of mistakes, compared with a file: their text is part of the product.
//! After a wanted change, write the file anew with `SHUNT_BLESS=1 cargo test -p shunt-config --test golden`.

use std::path::{Path, PathBuf};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// Parses `stem.toml` and compares what is wrong with it with `stem.txt`; gives the number of messages.
fn compare(stem: &str) -> usize {
    let text = std::fs::read_to_string(golden(&format!("{stem}.toml"))).unwrap();
    let errors =
        shunt_config::parse(&text, &format!("{stem}.toml")).expect_err("the file is full of mistakes");
    let found = format!("{errors}\n");
    let expected = golden(&format!("{stem}.txt"));
    if std::env::var_os("SHUNT_BLESS").is_some() {
        std::fs::write(&expected, &found).unwrap();
    }
    assert_eq!(found, std::fs::read_to_string(expected).unwrap());
    errors.0.len()
}

#[test]
fn ten_mistakes_give_ten_messages() {
    assert_eq!(compare("ten-mistakes"), 10);
}

#[test]
fn mistakes_between_sections() {
    compare("conflicts");
}

#[test]
fn mistakes_of_form() {
    compare("form");
}

#[test]
fn mistakes_of_routers_and_endpoints() {
    compare("routing");
}

#[test]
fn mistakes_of_static_translations() {
    compare("translations");
}

#[test]
fn mistakes_of_gateways() {
    compare("gateways");
}

#[test]
fn mistakes_of_networks() {
    compare("networks");
}

#[test]
fn mistakes_between_bridges_underlays_and_ports() {
    compare("attachments");
}

#[test]
fn mistakes_of_tunnels() {
    compare("overlays");
}

#[test]
fn mistakes_of_gateway_modes() {
    compare("gateway_mode");
}

#[test]
fn mistakes_between_overlays_and_underlays() {
    compare("crossing");
}

#[test]
fn mistakes_of_ovns_option() {
    compare("ovn");
}

#[test]
fn mistakes_of_services() {
    compare("services");
}

#[test]
fn mistakes_of_pods_and_policies() {
    compare("policies");
}

#[test]
fn mistakes_of_bonds() {
    compare("bonds");
}

#[test]
fn mistakes_of_connections() {
    compare("connections");
    compare("connections-room");
}

#[test]
fn syntax_errors() {
    compare("syntax");
}
