//! Properties over random configurations and over texts that were right before somebody edited them.

mod arbitrary;

use std::collections::BTreeMap;

use proptest::prelude::*;
use shunt_config::{Config, Network, Port, Router, Step, diff, parse};

/// A daemon as small as it can be: what is open and what exists, and it accepts nothing out of order.
#[derive(Default)]
struct Model {
    ports: BTreeMap<String, Port>,
    networks: BTreeMap<String, Network>,
    routers: BTreeMap<String, Router>,
}

impl Model {
    fn of(config: &Config) -> Model {
        Model {
            ports: config.ports.iter().map(|p| (p.name.to_string(), p.clone())).collect(),
            networks: config.networks.iter().map(|n| (n.name.to_string(), n.clone())).collect(),
            routers: config.routers.iter().map(|r| (r.name.to_string(), r.clone())).collect(),
        }
    }

    /// Every next router is in a subnet of one of the router's networks, as they are now.
    fn check_routes(&self, router: &Router) {
        for via in router.routes.iter().filter_map(|route| route.via) {
            let joined = |n: &&Network| n.router.as_ref() == Some(&router.name) && n.subnet_of(via).is_some();
            assert!(self.networks.values().any(|network| joined(&network)), "{via} before its network");
        }
    }

    fn apply(&mut self, step: &Step<'_>) {
        match step {
            Step::ClosePort(name) => assert!(self.ports.remove(name.as_str()).is_some(), "closed twice"),
            Step::AddNetwork(network) => {
                assert!(self.networks.insert(network.name.to_string(), (*network).clone()).is_none());
            }
            Step::ChangeNetwork(change) => {
                let old = self.networks.insert(change.to.name.to_string(), change.to.clone());
                assert_eq!(old.as_ref(), Some(&change.from));
            }
            Step::AddRouter(router) => {
                self.check_routes(router);
                assert!(self.routers.insert(router.name.to_string(), (*router).clone()).is_none());
            }
            Step::ChangeRouter(change) => {
                self.check_routes(&change.to);
                let old = self.routers.insert(change.to.name.to_string(), change.to.clone());
                assert_eq!(old.as_ref(), Some(&change.from));
            }
            Step::RemoveRouter(name) => {
                assert!(self.routers.remove(name.as_str()).is_some(), "removed twice");
            }
            Step::ChangePort(change) => {
                assert!(self.networks.contains_key(change.to.network.as_str()));
                let old = self.ports.insert(change.to.name.to_string(), change.to.clone());
                assert_eq!(old.as_ref(), Some(&change.from));
                assert_eq!(
                    (&change.from.kind.name(), change.from.device()),
                    (&change.to.kind.name(), change.to.device())
                );
            }
            Step::OpenPort(port) => {
                assert!(
                    self.networks.contains_key(port.network.as_str()),
                    "{} opened before its network",
                    port.name
                );
                let busy = self.ports.values().find(|p| {
                    p.device().is_some() && (p.device(), p.kind.netns()) == (port.device(), port.kind.netns())
                });
                assert_eq!(busy, None, "{} takes a device that is open", port.name);
                assert!(self.ports.insert(port.name.to_string(), (*port).clone()).is_none());
            }
            Step::RemoveNetwork(name) => {
                assert!(self.ports.values().all(|p| p.network != **name), "{name} removed with ports in it");
                assert!(self.networks.remove(name.as_str()).is_some());
            }
        }
    }
}

/// Texts to be edited: the examples, which are right.
fn example() -> impl Strategy<Value = String> {
    let files: Vec<_> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/examples"))
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    proptest::sample::select(files)
}

/// One edit at a place chosen by `at`: a line dropped, doubled or replaced, or characters put in or taken out.
fn edit(text: &str, at: usize, how: u8, with: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if lines.is_empty() {
        return with.to_owned();
    }
    let line = at % lines.len();
    match how {
        0 => drop(lines.remove(line)),
        1 => lines.insert(line, lines[line].clone()),
        2 => lines[line] = format!("{} = {with}", lines[line].split('=').next().unwrap_or_default()),
        3 => lines[line].insert_str(0, with),
        _ => drop(lines[line].pop()),
    }
    lines.join("\n")
}

proptest! {
    #[test]
    fn what_is_written_reads_the_same(config in arbitrary::config()) {
        let text = config.to_toml();
        match parse(&text, "written") {
            Ok(read) => prop_assert_eq!(read, config),
            Err(errors) => prop_assert!(false, "{errors}\n{text}"),
        }
    }

    #[test]
    fn the_steps_of_a_difference_lead_there(old in arbitrary::config(), new in arbitrary::config()) {
        let diff = diff(&old, &new);
        let mut model = Model::of(&old);
        for step in diff.steps() {
            model.apply(&step);
        }
        let wanted = Model::of(&new);
        prop_assert_eq!(&model.networks, &wanted.networks);
        prop_assert_eq!(&model.routers, &wanted.routers);
        prop_assert_eq!(&model.ports, &wanted.ports);
        let at_start = |c: &Config| (c.daemon.clone(), c.memory.clone(), c.workers.clone(), c.metrics.clone(), c.flow_cache.clone());
        let fixed = at_start(&old) != at_start(&new);
        prop_assert_eq!(fixed, !diff.restart_required.is_empty());
    }

    #[test]
    fn nothing_differs_from_itself(config in arbitrary::config()) {
        prop_assert!(diff(&config, &config).is_empty());
        prop_assert_eq!(config.on_running(&config, "itself"), Ok(config));
    }

    #[test]
    fn edited_text_is_read_or_refused_in_order(
        text in example(),
        edits in proptest::collection::vec((any::<usize>(), 0u8..5, "[ -~é\t]{0,12}"), 1..6),
    ) {
        let text = edits.iter().fold(text, |text, (at, how, with)| edit(&text, *at, *how, with));
        match parse(&text, "edited") {
            Ok(config) => prop_assert_eq!(parse(&config.to_toml(), "written"), Ok(config)),
            Err(errors) => {
                prop_assert!(!errors.0.is_empty());
                let lines = text.split('\n').count();
                prop_assert!(errors.0.is_sorted_by_key(|e| (e.line, e.column)));
                for error in &errors.0 {
                    let shown = error.to_string();
                    prop_assert!(!shown.chars().any(char::is_control), "{shown:?}");
                    prop_assert!(shown.contains(';') || shown.ends_with('?'), "nothing to do in {shown:?}");
                    prop_assert!((1..=lines).contains(&error.line), "{shown} of {lines} lines");
                    prop_assert!(error.column >= 1, "{shown}");
                }
            }
        }
    }
}
