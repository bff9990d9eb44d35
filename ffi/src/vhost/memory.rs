//! Checks on the descriptors a front end hands over.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::sys::stat::{SFlag, fstat};
use nix::sys::statfs::{FsType, TMPFS_MAGIC, fstatfs};

/// `HUGETLBFS_MAGIC` of `linux/magic.h`.
const HUGETLBFS: FsType = FsType(0x958458f6_u32 as _);

/// One region of a memory table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Region {
    /// Where the guest sees it.
    pub(super) guest: u64,
    /// Bytes.
    pub(super) size: u64,
    /// Where the front end sees it.
    pub(super) user: u64,
}

impl Region {
    /// Not empty, and no address in it overflows.
    pub(super) fn is_sane(self) -> bool {
        self.size > 0
            && self.guest.checked_add(self.size).is_some()
            && self.user.checked_add(self.size).is_some()
    }

    /// True when `size` bytes at front end address `at` lie in it.
    pub(super) fn holds_user(self, at: u64, size: u64) -> bool {
        match at.checked_sub(self.user) {
            Some(offset) => offset.checked_add(size).is_some_and(|end| end <= self.size),
            None => false,
        }
    }
}

/// True for a shared memory file (memfd, /dev/shm, hugetlbfs) of at least `bytes` bytes.
pub(super) fn holds(fd: BorrowedFd<'_>, bytes: u64) -> bool {
    let Ok(status) = fstat(fd) else { return false };
    let regular = SFlag::from_bits_truncate(status.st_mode).contains(SFlag::S_IFREG);
    let in_memory =
        fstatfs(fd).is_ok_and(|system| matches!(system.filesystem_type(), TMPFS_MAGIC | HUGETLBFS));
    regular && in_memory && bytes > 0 && u64::try_from(status.st_size).is_ok_and(|size| bytes <= size)
}

/// True for an eventfd, by the name the kernel gives it (proc(5), `/proc/pid/fd`).
pub(super) fn is_eventfd(fd: BorrowedFd<'_>) -> bool {
    std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))
        .is_ok_and(|link| link.as_os_str() == "anon_inode:[eventfd]")
}
