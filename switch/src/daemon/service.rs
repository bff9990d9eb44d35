//! What the service manager is told, when there is one (`NOTIFY_SOCKET`, sd_notify(3)). Without one, nothing happens.

use sd_notify::NotifyState;

use crate::control::Handle;

/// The start is complete: ports are open and the control socket answers.
pub(super) fn ready(control: &Handle) {
    let status = summary(control);
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// A reload begins; [`ready`] ends it. systemd takes it only together with the time.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "the clock could not be read for the service manager"),
    }
}

/// The end begins.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn summary(control: &Handle) -> String {
    control.call(|control| control.topology()).map_or_else(
        |stopped| stopped.to_string(),
        |now| {
            format!("generation {}, networks: {}, ports: {}", now.generation, now.networks.len(), now.ports)
        },
    )
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}
