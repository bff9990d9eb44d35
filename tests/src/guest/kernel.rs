//! The guests' kernel: Debian's, fetched by apt and unpacked under `target/`, never installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{Cmd, LabError, paths};

// A metapackage: its dependency is the current kernel. The cloud flavour is small and has virtio as modules.
const PACKAGE: &str = "linux-image-cloud-amd64";
const WANTED: &str = "virtio_pci virtio_net";
// What a guest may load: networks that the kernel of the machine that tests may be without.
const OTHERS: &[&str] =
    &["bridge", "8021q", "vxlan", "geneve", "ip_gre", "ip6_gre", "ipip", "sit", "ip6_tunnel"];
const FETCH: Duration = Duration::from_secs(300);

/// A kernel image and the modules for virtio-net, in loading order.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// The bzImage.
    pub image: PathBuf,
    /// Module files; each stands behind those it needs.
    pub modules: Vec<PathBuf>,
    /// Modules that a guest loads when told to ([`Guest::load`](super::Guest::load)): name, and files as before.
    pub others: Vec<(String, Vec<PathBuf>)>,
}

impl Kernel {
    /// The kernel in the cache; the first time it is fetched (27 MB).
    ///
    /// # Errors
    /// No network, no package lists, or a package without virtio modules.
    pub fn find() -> Result<Self, LabError> {
        let cache = paths::cache()?;
        let _lock = paths::lock(&cache.join("kernel.lock"))?;
        // Another name whenever what is in it changes.
        let dir = cache.join("kernel-3");
        if !dir.is_dir() {
            fetch(&cache, &dir)?;
        }
        let read = |name: &str| {
            let order = dir.join(name);
            let text =
                fs::read_to_string(&order).map_err(LabError::io(format!("read {}", order.display())))?;
            Ok(text.lines().map(|module| dir.join(module)).collect::<Vec<_>>())
        };
        let others = OTHERS.iter().map(|name| Ok(((*name).to_owned(), read(&format!("{name}.order"))?)));
        Ok(Self {
            image: dir.join("vmlinuz"),
            modules: read("order")?,
            others: others.collect::<Result<_, _>>()?,
        })
    }
}

/// Fetches and unpacks beside `dir`, and moves it there when it is whole.
fn fetch(cache: &Path, dir: &Path) -> Result<(), LabError> {
    let depends = Cmd::new(["apt-cache", "depends", PACKAGE]).check()?.stdout;
    let package = depends
        .lines()
        .find_map(|l| l.trim().strip_prefix("Depends: ").filter(|p| p.starts_with("linux-image-")));
    let package = package
        .ok_or_else(|| LabError::Missing(format!("apt does not know {PACKAGE}: run apt-get update")))?;
    eprintln!("lab: fetching {package} as the guests' kernel (once, not installed)");
    let work = tempfile::tempdir_in(cache)
        .map_err(LabError::io(format!("make a directory in {}", cache.display())))?;
    let at = work.path().to_string_lossy();
    // apt drops its privileges for the download, and could then not write here.
    let download = format!(
        "cd '{at}' && apt-get -q -o APT::Sandbox::User=root download {package} && dpkg-deb -x *.deb tree"
    );
    Cmd::new(["sh", "-c", &download]).timeout(FETCH).check()?;

    let tree = work.path().join("tree");
    let ready = work.path().join("kernel");
    fs::create_dir(&ready).map_err(LabError::io("make the kernel's directory"))?;
    let images =
        Cmd::new(["find", &tree.join("boot").to_string_lossy(), "-name", "vmlinuz-*"]).check()?.stdout;
    let image = images.lines().next().ok_or_else(|| LabError::Missing(format!("no kernel in {package}")))?;
    copy(Path::new(image), &ready.join("vmlinuz"))?;
    let found =
        Cmd::new(["find", &tree.join("lib/modules").to_string_lossy(), "-name", "*.ko"]).check()?.stdout;
    let all: Vec<&Path> = found.lines().map(Path::new).collect();
    let lists = OTHERS.iter().map(|name| (format!("{name}.order"), *name));
    for (list, wanted) in [("order".to_owned(), WANTED)].into_iter().chain(lists) {
        let mut order = Vec::new();
        for name in wanted.split(' ') {
            resolve(name, &all, &mut order)?;
        }
        let mut names = String::new();
        for (name, file) in &order {
            copy(file, &ready.join(name))?;
            names += name;
            names.push('\n');
        }
        fs::write(ready.join(list), names).map_err(LabError::io("write the order of modules"))?;
    }
    fs::rename(&ready, dir).map_err(LabError::io(format!("move the kernel to {}", dir.display())))
}

/// Appends the module, behind what it depends on.
fn resolve<'a>(name: &str, all: &[&'a Path], order: &mut Vec<(String, &'a Path)>) -> Result<(), LabError> {
    let file = format!("{name}.ko");
    if order.iter().any(|(have, _)| *have == file) {
        return Ok(());
    }
    // A module's name has _ where its file may have -.
    let matches = |p: &&&Path| p.file_name().is_some_and(|f| f.to_string_lossy().replace('-', "_") == file);
    let path = *all
        .iter()
        .find(matches)
        .ok_or_else(|| LabError::Missing(format!("the kernel package has no module {name}")))?;
    let bytes = fs::read(path).map_err(LabError::io(format!("read {}", path.display())))?;
    for needed in depends(&bytes).split(',').filter(|n| !n.is_empty()) {
        resolve(needed, all, order)?;
    }
    order.push((file, path));
    Ok(())
}

/// The `depends` entry of a module's `.modinfo` section (NUL-separated `key=value`).
fn depends(module: &[u8]) -> String {
    let entry = module.split(|&b| b == 0).find_map(|s| s.strip_prefix(b"depends="));
    String::from_utf8_lossy(entry.unwrap_or_default()).into_owned()
}

fn copy(from: &Path, to: &Path) -> Result<(), LabError> {
    fs::copy(from, to).map(drop).map_err(LabError::io(format!("copy {} to {}", from.display(), to.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_come_behind_what_they_need() {
        let dir = tempfile::tempdir().unwrap();
        for (name, needs) in
            [("ring", ""), ("core", "ring"), ("net-x", "ring,core,fail_over"), ("fail-over", "")]
        {
            let body = format!("\x7fELF\0license=GPL\0depends={needs}\0intree=Y\0");
            fs::write(dir.path().join(format!("{name}.ko")), body).unwrap();
        }
        let files: Vec<PathBuf> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).collect();
        let all: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        let mut order = Vec::new();
        resolve("net_x", &all, &mut order).unwrap();
        resolve("core", &all, &mut order).unwrap();
        let names: Vec<&str> = order.iter().map(|(n, _)| n.as_str()).collect();
        assert_eq!(names, ["ring.ko", "core.ko", "fail_over.ko", "net_x.ko"]);
        assert!(resolve("absent", &all, &mut order).is_err());
    }
}
