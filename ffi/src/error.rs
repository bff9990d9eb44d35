//! Errors of DPDK and of the kernel, with the name of the call that failed.

use std::ffi::CStr;

use crate::sys;

/// A DPDK function failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{function}: {text} (errno {errno})")]
pub struct DpdkError {
    /// Name of the DPDK function.
    pub function: &'static str,
    /// Positive errno value; 0 where the function gives none.
    pub errno: i32,
    /// What `rte_strerror` says of it.
    pub text: String,
}

impl DpdkError {
    /// The error for a negative return value `code` of `function`; a plain -1 reads `rte_errno`.
    pub(crate) fn from_code(function: &'static str, code: i32) -> Self {
        let errno = if code == -1 { last_errno() } else { -code };
        Self { function, errno, text: strerror(errno) }
    }

    /// The error for a function that returned a null pointer and set `rte_errno`.
    pub(crate) fn from_errno(function: &'static str) -> Self {
        let errno = last_errno();
        Self { function, errno, text: strerror(errno) }
    }

    /// Turns a DPDK return value into a result: negative values are errors.
    pub(crate) fn check(function: &'static str, code: i32) -> Result<i32, Self> {
        if code < 0 { Err(Self::from_code(function, code)) } else { Ok(code) }
    }
}

fn last_errno() -> i32 {
    // SAFETY: reads this thread's `rte_errno`; no argument, no invariant.
    unsafe { sys::shunt_errno() }
}

fn strerror(errno: i32) -> String {
    if errno == 0 {
        return "no reason given".to_owned();
    }
    // SAFETY: `rte_strerror` returns a NUL-terminated string that stays valid for this thread until its next call.
    unsafe { CStr::from_ptr(sys::rte_strerror(errno)) }.to_string_lossy().into_owned()
}
