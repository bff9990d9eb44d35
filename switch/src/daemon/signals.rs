//! Signals: the main thread waits for them, all other threads have them blocked.

use std::path::Path;

use nix::sys::signal::{SigSet, Signal};

use super::service;
use crate::control::Handle;

/// The signals the daemon acts on, blocked in every thread that starts from here.
#[derive(Debug)]
pub(super) struct Signals {
    set: SigSet,
}

impl Signals {
    /// Blocks them in this thread and those it starts; from now on they wait to be asked for.
    pub(super) fn claim() -> std::io::Result<Self> {
        let mut set = SigSet::empty();
        for signal in [Signal::SIGHUP, Signal::SIGTERM, Signal::SIGINT] {
            set.add(signal);
        }
        set.thread_block()?;
        Ok(Self { set })
    }

    /// Acts on signals until one says to stop.
    pub(super) fn serve(&self, file: Option<&Path>, control: &Handle) {
        loop {
            match self.set.wait() {
                Ok(Signal::SIGHUP) => reload(file, control),
                Ok(signal) => {
                    tracing::info!(%signal, "stopping");
                    return;
                }
                Err(errno) => {
                    tracing::error!(%errno, "signals can no longer be waited for; stopping");
                    return;
                }
            }
        }
    }
}

/// Reads the configuration again and applies it. What goes wrong is logged, one message a mistake, and changes nothing.
fn reload(file: Option<&Path>, control: &Handle) {
    let Some(file) = file else {
        tracing::warn!(
            "SIGHUP: there is no file to read again; start with --config FILE or use `shunt apply`"
        );
        return;
    };
    service::reloading();
    match shunt_config::load(file) {
        Ok(next) => match control.call(move |control| control.reload(&next)) {
            Ok(Ok(applied)) => {
                tracing::info!(
                    generation = applied.generation,
                    added = applied.added.len(),
                    removed = applied.removed.len(),
                    changed = applied.changed.len(),
                    "configuration read again"
                );
                applied.notes.iter().for_each(|note| tracing::error!("{note}"));
            }
            Ok(Err(error)) => refuse(&error),
            Err(stopped) => refuse(&stopped),
        },
        Err(error) => refuse(&error),
    }
    service::ready(control);
}

fn refuse(error: &dyn std::error::Error) {
    for line in error.to_string().lines() {
        tracing::error!("{line}");
    }
    tracing::error!("the configuration was not applied; the running one stays");
}
