//! The counters that testpmd prints.

use crate::LabError;

/// `show port stats`: the driver's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStats {
    /// Frames received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Frames lost for want of a descriptor.
    pub rx_missed: u64,
    /// Frames received in error.
    pub rx_errors: u64,
    /// Receives that found no mbuf.
    pub rx_nombuf: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames that could not be sent.
    pub tx_errors: u64,
}

/// `stop`: all ports together, from start to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForwardStats {
    /// Frames received.
    pub rx_packets: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Frames that found the transmit ring full.
    pub tx_dropped: u64,
}

pub(super) fn port(text: &str) -> Result<PortStats, LabError> {
    let get = |label| number(text, label);
    Ok(PortStats {
        rx_packets: get("RX-packets:")?,
        rx_bytes: get("RX-bytes:")?,
        rx_missed: get("RX-missed:")?,
        rx_errors: get("RX-errors:")?,
        rx_nombuf: get("RX-nombuf:")?,
        tx_packets: get("TX-packets:")?,
        tx_bytes: get("TX-bytes:")?,
        tx_errors: get("TX-errors:")?,
    })
}

pub(super) fn forward(text: &str) -> Result<ForwardStats, LabError> {
    let what = "testpmd's accumulated statistics";
    let all = text
        .split_once("Accumulated forward statistics")
        .ok_or(LabError::Parse { what, text: text.to_owned() })?
        .1;
    Ok(ForwardStats {
        rx_packets: number(all, "RX-packets:")?,
        tx_packets: number(all, "TX-packets:")?,
        tx_dropped: number(all, "TX-dropped:")?,
    })
}

fn number(text: &str, label: &'static str) -> Result<u64, LabError> {
    let value = text.split_once(label).and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok());
    value.ok_or_else(|| LabError::Parse { what: label, text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: &str = "
  ######################## NIC statistics for port 0  ########################
  RX-packets: 3          RX-missed: 1          RX-bytes:  180
  RX-errors: 2
  RX-nombuf:  4
  TX-packets: 9549248    TX-errors: 5          TX-bytes:  611151872

  Throughput (since last show)
  Rx-pps:            0          Rx-bps:            0";

    const STOP: &str = "
  ---------------------- Forward statistics for port 0  ----------------------
  RX-packets: 1              RX-dropped: 0             RX-total: 1
  TX-packets: 1              TX-dropped: 1             TX-total: 2
  ----------------------------------------------------------------------------

  +++++++++++++++ Accumulated forward statistics for all ports+++++++++++++++
  RX-packets: 7              RX-dropped: 0             RX-total: 7
  TX-packets: 8              TX-dropped: 9             TX-total: 17";

    #[test]
    fn port_counters_are_read() {
        let want = PortStats {
            rx_packets: 3,
            rx_bytes: 180,
            rx_missed: 1,
            rx_errors: 2,
            rx_nombuf: 4,
            tx_packets: 9_549_248,
            tx_bytes: 611_151_872,
            tx_errors: 5,
        };
        assert_eq!(port(PORT).unwrap(), want);
        assert!(port("Invalid port 7").is_err());
    }

    #[test]
    fn stop_reports_all_ports() {
        assert_eq!(forward(STOP).unwrap(), ForwardStats { rx_packets: 7, tx_packets: 8, tx_dropped: 9 });
        assert!(forward("Packet forwarding not started").is_err());
    }
}
