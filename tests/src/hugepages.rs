//! 2 MiB pages for the length of a test.
//!
//! The guard adds to the machine's pool what is not free in it, and takes the same number off again. A file per process says how
//! many it added, so that [`sweep()`] can take them off for one that was killed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::fcntl::Flock;

use crate::{LabError, paths, sweep};

const POOL: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB";
const STATE: &str = "/run/shunt-lab";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Reserved pages. Dropped: the pool shrinks by what was added.
#[derive(Debug)]
pub struct Hugepages {
    added: u32,
    note: PathBuf,
}

impl Hugepages {
    /// Makes sure that `pages` pages of 2 MiB are free.
    ///
    /// # Errors
    /// Not root, no hugetlbfs in the kernel, or too little contiguous memory: then nothing is changed.
    pub fn reserve(pages: u32) -> Result<Self, LabError> {
        let _lock = lock()?;
        let (total, free) = (read("nr_hugepages")?, read("free_hugepages")?);
        let added = pages.saturating_sub(free);
        let short = |got| {
            let advice = "free memory or raise vm.nr_hugepages";
            LabError::Missing(format!("needs {pages} free 2 MiB pages, only {got} can be had: {advice}"))
        };
        // Asked for more, the kernel would first take all the memory there is.
        let available = available_pages()?;
        if added > available {
            return Err(short(free + available));
        }
        let note =
            Path::new(STATE).join(format!("{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        fs::write(&note, added.to_string()).map_err(LabError::io(format!("note {}", note.display())))?;
        if added > 0 {
            write(total + added)?;
        }
        // Memory may be too scattered: the kernel takes what it finds and says nothing.
        let got = read("nr_hugepages")?.saturating_sub(total);
        if got < added {
            give_back(&note, got)?;
            return Err(short(free + got));
        }
        Ok(Self { added, note })
    }
}

impl Drop for Hugepages {
    fn drop(&mut self) {
        let result = lock().and_then(|_lock| give_back(&self.note, self.added));
        if let Err(error) = result {
            eprintln!("lab: hugepages stay reserved: {error}");
        }
    }
}

/// Gives back what dead processes have reserved.
pub(crate) fn sweep() {
    let Ok(_lock) = lock() else { return };
    for entry in fs::read_dir(STATE).into_iter().flatten().flatten() {
        let owner = entry.file_name().to_str().and_then(|n| n.split_once('-')?.0.parse().ok());
        let added = fs::read_to_string(entry.path()).ok().and_then(|s| s.parse().ok());
        if let (Some(false), Some(added)) = (owner.map(sweep::alive), added) {
            let _ = give_back(&entry.path(), added);
        }
    }
}

fn give_back(note: &Path, added: u32) -> Result<(), LabError> {
    if added > 0 {
        write(read("nr_hugepages")?.saturating_sub(added))?;
    }
    fs::remove_file(note).map_err(LabError::io(format!("remove {}", note.display())))
}

/// How many pages half of the available memory would make.
fn available_pages() -> Result<u32, LabError> {
    let text = fs::read_to_string("/proc/meminfo").map_err(LabError::io("read /proc/meminfo"))?;
    let kib = text
        .lines()
        .find_map(|l| l.strip_prefix("MemAvailable:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    let kib = kib.ok_or(LabError::Parse { what: "MemAvailable", text })?;
    Ok(u32::try_from(kib / 2 / 2048).unwrap_or(u32::MAX))
}

/// One process at a time changes the pool.
fn lock() -> Result<Flock<File>, LabError> {
    fs::create_dir_all(STATE).map_err(LabError::io(format!("make {STATE}")))?;
    paths::lock(&Path::new(STATE).join("lock"))
}

fn read(name: &str) -> Result<u32, LabError> {
    let path = format!("{POOL}/{name}");
    let text = fs::read_to_string(&path).map_err(LabError::io(format!("read {path}")))?;
    text.trim().parse().map_err(|_| LabError::Parse { what: "a number of pages", text })
}

fn write(pages: u32) -> Result<(), LabError> {
    let path = format!("{POOL}/nr_hugepages");
    fs::write(&path, pages.to_string()).map_err(LabError::io(format!("write {path}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::require;

    #[test]
    fn pages_come_and_go() {
        require!(root(), hugepages(4));
        let pages = Hugepages::reserve(4).unwrap();
        assert!(read("free_hugepages").unwrap() >= 4);
        let note = pages.note.clone();
        assert_eq!(fs::read_to_string(&note).unwrap(), pages.added.to_string());
        drop(pages);
        assert!(!note.exists());
    }

    #[test]
    fn more_than_the_machine_has_changes_nothing() {
        require!(root(), file(POOL));
        let before = read("nr_hugepages").unwrap();
        let error = Hugepages::reserve(1 << 30).unwrap_err().to_string();
        assert!(error.contains("free 2 MiB pages"), "{error}");
        assert!(read("nr_hugepages").unwrap() <= before);
    }

    #[test]
    fn what_a_dead_process_noted_is_given_back_and_what_a_live_one_noted_is_not() {
        require!(root(), file(POOL));
        drop(lock().unwrap());
        // Larger than any process id the kernel gives.
        let dead = Path::new(STATE).join("4200000-0");
        let alive = Path::new(STATE).join(format!("{}-sweep", process::id()));
        fs::write(&dead, "0").unwrap();
        fs::write(&alive, "0").unwrap();
        sweep();
        assert!(!dead.exists() && alive.exists());
        fs::remove_file(alive).unwrap();
    }
}
