//! Rules of table 0 about who may send, and for whom the switch answers: `pipeline/spoof.rs` and `pipeline/ingress.rs` in words.

use std::net::IpAddr;

use super::compose::{Rules, drop, goto, priority};
use super::uses::RuleId;
use crate::control::flows::words;
use crate::pipeline::{ingress, lookup};
use crate::topology::{Answers, Identity, Network, Port};
use crate::wire::ethernet::Mac;

/// Any address that a station has before or beside its own.
const NOBODYS: [(&str, &str); 3] =
    [("ip", "nw_src=0.0.0.0"), ("ipv6", "ipv6_src=::"), ("ipv6", "ipv6_src=fe80::/10")];

impl Rules<'_> {
    /// What a port lets in whose stations are given: these, with their addresses; `vlan` is the term about its tag, `strip` and
    /// `enter` lead into the network.
    pub(super) fn given_senders(
        &mut self,
        port: &Port,
        network: &Network,
        identity: &Identity,
        (vlan, strip, enter): (&str, &str, &str),
    ) {
        let from = |family: &str, mac: Option<Mac>, more: &[String]| {
            let mac = mac.map_or_else(String::new, |mac| format!("dl_src={}", words::mac(mac)));
            let start = [family.to_owned(), format!("in_port={}", port.name), vlan.to_owned(), mac];
            start.into_iter().chain(more.iter().cloned()).collect::<Vec<String>>()
        };
        let on = || vec![strip.to_owned(), enter.to_owned(), goto(lookup::TABLE)];
        let id = |mac, address| RuleId::Sender(port.id, network.id, mac, address);
        for (mac, addresses) in identity.iter() {
            for address in addresses {
                let (family, source) = match address {
                    IpAddr::V4(v4) => ("ip", format!("nw_src={v4}")),
                    IpAddr::V6(v6) => ("ipv6", format!("ipv6_src={v6}")),
                };
                let terms = from(family, Some(mac), &[source]);
                self.add(id(mac, Some(*address)), ingress::TABLE, priority::ADMIT, terms, on());
                let own = words::mac(mac);
                let claim = match address {
                    IpAddr::V4(v4) => {
                        from("arp", Some(mac), &[format!("arp_sha={own}"), format!("arp_spa={v4}")])
                    }
                    IpAddr::V6(v6) => {
                        let target = [format!("icmp_type=136,nd_target={v6}"), format!("nd_tll={own}")];
                        from("icmp6", Some(mac), &target)
                    }
                };
                self.add(RuleId::None, ingress::TABLE, priority::CLAIM, claim, on());
            }
            for (family, source) in NOBODYS {
                let terms = from(family, Some(mac), &[source.to_owned()]);
                self.add(RuleId::None, ingress::TABLE, priority::ADMIT, terms, on());
            }
            self.add(id(mac, None), ingress::TABLE, priority::ADMIT_OTHER, from("", Some(mac), &[]), on());
        }
        for family in ["ip", "ipv6", "arp"] {
            self.add(RuleId::None, ingress::TABLE, priority::SPOOFED, from(family, None, &[]), drop());
        }
        self.add(RuleId::None, ingress::TABLE, priority::STRANGER, from("", None, &[]), drop());
    }

    /// Requests for others' addresses that the switch answers.
    pub(super) fn proxy_answers(&mut self, network: &Network) {
        let of = self.of(network.id);
        let answer = |mac: Mac| vec![format!("mod_dl_src:{}", words::mac(mac)), "IN_PORT".to_owned()];
        match (network.answers, &network.gateway) {
            (Answers::Given, _) => {
                let given = network.neighbors.iter().filter(|row| row.neighbor.fixed && !row.neighbor.own);
                let mut given: Vec<_> = given.collect();
                given.sort_by_key(|row| row.address);
                for row in given {
                    let terms = match row.address {
                        IpAddr::V4(v4) => {
                            vec!["arp".into(), of.clone(), format!("arp_tpa={v4}"), "arp_op=1".into()]
                        }
                        IpAddr::V6(v6) => {
                            vec![
                                "icmp6".into(),
                                of.clone(),
                                "icmp_type=135".into(),
                                format!("nd_target={v6}"),
                            ]
                        }
                    };
                    self.add(RuleId::None, ingress::TABLE, priority::PROXY, terms, answer(row.neighbor.mac));
                }
            }
            // Everybody's but those of stations behind the port that asks, which no match can say.
            (Answers::Everybody, Some(gateway)) => {
                for family in [["arp", "arp_op=1"], ["icmp6", "icmp_type=135"]] {
                    let [family, request] = family.map(ToOwned::to_owned);
                    let terms = vec![family, of.clone(), request];
                    self.add(RuleId::None, ingress::TABLE, priority::PROXY, terms, answer(gateway.mac));
                }
            }
            _ => {}
        }
    }

    /// Table 16 of a network whose stations share a MAC address.
    pub(super) fn demux(&mut self, network: &Network) {
        let Some(demux) = &network.demux else { return };
        let (of, shared) = (self.of(network.id), format!("dl_dst={}", words::mac(demux.mac)));
        let mut stations: Vec<_> = network.neighbors.iter().filter(|row| !row.neighbor.own).collect();
        stations.sort_by_key(|row| row.address);
        for row in stations {
            let Some(entry) = network.fdb.get(row.neighbor.mac) else { continue };
            let actions = self.leave(network, entry.place());
            let (family, destination) = match row.address {
                IpAddr::V4(v4) => ("ip", format!("nw_dst={v4}")),
                IpAddr::V6(v6) => ("ipv6", format!("ipv6_dst={v6}")),
            };
            let terms = vec![family.to_owned(), of.clone(), shared.clone(), destination];
            let id = RuleId::Shared(network.id, row.address);
            self.add(id, lookup::TABLE, priority::SHARED, terms, actions.clone());
            let asked = match row.address {
                IpAddr::V4(v4) => vec!["arp".into(), of.clone(), format!("arp_tpa={v4}")],
                IpAddr::V6(v6) => {
                    vec!["icmp6".into(), of.clone(), "icmp_type=135".into(), format!("nd_target={v6}")]
                }
            };
            self.add(RuleId::None, lookup::TABLE, priority::SHARED, asked, actions);
        }
        let rest = match demux.host {
            Some(host) => self.leave(network, crate::table::fdb::Place::Port(host)),
            None => drop(),
        };
        self.add(
            RuleId::SharedHost(network.id),
            lookup::TABLE,
            priority::SHARED_HOST,
            vec![of, shared],
            rest,
        );
    }
}
