//! DPDK's environment abstraction layer (EAL): started once per process, never stopped before the process ends.

use std::ffi::{CString, c_char};
use std::sync::Mutex;

use crate::error::DpdkError;
use crate::{log, sys};

/// How DPDK gets its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Anonymous hugepages (no hugetlbfs mount needed); fails when there are not enough free ones.
    Hugepages {
        /// MiB to reserve at start.
        megabytes: u32,
    },
    /// Ordinary pages: works everywhere, about a third of the speed on small frames.
    Ordinary {
        /// MiB of address space; resident only as far as it is used.
        megabytes: u32,
    },
}

/// What to start EAL with.
#[derive(Clone, Debug)]
pub struct EalOptions {
    /// Where frames live.
    pub memory: Memory,
    /// Probe the PCI bus (only when a port names a PCI device; otherwise no device is ever touched).
    pub pci: bool,
}

/// Proof that EAL runs. Everything that needs EAL takes one; it is `Copy` because EAL lives until the process ends.
#[derive(Clone, Copy, Debug)]
pub struct Eal {
    _private: (),
}

/// Why EAL did not start.
#[derive(Debug, thiserror::Error)]
pub enum EalError {
    /// `rte_eal_init` refused.
    #[error(
        "dpdk did not start with {memory:?}: {source}; the lines above say why; lower `mbufs` under [memory], or set `hugepages = \"never\"` there if hugepages are short"
    )]
    Init {
        /// What was asked for.
        memory: Memory,
        /// DPDK's own error.
        source: DpdkError,
    },
    /// A second start with other options.
    #[error("dpdk runs already in this process with other options")]
    AlreadyStarted,
}

static STARTED: Mutex<Option<Eal>> = Mutex::new(None);

impl Eal {
    /// Starts EAL (`rte_eal_init`), or returns the running one. The caller's CPU affinity is left as it was.
    pub fn start(options: &EalOptions) -> Result<Self, EalError> {
        Self::start_with(options, &[])
    }

    /// The same for the guest's side of vhost-user devices (`virtio_user`): hugepages in one file for all, because the
    /// protocol carries few memory regions.
    pub fn start_as_guest(options: &EalOptions) -> Result<Self, EalError> {
        match options.memory {
            Memory::Hugepages { .. } => Self::start_with(options, &["--single-file-segments"]),
            Memory::Ordinary { .. } => Self::start(options),
        }
    }

    fn start_with(options: &EalOptions, more: &[&str]) -> Result<Self, EalError> {
        let mut started = STARTED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(eal) = *started {
            return Ok(eal);
        }
        let fail = |source| EalError::Init { memory: options.memory, source };
        log::capture().map_err(fail)?;

        let arguments: Vec<CString> =
            arguments(options, more).into_iter().map(|text| CString::new(text).unwrap_or_default()).collect();
        let mut pointers: Vec<*mut c_char> = arguments.iter().map(|text| text.as_ptr().cast_mut()).collect();
        let affinity = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0));
        // SAFETY: argc/argv describe NUL-terminated strings that live past the call (EAL copies what it keeps);
        // the mutex makes this the only call in the process.
        let code = unsafe { sys::rte_eal_init(pointers.len() as i32, pointers.as_mut_ptr()) };
        // EAL pins the calling thread to its main lcore; our control threads belong to the whole machine.
        if let Ok(affinity) = affinity {
            let _ = nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &affinity);
        }
        log::drain();
        DpdkError::check("rte_eal_init", code).map_err(fail)?;
        let eal = Self { _private: () };
        *started = Some(eal);
        Ok(eal)
    }

    /// Makes the calling thread known to DPDK (`rte_thread_register`), which gives it its own mempool caches.
    pub fn register_thread(self) -> Result<RegisteredThread, DpdkError> {
        // SAFETY: EAL runs (we hold `self`); registers the calling thread only.
        DpdkError::check("rte_thread_register", unsafe { sys::rte_thread_register() })?;
        Ok(RegisteredThread { _not_send: std::marker::PhantomData })
    }
}

/// Unregisters the thread on drop; stays on the thread that made it.
#[derive(Debug)]
pub struct RegisteredThread {
    _not_send: std::marker::PhantomData<*const ()>,
}

impl Drop for RegisteredThread {
    fn drop(&mut self) {
        // SAFETY: the type is not `Send`, so this is the thread that registered.
        unsafe { sys::rte_thread_unregister() };
    }
}

fn arguments(options: &EalOptions, more: &[&str]) -> Vec<String> {
    let mut arguments: Vec<String> =
        ["shuntd", "--no-telemetry", "--log-level=notice", "-l", "0"].map(String::from).to_vec();
    // The main lcore only names a slot: our threads pin themselves. Lcore 0 may be outside our cpuset.
    if let Ok(set) = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0))
        && let Some(core) = (0..nix::sched::CpuSet::count()).find(|&core| set.is_set(core).unwrap_or(false))
    {
        arguments.truncate(arguments.len() - 1);
        arguments.push(core.to_string());
    }
    match options.memory {
        Memory::Hugepages { megabytes } => {
            arguments.extend(["--in-memory".into(), "-m".into(), megabytes.to_string()])
        }
        // `--no-huge` implies legacy memory, which 22.11 refuses together with `--in-memory`.
        Memory::Ordinary { megabytes } => {
            arguments.extend(["--no-huge".into(), "--no-shconf".into(), "-m".into(), megabytes.to_string()]);
        }
    }
    arguments.push("--iova-mode=va".into());
    if !options.pci {
        arguments.push("--no-pci".into());
    }
    arguments.extend(more.iter().map(|text| (*text).to_owned()));
    arguments
}
