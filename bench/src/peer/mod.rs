//! What the switch is held against, each started privately: own directory, own sockets, own namespace.

pub mod ovs;
pub mod testpmd;
