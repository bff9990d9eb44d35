//! Backends on another node, behind VXLAN: three nodes with a daemon each (reference 002), a service on the first.

use shunt_tests::scene::{self, Scene};
use shunt_tests::{Netns, Running, require};

use crate::cluster::{SERVER, TALK, bracketed};
use crate::node::PATIENCE;

const SERVICE: &str = "10.96.0.10";

/// Answers on port 8080 of a namespace under a name.
#[track_caller]
pub(crate) fn serve(at: &Netns, name: &str) -> Running {
    let running = at.spawn(&["perl", "-e", SERVER, name, "8080", "::"]).unwrap();
    running.expect("ready\n", 0, PATIENCE).unwrap();
    running
}

/// One connection of HTTP; what comes of it.
#[track_caller]
pub(crate) fn page(from: &Netns, host: &str, port: u16) -> String {
    let url = format!("http://{}:{port}/", bracketed(host));
    let curl =
        ["curl", "--silent", "--show-error", "--max-time", "3", "--retry", "1", "--noproxy", "*", &url];
    let output = from.cmd(&curl).run().unwrap();
    format!("{}{}", output.stdout.trim(), output.stderr.trim())
}

/// One datagram and its answer.
#[track_caller]
pub(crate) fn datagram(from: &Netns, host: &str, port: u16) -> String {
    let mut program = from.spawn(&["perl", "-e", TALK, "udp", host, &port.to_string()]).unwrap();
    program.expect("\n", 0, PATIENCE).unwrap();
    let at = program.stdout().position();
    program.send_line("hello").unwrap();
    program.expect("\n", at, PATIENCE).unwrap();
    program.stdout().text(at).trim().to_owned()
}

#[track_caller]
fn apply(scene: &Scene, endpoints: &str) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("node1.toml");
    let service = format!(
        "[node]\nname = \"node1\"\n[[service]]\nname = \"shop/web\"\ncluster_ips = [\"{SERVICE}\"]\n\
         ports = [{{ port = 80, node_port = 30080 }}]\nendpoints = [{endpoints}]\n"
    );
    let text = format!("{}{service}", include_str!("../../scenes/overlay-vxlan/node1.toml"));
    std::fs::write(&file, text).unwrap();
    scene.node("node1").shuntd.cli_text(&["apply", &file.to_string_lossy()]).unwrap();
}

#[test]
fn a_backend_on_another_node_answers_pods_and_the_world() {
    require!(root(), tool("perl"), tool("curl"), shuntd());
    let scene = scene::make("overlay-vxlan").unwrap_or_else(|error| panic!("{error}"));
    let (client, server) = (scene.place("pod-9-60"), scene.place("pod-6-10"));
    let _running = serve(server, "pod-6-10");
    apply(&scene, "{ address = \"10.20.6.10\", port = 8080, node = \"node2\" }");
    let drops = || scene.node("node1").shuntd.cli_text(&["show", "drops"]).unwrap();
    assert_eq!(page(client, SERVICE, 80), "pod-6-10 10.20.9.60", "{}", drops());
    // The world is seen as this node: its own tunnel end, which no other node has.
    let gateway = scene.place("gateway");
    assert_eq!(page(gateway, "10.186.152.114", 30080), "pod-6-10 10.20.9.0", "{}", drops());
    // The very same connection is found by every node's table; here, the listing says where it went.
    let listed = scene.node("node1").shuntd.cli_text(&["conntrack", "-L", "-p", "tcp"]).unwrap();
    assert!(listed.contains("src=10.20.6.10 dst=10.20.9.0 sport=8080"), "{listed}");
    assert_eq!(scene.node("node2").dropped("tunnel_inner_source").unwrap(), 0);
}
