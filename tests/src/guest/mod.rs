//! A virtual machine with the kernel's virtio-net driver: QEMU by emulation, so that it runs wherever the tests run.
//!
//! It boots in about 3 s of one core from an initramfs made for it, and then runs commands from its console. Its memory is a
//! shared memfd, as vhost-user needs. `vectors=0`: QEMU 7.2 crashes with MSI-X over vhost-user without KVM.

mod initramfs;
mod kernel;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{Cmd, Interface, LabError, Running};

pub use initramfs::BUSYBOX;
pub use kernel::Kernel;

// Ten times what it takes on a quiet machine.
const BOOT: Duration = Duration::from_secs(60);
const COMMAND: Duration = Duration::from_secs(20);

/// Where a guest's network card leads.
#[derive(Clone, Debug)]
pub enum Backend {
    /// A vhost-user socket that the switch has made; the guest comes back when the switch restarts.
    Connect(PathBuf),
    /// A vhost-user socket that QEMU makes and the switch connects to.
    Listen(PathBuf),
    /// QEMU's own user-mode network: proves the guest without a switch.
    User,
}

/// A network card; the first is `eth0` inside, and so on.
#[derive(Clone, Debug)]
pub struct Nic<'a> {
    /// Where it leads.
    pub backend: Backend,
    /// Queue pairs; more than one needs as many CPUs to be of use.
    pub queues: u16,
    /// Mergeable receive buffers.
    pub mergeable: bool,
    /// Checksum and segmentation offloads, both ways.
    pub offloads: bool,
    /// Its settings inside the guest; the name is not used, the MAC must be given.
    pub inside: Interface<'a>,
}

/// A guest to boot.
#[derive(Clone, Debug, Default)]
pub struct Options<'a> {
    /// Its network cards.
    pub nics: Vec<Nic<'a>>,
    /// Programs of this machine to take along, with their libraries ("iperf3").
    pub tools: &'a [&'a str],
    /// CPUs, 0 is 1.
    pub cpus: u16,
}

/// A running guest. Dropped: QEMU is killed.
pub struct Guest {
    qemu: Running,
    read: usize,
    boot_time: Duration,
    // Holds the initramfs until the guest ends.
    _dir: TempDir,
}

/// What a command inside the guest did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Exit code.
    pub status: i32,
    /// Standard output and error together.
    pub text: String,
}

impl<'a> Nic<'a> {
    /// One queue with every offload, as guests have it.
    pub fn new(backend: Backend, inside: Interface<'a>) -> Self {
        Self { backend, queues: 1, mergeable: true, offloads: true, inside }
    }

    fn args(&self, n: usize) -> Result<Vec<String>, LabError> {
        let mac =
            self.inside.mac.ok_or_else(|| LabError::Missing(format!("card {n} of a guest needs a MAC")))?;
        let queues = self.queues;
        let vhost = format!("vhost-user,id=n{n},chardev=c{n},queues={queues}");
        let socket = |path: &Path, how: &str| {
            vec![
                "-chardev".into(),
                format!("socket,id=c{n},path={},{how}", path.display()),
                "-netdev".into(),
                vhost,
            ]
        };
        let mut args = match &self.backend {
            Backend::Connect(path) => socket(path, "reconnect=1"),
            Backend::Listen(path) => socket(path, "server=on,wait=on"),
            Backend::User => vec!["-netdev".into(), format!("user,id=n{n}")],
        };
        let on = |yes| if yes { "on" } else { "off" };
        let mut device =
            format!("virtio-net-pci,netdev=n{n},mac={mac},vectors=0,mrg_rxbuf={}", on(self.mergeable));
        device += &format!(",mq={}", on(queues > 1));
        for feature in [
            "csum",
            "guest_csum",
            "gso",
            "guest_tso4",
            "guest_tso6",
            "guest_ufo",
            "host_tso4",
            "host_tso6",
            "host_ufo",
        ] {
            device += &format!(",{feature}={}", on(self.offloads));
        }
        args.extend(["-device".into(), device]);
        Ok(args)
    }
}

impl Guest {
    /// Boots a guest and sets up its cards. With [`Backend::Listen`] it waits for the switch before it boots.
    ///
    /// # Errors
    /// QEMU refuses its arguments, the guest does not come up, a card has no device.
    pub fn boot(options: &Options<'_>) -> Result<Self, LabError> {
        let kernel = Kernel::find()?;
        let dir = tempfile::tempdir().map_err(LabError::io("make a directory for the guest"))?;
        let image = dir.path().join("initramfs");
        initramfs::build(&kernel, options.tools, &image)?;
        let start = Instant::now();
        let qemu = command(options, &kernel, &image)?.spawn()?;
        let read = qemu.expect(initramfs::READY, 0, BOOT)?;
        let mut guest = Self { qemu, read, boot_time: start.elapsed(), _dir: dir };
        for (n, nic) in options.nics.iter().enumerate() {
            guest.configure(n, nic)?;
        }
        Ok(guest)
    }

    /// From the start of QEMU until the guest takes commands.
    pub fn boot_time(&self) -> Duration {
        self.boot_time
    }

    /// Runs a shell command line to its end; a line may end in `&`. Any exit status is fine.
    ///
    /// # Errors
    /// The guest is dead, or the command does not end in time.
    pub fn run(&mut self, line: &str, timeout: Duration) -> Result<Answer, LabError> {
        let from = self.read;
        self.qemu.send_line(line)?;
        let end = self.qemu.expect(initramfs::END, from, timeout)?;
        self.read = self.qemu.expect("\n", end, COMMAND)?;
        let text = self.qemu.stdout().text(from);
        let status = text[end - from..self.read - from].trim();
        let status = status
            .parse()
            .map_err(|_| LabError::Parse { what: "an exit status of the guest", text: text.clone() })?;
        Ok(Answer { status, text: text[..end - from - initramfs::END.len()].trim().to_owned() })
    }

    /// Runs a shell command line that must succeed within 20 s; returns what it printed.
    ///
    /// # Errors
    /// As [`Guest::run`], and an exit status other than 0.
    pub fn sh(&mut self, line: &str) -> Result<String, LabError> {
        let answer = self.run(line, COMMAND)?;
        if answer.status == 0 {
            return Ok(answer.text);
        }
        Err(LabError::Parse {
            what: "success of a command in the guest",
            text: format!("{line}: {answer:?}"),
        })
    }

    /// Loads a kernel module with all it needs: one of those that [`Kernel`] brings along (`bridge`, `8021q`, `geneve`, ...).
    ///
    /// # Errors
    /// It is none of them, or the kernel refuses it.
    pub fn load(&mut self, module: &str) -> Result<(), LabError> {
        // One that is there already has been loaded for another.
        let each =
            "name=$(basename $m .ko | tr - _); [ -d /sys/module/$name ] || insmod /modules/$m || exit 1";
        self.sh(&format!("for m in $(cat /modules/{module}.order); do {each}; done")).map(drop)
    }

    /// QEMU itself, to kill it as a test.
    pub fn qemu(&mut self) -> &mut Running {
        &mut self.qemu
    }

    fn configure(&mut self, n: usize, nic: &Nic<'_>) -> Result<(), LabError> {
        let Interface { addrs, mtu, .. } = nic.inside;
        let mut line = format!("ip link set dev eth{n} mtu {mtu}");
        for addr in addrs {
            line += &format!(" && ip addr add {addr} dev eth{n}");
        }
        self.sh(&format!("{line} && ip link set dev eth{n} up")).map(drop)
    }
}

fn command(options: &Options<'_>, kernel: &Kernel, image: &Path) -> Result<Cmd, LabError> {
    let path = |p: &Path| p.to_string_lossy().into_owned();
    let cpus = options.cpus.max(1).to_string();
    let mut cmd =
        Cmd::new(["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"])
            .args(["-machine", "pc,accel=tcg,memory-backend=mem", "-cpu", "max", "-smp", &cpus, "-m", "256"])
            .args(["-object", "memory-backend-memfd,id=mem,size=256M,share=on", "-serial", "stdio"])
            .args(["-kernel", &path(&kernel.image), "-initrd", &path(image)])
            .args(["-append", "console=ttyS0 quiet panic=-1"]);
    for (n, nic) in options.nics.iter().enumerate() {
        cmd = cmd.args(nic.args(n)?);
    }
    Ok(cmd)
}
