//! Where cargo has put things: found from the test's own executable, so it is right for any profile and target directory.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use crate::LabError;

/// `target/<profile>`: the directory of the workspace's binaries; `SHUNT_BIN_DIR` names another.
pub fn binaries() -> Result<PathBuf, LabError> {
    match env::var_os("SHUNT_BIN_DIR") {
        Some(dir) => Ok(dir.into()),
        None => profile(),
    }
}

/// A directory under `target/` for what is fetched or built once and kept, made if need be.
pub fn cache() -> Result<PathBuf, LabError> {
    let profile = profile()?;
    let dir = profile.parent().unwrap_or(&profile).join("lab");
    fs::create_dir_all(&dir).map_err(LabError::io(format!("make {}", dir.display())))?;
    Ok(dir)
}

/// Holds `path` against other processes until dropped.
pub fn lock(path: &Path) -> Result<Flock<File>, LabError> {
    let what = format!("lock {}", path.display());
    let file = File::create(path).map_err(LabError::io(what.clone()))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| LabError::io(what)(errno.into()))
}

/// A program on the path.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

// Unit and integration tests run from target/<profile>/deps, examples and binaries from their own places under it.
fn profile() -> Result<PathBuf, LabError> {
    let exe = env::current_exe().map_err(LabError::io("find the test's executable"))?;
    let dir = exe.parent().unwrap_or(&exe);
    let inner = dir.file_name().is_some_and(|n| n == "deps" || n == "examples");
    Ok(if inner { dir.parent().unwrap_or(dir) } else { dir }.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_directory_is_above_deps() {
        let dir = profile().unwrap();
        assert!(dir.join("deps").is_dir(), "{}", dir.display());
    }
}
