//! Scraping the daemon as others do: by curl, read by the Prometheus project's own parser.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;
use shunt_tests::Cmd;

use crate::node::Node;

/// Where the daemons of these tests serve.
pub(crate) const LISTEN: &str = "127.0.0.1:9464";
/// The parser, of the Debian package python3-prometheus-client.
pub(crate) const PARSER: &str = "/usr/lib/python3/dist-packages/prometheus_client/openmetrics/parser.py";

/// An answer: its status, its content type and its text.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) kind: String,
    pub(crate) text: String,
}

/// Asks the daemon for `path`.
#[track_caller]
pub(crate) fn get(node: &Node, path: &str, options: &[&str]) -> Answer {
    let url = format!("http://{LISTEN}{path}");
    let argv = ["curl", "-sS", "--max-time", "8", "-w", "\n%{http_code} %{content_type}"];
    let output =
        Cmd::new(argv).args(options.iter().copied()).args([url]).within(&node.netns).check().unwrap();
    let (text, last) = output.stdout.rsplit_once('\n').unwrap();
    let (status, kind) = last.split_once(' ').unwrap();
    Answer { status: status.parse().unwrap(), kind: kind.to_owned(), text: text.to_owned() }
}

/// A family as its page describes it.
#[derive(Clone, Debug)]
pub(crate) struct Family {
    /// As it is queried: with unit, and `_total` where it counts.
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) help: String,
}

/// A page that was parsed.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) families: Vec<Family>,
    samples: BTreeMap<String, f64>,
}

impl Page {
    /// Scrapes and parses, which fails for whatever the format forbids.
    #[track_caller]
    pub(crate) fn of(node: &Node) -> Self {
        let answer = get(node, "/metrics", &["-H", "Accept: application/openmetrics-text; version=1.0.0"]);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
        let file = node.path("page.txt");
        fs::write(&file, &answer.text).unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/metrics/parse.py");
        // The system's own: another one on the path may lack the package.
        let parsed = Cmd::new(["/usr/bin/python3", script, &file.to_string_lossy()]).check().unwrap().stdout;
        Self::read(&serde_json::from_str(&parsed).unwrap())
    }

    fn read(parsed: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let (mut families, mut samples) = (Vec::new(), BTreeMap::new());
        for family in parsed.as_array().unwrap() {
            let (name, kind) = (text(&family["name"]), text(&family["type"]));
            let suffix = match kind.as_str() {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            families.push(Family { name: name + suffix, kind, help: text(&family["help"]) });
            for sample in family["samples"].as_array().unwrap() {
                let labels = sample[1].as_object().unwrap();
                let labels: Vec<String> =
                    labels.iter().map(|(key, value)| format!("{key}={}", text(value))).collect();
                let series = format!("{}{{{}}}", text(&sample[0]), labels.join(","));
                let before = samples.insert(series.clone(), sample[2].as_f64().unwrap());
                assert_eq!(before, None, "{series} is there twice");
            }
        }
        Self { families, samples }
    }

    /// The value of a series, written `name{label=value,...}` with its labels in alphabetical order.
    pub(crate) fn find(&self, series: &str) -> Option<f64> {
        self.samples.get(series).copied()
    }

    /// The same of one that must be there.
    #[track_caller]
    pub(crate) fn value(&self, series: &str) -> f64 {
        self.find(series).unwrap_or_else(|| panic!("there is no {series}"))
    }

    /// All series that count.
    pub(crate) fn counters(&self) -> impl Iterator<Item = (&str, f64)> {
        let counts =
            |name: &str| name.contains("_total{") || name.contains("_bucket{") || name.contains("_count{");
        self.samples.iter().filter(move |(name, _)| counts(name)).map(|(name, value)| (name.as_str(), *value))
    }
}
