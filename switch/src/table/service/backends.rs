//! Who answers for one port of a service, of one family of addresses: all endpoints, and of them those that get new
//! connections.
//!
//! Which these are is what kube-proxy's `CategorizeEndpoints` says (pkg/proxy/topology.go): those that are ready, or when
//! none is, those that still serve though they are on their way out; of this node alone for the policy Local; and near ones
//! only when every one says for which zones it is.

use std::net::IpAddr;
use std::sync::Arc;

use super::maglev::{Candidate, Maglev};
use crate::flow::hash::fold;

/// An endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// Of address and port, the same on every node.
    pub id: u64,
    /// Its share of new connections.
    pub weight: u16,
    /// It takes new connections.
    pub ready: bool,
    /// It answers.
    pub serving: bool,
    /// It is on its way out.
    pub terminating: bool,
    /// It is on this node.
    pub local: bool,
    /// It is near, when all endpoints say for which zones they are.
    pub near: Option<bool>,
}

/// Which endpoints a connection may go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those of all nodes.
    Cluster,
    /// Those of this node.
    Local,
}

/// Who gets a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// This one.
    Backend(Backend),
    /// None is on this node, though there are others.
    NoneHere,
    /// There is none at all.
    Nobody,
}

/// The number of a backend.
pub(super) fn id(address: IpAddr, port: u16) -> u64 {
    let (high, low) = match address {
        IpAddr::V4(v4) => (0x4444_4444, u64::from(v4.to_bits())),
        IpAddr::V6(v6) => ((v6.to_bits() >> 64) as u64, v6.to_bits() as u64),
    };
    let mixed = fold(high ^ 0x9e37_79b9_7f4a_7c15, low ^ 0xbf58_476d_1ce4_e5b9);
    fold(mixed ^ u64::from(port), 0x94d0_49bb_1331_11eb)
}

/// Those that get new connections.
#[derive(Clone, Debug, Default)]
struct Pool {
    candidates: Box<[Candidate]>,
    maglev: Arc<Maglev>,
}

impl Default for Maglev {
    fn default() -> Self {
        Self::build(&[])
    }
}

impl Pool {
    fn build(candidates: Vec<Candidate>, before: [Option<&Self>; 2]) -> Self {
        let alike = before.into_iter().flatten().find(|pool| *pool.candidates == *candidates);
        let maglev = alike.map_or_else(|| Arc::new(Maglev::build(&candidates)), |pool| pool.maglev.clone());
        Self { candidates: candidates.into(), maglev }
    }

    fn has(&self, id: u64) -> bool {
        self.candidates.binary_search_by_key(&id, |candidate| candidate.id).is_ok()
    }
}

/// The endpoints of a port.
#[derive(Clone, Debug, Default)]
pub struct Backends {
    /// In the order of their ids.
    all: Box<[Backend]>,
    cluster: Pool,
    local: Pool,
}

impl Backends {
    /// Those of `all`. Those that get new connections on this node are found out only where `wants_local`.
    pub(super) fn build(mut all: Vec<Backend>, wants_local: bool, before: Option<&Self>) -> Self {
        all.sort_unstable_by_key(|backend| backend.id);
        all.dedup_by_key(|backend| backend.id);
        all.truncate(usize::from(u16::MAX));
        let pool = |wanted: &dyn Fn(&Backend) -> bool| -> Vec<Candidate> {
            let numbered = (0..).zip(&all);
            let wanted = numbered.filter(|(_, backend)| backend.weight > 0 && wanted(backend));
            wanted
                .map(|(index, backend)| Candidate { index, id: backend.id, weight: backend.weight })
                .collect()
        };
        let last = |backend: &Backend| backend.serving && backend.terminating;
        let usable = |near: &dyn Fn(&Backend) -> bool| {
            let ready = pool(&|backend| backend.ready && near(backend));
            if ready.is_empty() { pool(&|backend| last(backend) && near(backend)) } else { ready }
        };
        let mut ready = all.iter().filter(|backend| backend.ready && backend.weight > 0).peekable();
        // Hints count only when all that are ready have some, and one of them is meant for this zone.
        let hinted = ready.peek().is_some()
            && ready.clone().all(|backend| backend.near.is_some())
            && ready.any(|backend| backend.near == Some(true));
        let cluster = match hinted {
            true => pool(&|backend| backend.ready && backend.near == Some(true)),
            false => usable(&|_| true),
        };
        let cluster = Pool::build(cluster, [before.map(|before| &before.cluster), None]);
        let local = match wants_local {
            true => Pool::build(
                usable(&|backend| backend.local),
                [before.map(|before| &before.local), Some(&cluster)],
            ),
            false => Pool::default(),
        };
        Self { all: all.into(), cluster, local }
    }

    /// Who gets a new connection with that hash; `held` is the low half of the id of the backend that its client is to stay with,
    /// if that may be.
    #[inline]
    pub fn pick(&self, scope: Scope, hash: u64, held: Option<u32>) -> Pick {
        let pool = match scope {
            Scope::Cluster => &self.cluster,
            Scope::Local => &self.local,
        };
        let held = held.and_then(|low| pool.candidates.iter().find(|candidate| candidate.id as u32 == low));
        let index = held.map(|candidate| candidate.index).or_else(|| pool.maglev.get(hash));
        match index.and_then(|index| self.all.get(usize::from(index))) {
            Some(backend) => Pick::Backend(*backend),
            None if self.cluster.candidates.is_empty() => Pick::Nobody,
            None => Pick::NoneHere,
        }
    }

    fn by_id(&self, id: u64) -> Option<Backend> {
        let at = self.all.binary_search_by_key(&id, |backend| backend.id).ok()?;
        self.all.get(at).copied()
    }

    /// The endpoint with that address and port, whether it gets new connections or not.
    pub fn get(&self, address: IpAddr, port: u16) -> Option<Backend> {
        self.by_id(id(address, port)).filter(|backend| (backend.address, backend.port) == (address, port))
    }

    /// All, in the order of their ids, and whether each gets new connections in that scope.
    pub fn iter(&self, scope: Scope) -> impl Iterator<Item = (Backend, bool)> + '_ {
        let pool = if scope == Scope::Cluster { &self.cluster } else { &self.local };
        self.all.iter().map(|backend| (*backend, pool.has(backend.id)))
    }

    /// Number of endpoints.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// True without any.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The table of those that get new connections, for tests of sharing.
    #[cfg(test)]
    pub(super) fn maglev(&self) -> &Arc<Maglev> {
        &self.cluster.maglev
    }
}
