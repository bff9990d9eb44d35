//! Scenarios read, and refused.

use super::*;

const LEAST: &str = "[devices]\ntx = \"net_ring0\"\n[rate]\nframes_per_second = 1000\n";

fn refused(text: &str) -> String {
    Scenario::parse(text, "x.toml").unwrap_err().to_string()
}

#[test]
fn little_is_needed_and_the_rest_has_defaults() {
    let scenario = Scenario::parse(LEAST, "x.toml").unwrap();
    assert_eq!((scenario.frames.sizes(), scenario.flows.count), (vec![64], 1));
    let five = Duration::from_secs(5);
    assert_eq!(scenario.fixed(), Some(("rate", Load::Rate(1000.0), five)));
}

#[test]
fn mistakes_are_named_with_their_place() {
    let text = refused(&(LEAST.to_owned() + "secnods = 3\n"));
    assert!(
        text.contains("x.toml: ") && text.contains("line 5") && text.contains("unknown field `secnods`"),
        "{text}"
    );
    let text = refused(&LEAST.replace("net_ring0\"", "net_ring0\"\nmtu = \"big\""));
    assert!(text.contains("line 3") && text.contains("mtu"), "{text}");
    let text = refused("[devices]\ntx = \"a\"\n");
    assert!(text.contains("0 loads are given"), "{text}");
    let text = refused(&(LEAST.to_owned() + "[fastest]\n"));
    assert!(text.contains("2 loads are given"), "{text}");
    let text = refused(&(LEAST.to_owned() + "[frames]\nsizes = [64, 63]\n"));
    assert!(text.contains("64 to 9600"), "{text}");
    let text = refused(&(LEAST.to_owned() + "[frames]\nsource_mac = \"2:0\"\n"));
    assert!(text.contains("`2:0` is no MAC address"), "{text}");
    let text = refused("[devices]\ntx = \"a\"\n[search]\nloss_percent = [100.0]\n");
    assert!(text.contains("loss_percent"), "{text}");
}

#[test]
fn every_scenario_that_comes_with_us_is_one() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut count = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let scenario = Scenario::load(&path).unwrap_or_else(|error| panic!("{error}"));
        assert!(!scenario.about.is_empty(), "{}: say what it is for", path.display());
        count += 1;
    }
    assert!(count >= 5, "{count} scenarios");
}

#[test]
fn the_example_of_all_keys_has_the_defaults() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let said = Scenario::load(&dir.join("all-keys.toml")).unwrap();
    let mut least = Scenario::parse("[devices]\ntx = \"net_ring0\"\n[search]\n", "x.toml").unwrap();
    least.about.clone_from(&said.about);
    least.devices.rx.clone_from(&said.devices.rx);
    assert_eq!(format!("{said:?}"), format!("{least:?}"));
}
