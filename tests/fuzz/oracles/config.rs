//! What must hold of configuration files, whatever stands in them: refused with messages, or written out and read again as the same.

use shunt_config::{diff, parse, parse_peers, with_ports};

/// Panics when a property does not hold. True when the text is a configuration.
pub(crate) fn check(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    let config = match parse(text, "text") {
        Ok(config) => config,
        Err(errors) => {
            assert!(!errors.0.is_empty() && !errors.to_string().is_empty(), "refused without a word");
            return false;
        }
    };
    let written = config.to_toml();
    let again = parse(&written, "written").unwrap_or_else(|errors| panic!("{errors}\n{written}"));
    assert!(again == config, "written out it is another one:\n{written}");
    assert!(diff(&config, &again).steps().is_empty(), "the same needs no step");
    for network in config.networks.iter().filter(|network| network.overlay().is_some()) {
        // As peers it is hardly ever anything; it must not break what reads it.
        let _ = parse_peers(text, "text", &config, &network.name);
    }
    let ports: Vec<String> = config.ports.iter().map(|port| port.to_toml()).collect();
    let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
    let without = shunt_config::Config { ports: Vec::new(), ..config.clone() };
    // What says that a port is missing can only be said of a configuration without it.
    if let Ok(joined) = with_ports(&without, &ports, "ports") {
        assert!(joined.ports == config.ports, "ports that were added one by one");
    }
    true
}
