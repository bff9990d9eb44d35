//! The example files, the embedded default and docs/configuration.md agree with the parser and its list of keys.
//! After a change of keys, write the tables of the page anew with `SHUNT_BLESS=1 cargo test -p shunt-config --test examples`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use shunt_config::{Config, Key, SECTIONS, load, parse};

const KINDS: [&str; 8] = ["veth", "tap", "tun", "af_xdp", "vhost-user", "memif", "dpdk", "bond"];
const NETWORK_KINDS: [&str; 3] = ["bridge", "underlay", "overlay"];
/// Examples of networks: what each shows of them.
const NETWORK_EXAMPLES: [&str; 9] = [
    "bridge-trunk",
    "underlay-routed",
    "underlay-bridged",
    "underlay-demux",
    "overlay-vxlan-l3",
    "overlay-geneve-l2",
    "gre",
    "ipip",
    "overlay-underlay",
];

/// The kinds that `section` comes in.
fn kinds_of(section: &str) -> &'static [&'static str] {
    match section {
        "port" => &KINDS,
        "network" => &NETWORK_KINDS,
        _ => &["-"],
    }
}

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn examples() -> BTreeMap<String, String> {
    let files = std::fs::read_dir(here("examples")).unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .map(|path| {
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(path).unwrap())
        })
        .collect()
}

fn keys_of(section: &str, kind: &str) -> impl Iterator<Item = &'static Key> {
    let section = SECTIONS.iter().find(|s| s.name == section).unwrap();
    section.keys.iter().filter(move |k| k.kinds.is_empty() || k.kinds.contains(&kind))
}

/// Text in which every `#key` and `#[section]` without a blank after the `#` is live.
fn uncommented(text: &str) -> String {
    let live = |line: &str| {
        let code = line
            .strip_prefix('#')
            .filter(|rest| rest.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()));
        code.unwrap_or(line).to_owned() + "\n"
    };
    text.lines().map(live).collect()
}

#[test]
fn each_kind_has_its_example_and_each_example_loads() {
    let examples = examples();
    for kind in KINDS {
        let config = load(&here("examples").join(format!("{kind}.toml"))).unwrap_or_else(|e| panic!("{e}"));
        assert!(config.ports.iter().all(|p| p.kind.name() == kind), "{kind}.toml holds another kind");
        assert!(!config.ports.is_empty(), "{kind}.toml has no port");
    }
    for (name, text) in &examples {
        parse(text, name).unwrap_or_else(|e| panic!("{e}"));
    }
    for name in NETWORK_EXAMPLES {
        let config = parse(&examples[name], name).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(parse(&config.to_toml(), name), Ok(config), "{name} written out");
    }
    let config = parse(&examples["service"], "service").unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(parse(&config.to_toml(), "service"), Ok(config), "services written out");
    let policies = parse(&examples["policies"], "policies").unwrap();
    assert_eq!(parse(&policies.to_toml(), "policies"), Ok(policies), "policies written out");
    // Besides these: the embedded default, routing, masquerading, services, policies, metrics, gateway modes.
    assert_eq!(examples.len(), KINDS.len() + NETWORK_EXAMPLES.len() + 7, "an example nobody checks");
}

#[test]
fn every_key_is_used_by_an_example() {
    let mut unused: BTreeSet<(String, &str)> = BTreeSet::new();
    for section in SECTIONS {
        for key in section.keys {
            let kinds =
                kinds_of(section.name).iter().filter(|k| key.kinds.is_empty() || key.kinds.contains(k));
            // A key of every kind need not be shown once more in each.
            let kinds: Vec<_> = if key.kinds.is_empty() { vec!["*"] } else { kinds.copied().collect() };
            unused.extend(kinds.into_iter().map(|kind| (format!("{} {}", section.name, kind), key.name)));
        }
    }
    for (name, text) in examples() {
        let document: toml::Table = text.parse().unwrap();
        for (section, value) in &document {
            let tables = match value {
                toml::Value::Array(items) => items.clone(),
                other => vec![other.clone()],
            };
            for table in tables {
                let default = if section == "network" { "bridge" } else { "-" };
                let kind = table.get("kind").and_then(|k| k.as_str()).unwrap_or(default).to_owned();
                for key in table.as_table().unwrap_or_else(|| panic!("{name}: {section}")).keys() {
                    unused.retain(|(s, k)| {
                        !(k == key && (*s == format!("{section} {kind}") || *s == format!("{section} *")))
                    });
                }
            }
        }
    }
    assert_eq!(unused, BTreeSet::new(), "keys that no example shows");
}

#[test]
fn default_toml_is_the_embedded_default_and_shows_every_key() {
    let text = std::fs::read_to_string(here("examples/default.toml")).unwrap();
    assert_eq!(parse(&text, "default.toml").unwrap(), Config::default());
    let whole = uncommented(&text);
    let config = parse(&whole, "default.toml, uncommented").unwrap_or_else(|e| panic!("{e}"));
    let kinds: BTreeSet<_> = config.ports.iter().map(|p| p.kind.name()).collect();
    assert_eq!(kinds, KINDS.into());
    let kinds: BTreeSet<_> = config.networks.iter().map(|n| n.kind.name()).collect();
    assert_eq!(kinds, NETWORK_KINDS.into());
    for section in SECTIONS {
        for key in section.keys {
            assert!(
                whole.contains(&format!("\n{} = ", key.name)),
                "{}.{} is not in default.toml",
                section.name,
                key.name
            );
            if section.name != "port" && is_toml(&key) {
                let line = format!("\n{} = {}\n", key.name, key.default);
                assert!(
                    whole.contains(&line),
                    "default.toml has another default for {}.{}",
                    section.name,
                    key.name
                );
            }
        }
    }
}

/// True when the default of `key` is a value, not words.
fn is_toml(key: &&Key) -> bool {
    format!("x = {}", key.default).parse::<toml::Table>().is_ok()
}

#[test]
fn the_listed_defaults_are_the_real_ones() {
    let mut text = String::new();
    // What has a namespace is looked at by itself.
    let apart = ["port", "service", "namespace", "pod", "policy", "admin_policy"];
    for section in SECTIONS.iter().filter(|s| !apart.contains(&s.name)) {
        match section.repeated {
            true => writeln!(text, "[[{}]]\nname = \"default\"", section.name).unwrap(),
            false => writeln!(text, "[{}]", section.name).unwrap(),
        }
        let bridge = |key: &&Key| key.kinds.is_empty() || key.kinds.contains(&"bridge");
        for key in section.keys.iter().filter(is_toml).filter(bridge) {
            writeln!(text, "{} = {}", key.name, key.default).unwrap();
        }
    }
    let routers = parse("[[router]]\nname = \"default\"", "router").unwrap().routers;
    assert_eq!(parse(&text, "defaults").unwrap(), Config { routers, ..Config::default() });

    let least = "[[router]]\nname = \"r\"\n[[service]]\nname = \"shop/web\"\n";
    let mut full = least.to_owned();
    for key in keys_of("service", "-").filter(is_toml) {
        writeln!(full, "{} = {}", key.name, key.default).unwrap();
    }
    assert_eq!(parse(least, "service").unwrap(), parse(&full, "service").unwrap());
    for (section, needed) in [
        ("namespace", "name = \"n\""),
        ("pod", "namespace = \"n\"\nname = \"p\""),
        ("policy", "namespace = \"n\"\nname = \"p\""),
        ("admin_policy", "name = \"p\"\npriority = 1\nsubject = { namespace_selector = {} }"),
    ] {
        let least = format!("[[{section}]]\n{needed}\n");
        let mut full = least.clone();
        for key in keys_of(section, "-").filter(is_toml) {
            writeln!(full, "{} = {}", key.name, key.default).unwrap();
        }
        assert_eq!(parse(&least, section).unwrap(), parse(&full, section).unwrap(), "{section}");
    }

    for kind in KINDS {
        let needed = match kind {
            "veth" | "af_xdp" => "device = \"d\"",
            "tun" => "addresses = [\"10.0.0.2/24\"]",
            "vhost-user" | "memif" => "path = \"/s\"",
            "dpdk" => "devargs = \"net_null0\"",
            "bond" => "members = [{ kind = \"veth\", device = \"d\" }]",
            _ => "",
        };
        let least = format!("[[port]]\nname = \"p\"\nkind = \"{kind}\"\n{needed}\n");
        let mut full = least.clone();
        for key in keys_of("port", kind).filter(is_toml) {
            writeln!(full, "{} = {}", key.name, key.default).unwrap();
        }
        assert_eq!(parse(&least, kind).unwrap(), parse(&full, kind).unwrap(), "{kind}");
    }

    for (kind, needed) in [
        ("underlay", "bridge = \"b\"\nmode = \"bridged\"\n"),
        ("overlay", "encap = \"vxlan\"\nvni = 1\ntransport = \"b\"\n"),
    ] {
        let head = "[[router]]\nname = \"r\"\n[[network]]\nname = \"b\"\n";
        let gateways = if kind == "overlay" { "router = \"r\"\ngateways = [\"10.0.0.1/24\"]\n" } else { "" };
        let least = format!("{head}{gateways}[[network]]\nname = \"n\"\nkind = \"{kind}\"\n{needed}");
        let mut full = least.clone();
        for key in keys_of("network", kind).filter(is_toml).filter(|k| !matches!(k.name, "kind" | "mode")) {
            writeln!(full, "{} = {}", key.name, key.default).unwrap();
        }
        assert_eq!(parse(&least, kind).unwrap(), parse(&full, kind).unwrap(), "{kind}");
    }
}

#[test]
fn a_key_listed_as_required_is_required() {
    for kind in KINDS {
        let text = format!("[[port]]\nkind = \"{kind}\"\n");
        let errors = parse(&text, kind).unwrap_err();
        let missing: BTreeSet<_> = errors.0.iter().map(|e| e.key.trim_start_matches("port[0].")).collect();
        let required = keys_of("port", kind).filter(|k| k.default == "required" && k.name != "kind");
        assert_eq!(missing, required.map(|k| k.name).collect(), "{kind}: {errors}");
    }
    for kind in ["underlay", "overlay"] {
        let text = format!("[[network]]\nkind = \"{kind}\"\nrouter = \"r\"\n");
        let errors = parse(&text, kind).unwrap_err();
        let missing: BTreeSet<_> = errors.0.iter().map(|e| e.key.trim_start_matches("network[0].")).collect();
        let required = keys_of("network", kind).filter(|k| k.default == "required").map(|k| k.name);
        assert!(required.collect::<BTreeSet<_>>().is_subset(&missing), "{kind}: {errors}");
    }
}

/// The tables of docs/configuration.md by the name in their marker.
fn tables() -> BTreeMap<String, String> {
    let rows = |keys: &mut dyn Iterator<Item = &'static Key>| {
        let mut text = String::from("| key | takes | default | meaning |\n|---|---|---|---|\n");
        for key in keys {
            let default = match format!("x = {}", key.default).parse::<toml::Table>() {
                Ok(_) => format!("`{}`", key.default),
                Err(_) => key.default.to_owned(),
            };
            writeln!(text, "| `{}` | {} | {} | {} |", key.name, key.takes, default, key.meaning).unwrap();
        }
        text
    };
    let mut tables = BTreeMap::new();
    for section in SECTIONS {
        tables.insert(section.name.to_owned(), rows(&mut section.keys.iter().filter(|k| k.kinds.is_empty())));
    }
    for section in ["port", "network"] {
        for kind in kinds_of(section) {
            let own = &mut keys_of(section, kind).filter(|k| !k.kinds.is_empty());
            tables.insert(format!("{section} {kind}"), rows(own));
        }
    }
    tables
}

#[test]
fn the_page_has_every_key() {
    let page = here("../docs/configuration.md");
    let text = std::fs::read_to_string(&page).unwrap();
    let mut wanted = text.clone();
    for (name, table) in tables() {
        let (open, close) = (format!("<!-- keys: {name} -->\n"), "<!-- end -->");
        let start =
            wanted.find(&open).unwrap_or_else(|| panic!("no {open} in docs/configuration.md")) + open.len();
        let end = start + wanted[start..].find(close).expect("the marker has an end");
        wanted.replace_range(start..end, &table);
    }
    if std::env::var_os("SHUNT_BLESS").is_some() {
        std::fs::write(&page, &wanted).unwrap();
    } else {
        assert_eq!(
            text, wanted,
            "docs/configuration.md differs from the list of keys; see the top of this test"
        );
    }
}
