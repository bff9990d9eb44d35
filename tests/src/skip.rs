//! Tests that cannot run here: said, written down and counted, never silent.
//!
//! A skipped test looks like a passed one to the runner, which also hides its output. So the reason goes to standard
//! error and to the file named by `SHUNT_SKIP_LOG`; `scripts/test` counts its lines and takes them off the passed ones.

use std::fs::OpenOptions;
use std::io::Write;
use std::{env, thread};

/// Prints `SKIP: <test>: <reason>` and returns from the test.
#[macro_export]
macro_rules! skip {
    ($($reason:tt)+) => {{
        $crate::skip::record(&format!($($reason)+));
        return $crate::skip::Outcome::skipped();
    }};
}

/// Skips the test unless each requirement of [`requires`] holds:
/// `require!(root(), tool("iperf3"), hugepages(64))`.
#[macro_export]
macro_rules! require {
    ($($what:ident($($arg:expr),*)),+ $(,)?) => {$(
        if let Err(reason) = $crate::skip::requires::$what($($arg),*) {
            $crate::skip!("{reason}");
        }
    )+};
}

/// What a test returns: nothing, or a `Result` of nothing.
pub trait Outcome {
    /// The value of a test that did not fail.
    fn skipped() -> Self;
}

impl Outcome for () {
    fn skipped() -> Self {}
}

impl<E> Outcome for Result<(), E> {
    fn skipped() -> Self {
        Ok(())
    }
}

/// Says that the running test is skipped, and why.
pub fn record(reason: &str) {
    let test = test_name();
    eprintln!("SKIP: {test}: {reason}");
    let Some(path) = env::var_os("SHUNT_SKIP_LOG") else { return };
    // One write of one line: lines of parallel tests do not mix (O_APPEND).
    let line = format!("{test}: {reason}\n");
    let written = OpenOptions::new()
        .append(true)
        .create(true)
        .open(&path)
        .and_then(|mut f| f.write_all(line.as_bytes()));
    if let Err(error) = written {
        panic!("cannot note a skipped test in {}: {error}", path.display());
    }
}

fn test_name() -> String {
    // libtest names the thread after the test, unless it runs the test on the main thread; nextest says it itself.
    let binary = env::var("NEXTEST_BINARY_ID").map(|b| b + "::").unwrap_or_default();
    let test = env::var("NEXTEST_TEST_NAME").ok();
    binary + test.as_deref().or(thread::current().name()).unwrap_or("unnamed test")
}

/// What a test may need. Each says in one line what is missing and how to get it.
pub mod requires {
    use std::path::Path;

    use crate::{guest::Kernel, hugepages, paths, shuntd};

    /// Root: namespaces and devices can be made.
    pub fn root() -> Result<(), String> {
        if nix::unistd::geteuid().is_root() { Ok(()) } else { Err("needs root: run it with sudo".into()) }
    }

    /// A program on the path.
    pub fn tool(name: &str) -> Result<(), String> {
        let found = paths::program(name).map(drop);
        found.ok_or_else(|| format!("no {name} on the path: run scripts/setup test"))
    }

    /// A file or device of the system.
    pub fn file(path: &str) -> Result<(), String> {
        if Path::new(path).exists() { Ok(()) } else { Err(format!("no {path} on this machine")) }
    }

    /// That this many 2 MiB pages can be reserved (they are given back at once; a test then takes its own).
    pub fn hugepages(pages: u32) -> Result<(), String> {
        hugepages::Hugepages::reserve(pages).map(drop).map_err(|e| e.to_string())
    }

    /// A kernel and the programs for a [`guest`](crate::guest); fetches the kernel the first time.
    pub fn guest() -> Result<(), String> {
        tool("qemu-system-x86_64")?;
        file(crate::guest::BUSYBOX)?;
        Kernel::find().map(drop).map_err(|e| e.to_string())
    }

    /// The daemon and the CLI, built.
    pub fn shuntd() -> Result<(), String> {
        shuntd::binary("shuntd").and(shuntd::binary("shunt")).map(drop).map_err(|e| e.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_says_what_is_missing() {
        assert!(requires::tool("no-such-tool").unwrap_err().contains("no-such-tool"));
        assert!(requires::file("/no/such/file").unwrap_err().contains("/no/such/file"));
        assert_eq!(requires::tool("sh"), Ok(()));
    }

    #[test]
    fn the_running_test_is_named() {
        assert!(test_name().ends_with("skip::tests::the_running_test_is_named"), "{}", test_name());
    }

    #[test]
    fn a_requirement_that_does_not_hold_ends_the_test() {
        fn body(reached: &mut bool) -> Result<(), String> {
            require!(tool("sh"), file("/no/such/file"));
            *reached = true;
            Err("not reached".into())
        }
        if env::var_os("SHUNT_SKIP_LOG").is_some() {
            // This test's own skip must not be counted: run it once more without the log.
            let exe = env::current_exe().unwrap().to_string_lossy().into_owned();
            let test = "skip::tests::a_requirement_that_does_not_hold_ends_the_test";
            let again = ["env", "-u", "SHUNT_SKIP_LOG", &exe, "--exact", test, "--nocapture"];
            let said = crate::Cmd::new(again).check().unwrap().stderr;
            assert!(said.contains("SKIP: ") && said.contains("no /no/such/file"), "{said}");
            return;
        }
        let mut reached = false;
        assert_eq!(body(&mut reached), Ok(()));
        assert!(!reached);
    }
}
