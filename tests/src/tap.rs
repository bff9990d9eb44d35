//! The kernel side of a `tap` or `tun` port: shuntd makes the device, the test gives it addresses.

use std::thread;
use std::time::{Duration, Instant};

use crate::{Interface, LabError, Netns};

/// Waits until the device stands in the namespace (shuntd makes or moves it), then sets it up.
///
/// # Errors
/// The device did not come within `timeout`, or refuses the settings.
pub fn configure(netns: &Netns, interface: &Interface<'_>, timeout: Duration) -> Result<(), LabError> {
    let deadline = Instant::now() + timeout;
    while let Err(error) = netns.exec(&["ip", "link", "show", "dev", interface.name]) {
        if Instant::now() >= deadline {
            return Err(error);
        }
        thread::sleep(Duration::from_millis(10));
    }
    interface.configure(netns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::require;

    #[test]
    fn an_existing_device_gets_its_settings() {
        require!(root(), file("/dev/net/tun"));
        let pod = Netns::new().unwrap();
        pod.exec(&["ip", "tuntap", "add", "dev", "eth0", "mode", "tap"]).unwrap();
        let eth0 = Interface {
            mac: Some("02:00:00:00:00:0a"),
            addrs: &["10.0.0.1/24"],
            mtu: 9000,
            ..Default::default()
        };
        configure(&pod, &eth0, Duration::ZERO).unwrap();
        let shown = pod.exec(&["ip", "addr", "show", "dev", "eth0"]).unwrap().stdout;
        for part in ["mtu 9000", "02:00:00:00:00:0a", "10.0.0.1/24", "UP"] {
            assert!(shown.contains(part), "no {part} in {shown}");
        }
    }

    #[test]
    fn a_device_that_never_comes_is_an_error() {
        require!(root());
        let pod = Netns::new().unwrap();
        assert!(configure(&pod, &Interface::default(), Duration::from_millis(20)).is_err());
    }
}
