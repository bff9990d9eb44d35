//! The name of a service: namespace and name, as Kubernetes tells them apart.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::names::{NETWORK_NAME_MAX, NameError, NetworkName};

/// Why the name of a service was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceNameError {
    /// No namespace, or more than one slash.
    #[error("a service has a namespace and a name; write them as \"namespace/name\"")]
    Form,
    /// One of the two is wrong.
    #[error("{0}")]
    Part(#[from] NameError),
}

/// The name of a service, unique in a configuration: `namespace/name`, each 1 to 63 of `[a-zA-Z0-9._@-]`. Cloning is a
/// reference count.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName(Arc<str>);

impl ServiceName {
    /// Longest, in bytes.
    pub const MAX: usize = 2 * NETWORK_NAME_MAX + 1;

    /// Checks and keeps `text`.
    ///
    /// # Errors
    /// [`ServiceNameError`] says which rule was broken.
    pub fn new(text: &str) -> Result<Self, ServiceNameError> {
        let (namespace, name) = text.split_once('/').ok_or(ServiceNameError::Form)?;
        if name.contains('/') {
            return Err(ServiceNameError::Form);
        }
        for part in [namespace, name] {
            // The same rule as that of networks: DNS labels fit.
            NetworkName::new(part)?;
        }
        Ok(Self(Arc::from(text)))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Namespace and name.
    pub fn parts(&self) -> (&str, &str) {
        self.0.split_once('/').unwrap_or(("", &self.0))
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        self.parts().0
    }

    /// True for the name of that service.
    pub fn is(&self, namespace: &str, name: &str) -> bool {
        self.parts() == (namespace, name)
    }

    /// True for the name of a service of that namespace.
    pub fn is_in(&self, namespace: &str) -> bool {
        self.namespace() == namespace
    }
}

impl FromStr for ServiceName {
    type Err = ServiceNameError;
    fn from_str(text: &str) -> Result<Self, ServiceNameError> {
        Self::new(text)
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl Serialize for ServiceName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_has_a_namespace_and_a_name() {
        let name = ServiceName::new("kube-system/kube-dns").unwrap();
        assert_eq!((name.namespace(), name.as_str()), ("kube-system", "kube-system/kube-dns"));
        for bad in ["web", "a/b/c", "", "/"] {
            assert!(ServiceName::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(ServiceName::new("a/"), Err(ServiceNameError::Part(NameError::Empty)));
        assert_eq!(ServiceName::new("a/b c"), Err(ServiceNameError::Part(NameError::Character(' '))));
    }
}
