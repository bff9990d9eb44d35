//! Closing a port's device and opening it again, for a device that has lost its way.

use super::Control;
use super::apply::{Applied, ApplyError};

impl Control {
    /// Closes the port `name` and opens it again with the same configuration. What was learned behind it is forgotten,
    /// its counters begin anew; other ports are not disturbed. When its device does not open, the port stays down and
    /// is tried again like one that died.
    ///
    /// # Errors
    /// When there is no such port, or its device did not open.
    pub fn reset_port(&mut self, name: &str) -> Result<Applied, ApplyError> {
        let Some(port) = self.config.port(name).cloned() else {
            return Err(ApplyError::NoPort(name.to_owned()));
        };
        self.remove(&port.name);
        let opened = self.open(&port, &self.config);
        let refused = opened.as_ref().err().map(|error| crate::port::OpenError {
            port: error.port.clone(),
            message: format!("{}; it is tried again until it opens", error.message),
        });
        let name = port.name.clone();
        let queues = self.adopt(port, opened).map_err(|error| ApplyError::Ports(vec![error]))?;
        self.publish_and_wait(&format!("port {name} reset"));
        self.start_receiving(queues);
        match refused {
            Some(error) => Err(ApplyError::Ports(vec![error])),
            None => Ok(Applied {
                generation: self.reports.generation(),
                changed: vec![name],
                ..Applied::default()
            }),
        }
    }
}
