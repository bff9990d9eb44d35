//! The pages under `docs/` agree with the tree: what they link to is there, and code that a page shows as a difference is the code.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// All pages: path and text.
fn pages() -> Vec<(PathBuf, String)> {
    let mut found = vec![root().join("README.md")];
    for folder in ["docs", "docs/adr", "docs/ports"] {
        let entries = fs::read_dir(root().join(folder)).unwrap();
        found.extend(
            entries
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.extension().is_some_and(|it| it == "md")),
        );
    }
    found.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    for (page, text) in pages() {
        // `](target)`; code has brackets, too, but no such pair.
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap();
            let elsewhere = link.contains("://") || target.is_empty() || target.contains(' ');
            if !elsewhere && !page.parent().unwrap().join(target).exists() {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn code_shown_as_a_difference_is_the_code() {
    let mut shown = 0;
    for (page, text) in pages() {
        let mut source: Option<(String, String)> = None;
        let mut inside = false;
        for line in text.lines() {
            match line {
                "```diff" => inside = true,
                "```" => inside = false,
                _ if !inside => {}
                line if line.starts_with("+++ b/") => {
                    let path = line.trim_start_matches("+++ b/");
                    source = Some((path.to_owned(), fs::read_to_string(root().join(path)).unwrap()));
                }
                line => {
                    let Some(added) = line.strip_prefix('+') else { continue };
                    let (path, code) = source.as_ref().expect("a file before its lines");
                    assert!(
                        code.lines().any(|line| line == added),
                        "{}: {path} has no line {added:?}",
                        page.display()
                    );
                    shown += 1;
                }
            }
        }
    }
    assert!(shown > 10, "{shown} lines");
}
