//! Reference 003 with real traffic, in both gateway modes and families: what pods send leaves from the switch or through the node's own
//! stack, and what comes for services comes in likewise; answers take the same way back.

use shunt_tests::require;

use crate::ends::{self, End};
use crate::gateway_lab::{Backend, Family, Lab, V4, V6};
use crate::remote::datagram;

/// What is the same for everybody outside and inside, whichever way it takes; and that it takes the way of the mode.
#[track_caller]
fn in_mode(mode: &str) {
    let lab = Lab::start(mode);
    for family in [&V4, &V6] {
        inward_and_out(&lab, mode, family);
    }
    assert_eq!(lab.scene.node("node2").dropped("tunnel_inner_source").unwrap(), 0);
    assert_eq!(lab.strays(), 0, "the node's own stack has seen a part of a connection only: {}", lab.state());
}

#[track_caller]
fn inward_and_out(lab: &Lab, mode: &str, family: &Family) {
    let Family { node, outside, cluster, .. } = *family;
    let own = family.pods[0];
    lab.has(mode, "cluster", &[Backend::Here]);
    // A pod out; programs of the node in and out, who have nothing to do with services.
    let before = lab.by_management();
    lab.reaches("pod_a", outside, 8080, ("outside", node));
    let passed = lab.by_management() - before;
    assert_eq!(passed > 4, mode == "local", "{passed} frames by the node's own stack: {}", lab.state());
    let listed = lab.scene.node("node1").shuntd.cli_text(&["conntrack", "-L", "-s", own]).unwrap();
    assert_eq!(listed.contains(&format!("dst={node}")), mode == "shared", "{listed}");
    lab.reaches("outside", node, 9090, ("node1", outside));
    lab.reaches("node1", outside, 8080, ("outside", node));
    // From outside, with both policies: by a node port, a load balancer's address and one that is routed here.
    let ways = [(node, 30080), (family.balancer, 80), (family.external, 80)];
    for (backend, who, gateway) in
        [(Backend::Here, "pod_a", family.gateway), (Backend::There, "pod_b", family.alone)]
    {
        lab.has(mode, "cluster", &[backend]);
        for (at, port) in ways {
            let before = lab.by_management();
            lab.reaches("outside", at, port, (who, gateway));
            let passed = lab.by_management() - before;
            assert_eq!(passed > 4, mode == "local", "{at}: {passed} frames by the node: {}", lab.state());
        }
        // From the node's own programs and from pods: by the management port, and at once.
        lab.reaches("node1", cluster, 80, (who, family.management));
        lab.reaches("node1", node, 30080, (who, family.management));
        lab.reaches("pod_a", cluster, 80, (who, if who == "pod_a" { family.gateway } else { own }));
    }
    lab.has(mode, "local", &[Backend::Here, Backend::There]);
    for (at, port) in ways {
        for _ in 0..5 {
            lab.reaches("outside", at, port, ("pod_a", outside));
        }
    }
    lab.has(mode, "local", &[Backend::There]);
    let before = lab.scene.node("node1").dropped("service_none_here").unwrap();
    assert_eq!(datagram(lab.scene.place("outside"), node, 30080), "silence");
    assert!(lab.scene.node("node1").dropped("service_none_here").unwrap() > before, "{}", lab.state());
    // The backend is a program of the node that asks: it would take its own address for a forgery.
    lab.has(mode, "cluster", &[Backend::Itself]);
    lab.reaches("node1", cluster, 80, ("node1", family.itself));
    lab.reaches("pod_a", cluster, 80, ("node1", own));
}

/// The same for SCTP from outside, by every address, to a backend here and on the other node.
#[track_caller]
fn sctp_in_mode(mode: &str) {
    require!(
        root(),
        tool("cc"),
        file(ends::HEADER),
        tool("perl"),
        tool("nft"),
        file("/dev/net/tun"),
        shuntd()
    );
    let lab = Lab::start(mode);
    let outside = lab.scene.place("outside");
    let mut own = 5_000;
    for (at, backend) in [Backend::Here, Backend::There].into_iter().enumerate() {
        let who = ["pod_a", "pod_b"][at];
        for family in [&V4, &V6] {
            let _serving = End::serve_in(lab.scene.place(who), who, family.pods[at], 8080);
            for (policy, seen) in [("cluster", [family.gateway, family.alone][at]), ("local", family.outside)]
            {
                if policy == "local" && backend == Backend::There {
                    continue;
                }
                lab.has(mode, policy, &[backend]);
                for (to, port) in [(family.node, 30080), (family.balancer, 80), (family.external, 80)] {
                    own += 1;
                    let before = lab.by_management();
                    let mut talk = End::talk_in(outside, family.outside, own, to, port);
                    let said = talk.say("out");
                    assert!(
                        said.starts_with(&format!("{who} {seen} ")),
                        "{to} {policy}: {said}: {}",
                        lab.state()
                    );
                    // Short ones: a stack on raw sockets hears no ICMP of the shorter path into the overlay.
                    for bytes in (100..1_300).step_by(100) {
                        assert_eq!(talk.big(bytes), "same", "{to} {policy}: {}", lab.state());
                    }
                    talk.ends("close");
                    let passed = lab.by_management() - before;
                    assert_eq!(
                        passed > 4,
                        mode == "local",
                        "{to}: {passed} frames by the node: {}",
                        lab.state()
                    );
                }
            }
        }
    }
    assert_eq!(
        lab.strays(),
        0,
        "the node's own stack has seen a part of an association only: {}",
        lab.state()
    );
}

#[test]
fn sctp_in_gateway_mode_shared() {
    sctp_in_mode("shared");
}

#[test]
fn sctp_in_gateway_mode_local() {
    sctp_in_mode("local");
}

#[test]
fn in_gateway_mode_shared_the_switch_leads_out() {
    require!(root(), tool("perl"), tool("curl"), tool("nft"), file("/dev/net/tun"), shuntd());
    in_mode("shared");
}

#[test]
fn in_gateway_mode_local_the_nodes_own_stack_leads_out() {
    require!(root(), tool("perl"), tool("curl"), tool("nft"), file("/dev/net/tun"), shuntd());
    in_mode("local");
}
