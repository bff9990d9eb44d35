//! Two pods of a masqueraded network, and a station that knows no way back to them.

use crate::lab::{Places, apply, config, routed};
use crate::node::{Kind, Node};

/// Two pods of network 1, and a station of network 2 without any route.
pub(crate) const PLACES: Places<'_> = &[(Kind::Veth, 1), (Kind::Tap, 1), (Kind::Veth, 2)];

/// A node with these; `head` is put in front of its configuration.
pub(crate) fn masquerades(head: &str) -> Node {
    let node = routed(PLACES, "");
    let text = config("", &node.pods, PLACES).replacen(
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
