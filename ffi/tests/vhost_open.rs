//! What a vhost-user port says when it cannot be opened, and what it clears away.

mod vhost_support;

use std::os::unix::net::UnixListener;
use std::path::Path;

use shunt_ffi::vhost::{VhostError, VhostOptions, VhostPort};
use vhost_support::{Port, options, site};

fn refused(options: &VhostOptions) -> VhostError {
    match VhostPort::open(site().0, options, |_| {}) {
        Ok(_) => panic!("{options:?} opened"),
        Err(error) => {
            let text = error.to_string();
            assert!(!text.contains('\n') && text.contains(&options.path), "{text}");
            error
        }
    }
}

#[test]
fn a_path_in_use_is_busy_and_stays_with_its_owner() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let first = Port::open(&options(&path));
    assert!(matches!(refused(&options(&path)), VhostError::Busy { .. }));
    assert!(path.exists(), "the first port keeps its socket");
    drop(first);
    let other = UnixListener::bind(&path).unwrap();
    assert!(matches!(refused(&options(&path)), VhostError::Busy { .. }));
    drop(other);
    // The file is still there, but nobody listens: it is replaced.
    assert!(path.exists());
    drop(Port::open(&options(&path)));
    assert!(!path.exists());
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(refused(&options(&path)), VhostError::NotSocket { .. }));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn impossible_paths_and_queues_are_named() {
    let long = format!("/tmp/{}", "a".repeat(103));
    assert_eq!(long.len(), 108);
    let error = refused(&options(Path::new(&long)));
    assert!(matches!(error, VhostError::PathTooLong { length: 108, max: 107, .. }), "{error}");
    assert!(matches!(refused(&options(Path::new(""))), VhostError::PathInvalid { .. }));
    assert!(matches!(refused(&options(Path::new("/nowhere/at/all/s"))), VhostError::Socket { .. }));
    for (queues, tx_queues) in [(0, 1), (1, 0), (129, 1)] {
        let wanted = VhostOptions { queues, tx_queues, ..options(Path::new("/tmp/unused")) };
        assert!(matches!(refused(&wanted), VhostError::Queues { .. }));
    }
}

#[test]
fn ports_come_and_go_a_hundred_times() {
    let directory = tempfile::tempdir().unwrap();
    let before = std::fs::read_dir("/proc/self/fd").unwrap().count();
    let path = directory.path().join("s");
    let mut most = 0;
    for _ in 0..100 {
        let port = Port::open(&options(&path));
        most = most.max(std::fs::read_dir("/proc/self/fd").unwrap().count());
        drop(port);
    }
    let after = std::fs::read_dir("/proc/self/fd").unwrap().count();
    // EAL, started by the first port, has some of its own.
    let one = Port::open(&options(&path));
    let with_one = std::fs::read_dir("/proc/self/fd").unwrap().count();
    assert_eq!(with_one, most, "{before} before, {after} after");
    drop(one);
    assert!(!path.exists());
}
