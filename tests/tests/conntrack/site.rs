//! Two pods of a masqueraded network, and a station that knows no way back to them.

use crate::lab::{Places, apply, config, routed_on};
use crate::node::{Kind, MEMORY, Node};

/// Two pods of network 1, and a station of network 2 without any route.
pub(crate) const PLACES: Places<'_> = &[(Kind::Veth, 1), (Kind::Tap, 1), (Kind::Veth, 2)];

/// The running configuration of such a node, with `keys` and no others for the router that masquerades.
pub(crate) fn with_router(node: &Node, keys: &str) -> String {
    let text = std::fs::read_to_string(node.path("config.toml")).unwrap();
    let (before, rest) = text.split_once("name = \"common\"\n").unwrap();
    let (_, after) = rest.split_once("routes = []\n").unwrap();
    format!("{before}name = \"common\"\n{keys}routes = []\n{after}")
}

/// A node with these; `head` is put in front of its configuration.
pub(crate) fn masquerades(head: &str) -> Node {
    masquerades_from(MEMORY, head)
}

/// The same with `first` in front of all that may not change while it runs.
pub(crate) fn masquerades_from(first: &str, head: &str) -> Node {
    let node = routed_on(first, PLACES, "");
    let text = config("", &node.pods, PLACES).replacen(MEMORY, first, 1).replacen(
        "name = \"net1\"\n",
        "name = \"net1\"\nmasquerade = true\n",
        1,
    );
    apply(&node, &format!("{head}{text}"));
    for family in ["-4", "-6"] {
        node.pods[2].netns.exec(&["ip", family, "route", "del", "default"]).unwrap();
    }
    node
}
