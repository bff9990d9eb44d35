//! Holds a scene of the lab up until it is told to end: the program behind `scripts/lab`.
//!
//! `lab list` prints the scenes. `lab hold NAME DIR` brings one up, tries who reaches whom, and writes into `DIR`: `report` (what came
//! of it), `places` (name and namespace of each station and node, one a line), `nodes` (name and socket of each daemon), and last
//! `state`, one word: `up`, or `failed` when a pair is not as expected (the scene stays up all the same). SIGTERM or SIGINT ends it.

use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use nix::sys::signal::{SigSet, Signal};
use shunt_tests::LabError;
use shunt_tests::scene::{self, Scene};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["list"] => {
            scene::ALL.iter().for_each(|(name, about, _)| println!("{name:<16} {about}"));
            Ok(())
        }
        ["hold", name, dir] => hold(name, Path::new(dir)),
        _ => Err(LabError::Missing("usage: lab list | lab hold NAME DIR (scripts/lab does it)".into())),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab: {error}");
            ExitCode::FAILURE
        }
    }
}

fn hold(name: &str, dir: &Path) -> Result<(), LabError> {
    // Held back from now on and taken by `wait`: whenever it comes, the guards clean up. Children start without it held back.
    let mut end = SigSet::empty();
    end.add(Signal::SIGTERM);
    end.add(Signal::SIGINT);
    end.thread_block().map_err(|errno| LabError::io("hold signals back")(errno.into()))?;
    let scene = scene::make(name)?;
    let outcomes = scene.check();
    let mut report = String::new();
    for outcome in &outcomes {
        let _ = writeln!(report, "{outcome}");
    }
    let well = outcomes.iter().all(|outcome| outcome.failure.is_none());
    if !well {
        report += &scene.state();
    }
    report += &what_next(&scene);
    let sockets =
        scene.nodes.iter().map(|node| format!("{} {}\n", node.name, node.shuntd.socket().display()));
    let write = |file: &str, text: &str| {
        fs::write(dir.join(file), text).map_err(LabError::io(format!("write {file} in {}", dir.display())))
    };
    write("report", &report)?;
    write("places", &places(&scene))?;
    write("nodes", &sockets.collect::<String>())?;
    write("state", if well { "up\n" } else { "failed\n" })?;
    end.wait().map_err(|errno| LabError::io("wait for a signal")(errno.into()))?;
    Ok(())
}

fn places(scene: &Scene) -> String {
    let nodes = scene.nodes.iter().map(|node| (node.name, node.netns.name()));
    let stations = scene.stations.iter().map(|station| (station.name, station.netns.name()));
    let fabric = scene.fabric().map(|fabric| ("switch", fabric.netns().name()));
    nodes.chain(stations).chain(fabric).map(|(name, netns)| format!("{name} {netns}\n")).collect()
}

fn what_next(scene: &Scene) -> String {
    let mut text = format!("\nThe scene {} is up. Try:\n", scene.name);
    for hint in scene.hints {
        let _ = writeln!(text, "  scripts/lab {} {hint}", scene.name);
    }
    let names = scene.stations.iter().map(|station| station.name);
    let nodes = scene.nodes.iter().map(|node| node.name);
    let _ = writeln!(text, "Pods and machines: {}", names.collect::<Vec<_>>().join(" "));
    let _ = writeln!(text, "Nodes: {}", nodes.collect::<Vec<_>>().join(" "));
    let _ = writeln!(text, "End it: scripts/lab {} --down", scene.name);
    text
}
