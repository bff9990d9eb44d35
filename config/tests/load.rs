//! Files that are not what they should be.

use std::io::Write as _;
use std::path::Path;

use shunt_config::{Config, LoadError, load};

fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(load(file(b"").path()).unwrap(), Config::default());
}

#[test]
fn a_missing_file_is_named() {
    let error = load(Path::new("/nowhere/shunt.toml")).unwrap_err();
    assert!(matches!(error, LoadError::Read { .. }));
    let text = error.to_string();
    assert!(text.starts_with("cannot read /nowhere/shunt.toml: ") && text.contains("; give "), "{text}");
}

#[test]
fn an_endless_file_is_not_read_to_its_end() {
    assert!(
        matches!(load(Path::new("/dev/zero")).unwrap_err(), LoadError::TooLarge { limit, .. } if limit == 16 << 20)
    );
}

#[test]
fn bytes_that_are_not_text_have_a_place() {
    let file = file(b"[memory]\n# \xc3\xa9\xff\n");
    let LoadError::Invalid(errors) = load(file.path()).unwrap_err() else {
        panic!("not a mistake in the file")
    };
    assert_eq!((errors.0[0].line, errors.0[0].column), (2, 4));
}

#[test]
fn there_are_no_more_networks_than_numbers_for_them() {
    let text =
        |count: usize| (0..count).map(|n| format!("[[network]]\nname = \"n{n}\"\n")).collect::<String>();
    let errors = shunt_config::parse(&text(65_536), "many").unwrap_err();
    assert_eq!(
        errors.to_string(),
        "many:131071:1: network[65535]: more than 65535 sections [[network]]; remove some"
    );
    assert_eq!(shunt_config::parse(&text(65_535), "many").unwrap().networks.len(), 65_535);
}

#[test]
fn mistakes_name_the_file() {
    let file = file(b"[memory]\nmbufs = 1\n");
    let text = load(file.path()).unwrap_err().to_string();
    let name = file.path().display();
    assert_eq!(text, format!("{name}:2:9: memory.mbufs: 1 is out of range; choose 1024 to 4194304"));
}
