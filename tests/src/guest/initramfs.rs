//! The guests' file system: busybox, the virtio modules, an init that runs commands from the console, and programs of this machine.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use super::kernel::Kernel;
use crate::{Cmd, LabError, paths};

/// Debian's static busybox: the guest's user land.
pub const BUSYBOX: &str = "/usr/bin/busybox";

/// What init prints when commands may come.
pub(super) const READY: &str = "@@READY";
/// What stands, with the exit status, behind the output of each command.
pub(super) const END: &str = "\n@@END ";

// Each command runs in a shell of its own, so that `exit` does not end init, and without the console as input.
const INIT: &str = r#"#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/usr/bin:/sbin:/usr/sbin HOME=/ LC_ALL=C
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
stty -echo -onlcr
dmesg -n 1
for module in $(cat /modules/order); do insmod "/modules/$module"; done
echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad
ip link set lo up
echo @@READY
while IFS= read -r line; do
    sh -c "$line" < /dev/null 2>&1
    printf '\n@@END %d\n' $?
done
poweroff -f
"#;

/// Writes a cpio archive ("newc", kernel: Documentation/driver-api/early-userspace/buffer-format.rst) to `to`.
pub(super) fn build(kernel: &Kernel, tools: &[&str], to: &Path) -> Result<(), LabError> {
    let mut archive = Archive::default();
    for dir in ["bin", "dev", "proc", "sys", "tmp", "modules", "sbin", "usr", "usr/bin", "usr/sbin"] {
        archive.dir(dir);
    }
    archive.file("init", 0o755, INIT.as_bytes());
    archive.copy(Path::new(BUSYBOX), "bin/busybox")?;
    let boot = ("order".to_owned(), kernel.modules.clone());
    let others = kernel.others.iter().map(|(name, modules)| (format!("{name}.order"), modules.clone()));
    for (list, modules) in [boot].into_iter().chain(others) {
        let mut order = String::new();
        for module in &modules {
            let name = module.file_name().unwrap_or_default().to_string_lossy();
            archive.copy(module, &format!("modules/{name}"))?;
            order += &format!("{name}\n");
        }
        archive.file(&format!("modules/{list}"), 0o644, order.as_bytes());
    }
    for tool in tools {
        archive.program(tool)?;
    }
    archive.finish(to).map_err(LabError::io(format!("write {}", to.display())))
}

#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    names: BTreeSet<String>,
}

impl Archive {
    fn dir(&mut self, name: &str) {
        self.entry(name, 0o040_755, &[]);
    }

    fn file(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entry(name, 0o100_000 | mode, content);
    }

    fn copy(&mut self, from: &Path, name: &str) -> Result<(), LabError> {
        let content = fs::read(from).map_err(LabError::io(format!("read {}", from.display())))?;
        self.file(name, 0o755, &content);
        Ok(())
    }

    /// A program of this machine with the libraries it is linked to, each at its own path.
    fn program(&mut self, tool: &str) -> Result<(), LabError> {
        let path = paths::program(tool)
            .ok_or_else(|| LabError::Missing(format!("no {tool} to take into the guest")))?;
        let path = path.to_string_lossy();
        let linked = Cmd::new(["ldd", &path]).check()?.stdout;
        let libraries =
            linked.lines().filter_map(|line| line.split_whitespace().find(|w| w.starts_with('/')));
        for file in libraries.chain([&*path]) {
            let name = file.trim_start_matches('/');
            let dirs: Vec<&str> = name.match_indices('/').map(|(at, _)| &name[..at]).collect();
            dirs.into_iter().for_each(|dir| self.dir(dir));
            self.copy(Path::new(file), name)?;
        }
        Ok(())
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        if !self.names.insert(name.to_owned()) {
            return;
        }
        self.entries += 1;
        let links = if mode & 0o040_000 == 0 { 1 } else { 2 };
        let size = u32::try_from(content.len()).expect("a file of the guest is smaller than 4 GiB");
        let name_size = u32::try_from(name.len() + 1).expect("a path is short");
        // inode, mode, uid, gid, links, mtime, size, device (2), device of a node (2), length of the name, checksum
        let fields = [self.entries, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend(b"070701");
        fields.iter().for_each(|field| self.bytes.extend(format!("{field:08x}").bytes()));
        self.bytes.extend(name.bytes().chain([0]));
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self, to: &Path) -> io::Result<()> {
        self.entry("TRAILER!!!", 0, &[]);
        fs::File::create(to)?.write_all(&self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::require;

    #[test]
    fn another_cpio_reads_what_is_written() {
        require!(file(BUSYBOX));
        let dir = tempfile::tempdir().unwrap();
        let module = dir.path().join("x.ko");
        fs::write(&module, "module").unwrap();
        let kernel = Kernel { image: "unused".into(), modules: vec![module], others: vec![] };
        let image = dir.path().join("image");
        build(&kernel, &["true"], &image).unwrap();
        let unpack = format!(
            "cd '{}' && busybox cpio -idm < image && cat modules/order && test -x init",
            dir.path().display()
        );
        let out = Cmd::new(["sh", "-c", &unpack]).check().unwrap();
        assert_eq!(out.stdout, "x.ko\n");
        assert_eq!(fs::read(dir.path().join("bin/busybox")).unwrap(), fs::read(BUSYBOX).unwrap());
        assert_eq!(fs::read_to_string(dir.path().join("modules/x.ko")).unwrap(), "module");
    }
}
