//! What has to be checked of the configuration that objects lead to: all that they can be in conflict with. A service collides
//! with others by name, address or node port only, so of ten thousand services few are looked at again.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use crate::service::port::ServiceProtocol;
use crate::{Config, ConfigErrors, RouterName, Service, ServiceName};

/// Places of services, in order.
#[derive(Debug)]
pub(super) struct Concerned(Vec<usize>);

/// What no other service may have.
#[derive(PartialEq, Eq, Hash)]
enum Own<'s> {
    Name(&'s ServiceName),
    Address(&'s RouterName, IpAddr),
    NodePort(&'s RouterName, ServiceProtocol, u16),
}

fn own(service: &Service) -> impl Iterator<Item = Own<'_>> {
    let addresses =
        [&service.cluster_ips, &service.load_balancer_ips, &service.external_ips].into_iter().flatten();
    let addresses = addresses.map(|address| Own::Address(&service.router, *address));
    let ports = service.ports.iter();
    let ports = ports.filter_map(|port| Some(Own::NodePort(&service.router, port.protocol, port.node_port?)));
    std::iter::once(Own::Name(&service.name)).chain(addresses).chain(ports)
}

impl Concerned {
    /// All services.
    pub(super) fn all(config: &Config) -> Self {
        Self((0..config.services.len()).collect())
    }

    /// The services at `touched`, and those with which they have something in common.
    pub(super) fn by(config: &Config, touched: &[usize]) -> Self {
        let touched: HashSet<usize> = touched.iter().copied().collect();
        let taken = touched.iter().filter_map(|at| config.services.get(*at));
        let taken: HashSet<Own<'_>> = taken.flat_map(|service| own(service)).collect();
        let meets = |(at, service): &(usize, &Arc<Service>)| {
            touched.contains(at) || own(service).any(|one| taken.contains(&one))
        };
        Self(config.services.iter().enumerate().filter(meets).map(|(at, _)| at).collect())
    }

    /// `config` when it has no mistakes, and when `without_cluster` says that pods and policies have none.
    ///
    /// # Errors
    /// Every mistake, with the places of services in `config`.
    pub(super) fn checked(
        &self,
        config: Config,
        without_cluster: bool,
        origin: &str,
    ) -> Result<Config, ConfigErrors> {
        let chosen = self.0.iter().filter_map(|at| config.services.get(*at).cloned());
        let part = Config {
            services: chosen.collect(),
            cluster: if without_cluster { Arc::default() } else { config.cluster.clone() },
            ..config.clone()
        };
        let checked = crate::parse(&part.to_toml(), origin).map_err(|errors| self.replaced(errors))?;
        Ok(Config { services: config.services, cluster: config.cluster, ..checked })
    }

    /// The errors of a part, with the places of services in the whole.
    fn replaced(&self, mut errors: ConfigErrors) -> ConfigErrors {
        for error in &mut errors.0 {
            let Some((index, rest)) = error.key.strip_prefix("service[").and_then(|it| it.split_once(']'))
            else {
                continue;
            };
            if let Some(at) = index.parse().ok().and_then(|index: usize| self.0.get(index)) {
                error.key = format!("service[{at}]{rest}");
            }
        }
        errors
    }
}
