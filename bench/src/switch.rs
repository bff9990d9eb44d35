//! The daemon under measurement: `shuntd` as a user starts it, asked over its own interface.
//!
//! A call costs some 100 us: fast enough to change a topology a hundred times a second, which starting `shunt` is not.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::sys::signal::Signal;
use shunt_switch::cli::Failure;
use shunt_switch::cli::client::Client;
use shunt_switch::control::api::proto;
use shunt_tests::{Cmd, Netns, Running, shuntd};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::{cores, stop};

const SOCKET: &str = "shunt.sock";
const START: Duration = Duration::from_secs(20);
const STOP: Duration = Duration::from_secs(5);

/// A running daemon with a directory of its own; stopped when dropped.
pub struct Switch {
    client: Client,
    runtime: Runtime,
    running: Running,
    dir: TempDir,
}

/// What a worker did in an interval.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// Frames received a second, millions.
    pub mpps: f64,
    /// Cycles of iterations with frames, for each frame.
    pub cycles_per_packet: f64,
    /// Frames whose flow was in the flow cache, percent; `None` when it is off.
    pub hit_percent: Option<f64>,
    /// Frames whose flow was entered into it, percent.
    pub entered_percent: Option<f64>,
}

impl Work {
    /// From one look to a later one, over which frames were received.
    pub fn between(before: &proto::Worker, after: &proto::Worker) -> Self {
        let moved = (after.packets - before.packets) as f64;
        let (then, now) = (before.cycles.unwrap_or_default(), after.cycles.unwrap_or_default());
        // The worker's own clock: what the call takes does not count.
        let seconds = (now.total - then.total) as f64 / now.hz as f64;
        let cycles_per_packet = (now.busy - then.busy) as f64 / moved;
        let (was, is) = (before.cache.unwrap_or_default(), after.cache.unwrap_or_default());
        let (hits, misses) = ((is.hits - was.hits) as f64, (is.misses - was.misses) as f64);
        let share = |count: f64| (is.capacity > 0).then_some(100.0 * count / (hits + misses).max(1.0));
        let (hit_percent, entered_percent) = (share(hits), share((is.entered - was.entered) as f64));
        Self { mpps: moved / seconds / 1e6, cycles_per_packet, hit_percent, entered_percent }
    }
}

impl Switch {
    /// Starts it inside `node` and waits until its ports are open and it answers.
    ///
    /// # Errors
    /// It is not built, or does not start: with its log.
    pub fn start(node: &Netns, config: &str) -> Result<Self> {
        let dir = tempfile::tempdir().context("make a directory for shuntd")?;
        let (file, socket) = (dir.path().join("shunt.toml"), dir.path().join(SOCKET));
        fs::write(&file, config).with_context(|| format!("write {}", file.display()))?;
        let program = shuntd::binary("shuntd")?;
        let argv =
            [program.as_path(), "--strict".as_ref(), "--log".as_ref(), "warn".as_ref(), "--config".as_ref()];
        let argv = argv.into_iter().chain([file.as_path(), "--socket".as_ref(), socket.as_path()]);
        let cmd = Cmd::new(argv.map(|part| part.to_string_lossy())).within(node);
        // The worker pins itself; control and API threads are left to the system, as in production.
        let mut running = cores::on_both(|| Ok(cmd.spawn()?))?;
        let runtime = Builder::new_current_thread().enable_all().build().context("a runtime")?;
        let deadline = Instant::now() + START;
        let client = loop {
            stop::pause(Duration::from_millis(5))?;
            match runtime.block_on(Client::connect(&socket)) {
                Ok(client) => break client,
                Err(_) if Instant::now() < deadline && running.try_wait()?.is_none() => {}
                Err(failure) => bail!("{}\n{}", failure.message, running.stderr().text(0)),
            }
        };
        Ok(Self { client, runtime, running, dir })
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// The workers.
    ///
    /// # Errors
    /// The daemon is gone.
    pub fn workers(&mut self) -> Result<Vec<proto::Worker>> {
        let answer = self.runtime.block_on(self.client.show_workers(proto::ShowWorkersRequest {}));
        Ok(self.told(answer)?.workers)
    }

    /// The ports.
    ///
    /// # Errors
    /// The daemon is gone.
    pub fn ports(&mut self) -> Result<Vec<proto::Port>> {
        let answer = self.runtime.block_on(self.client.show_ports(proto::ShowPortsRequest {}));
        Ok(self.told(answer)?.ports)
    }

    /// One port.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn port(&mut self, name: &str) -> Result<proto::Port> {
        self.ports()?
            .into_iter()
            .find(|port| port.name == name)
            .with_context(|| format!("shuntd has no port {name}"))
    }

    /// Frames dropped so far, by port and reason, as one line; empty when none was.
    ///
    /// # Errors
    /// The daemon is gone.
    pub fn drops(&mut self) -> Result<String> {
        let answer = self.runtime.block_on(self.client.show_drops(proto::ShowDropsRequest {}));
        let drops = self.told(answer)?.drops;
        let texts: Vec<String> =
            drops.iter().map(|drop| format!("{} {} {}", drop.port, drop.reason, drop.count)).collect();
        Ok(texts.join(", "))
    }

    /// The newest publications.
    ///
    /// # Errors
    /// The daemon is gone.
    pub fn generations(&mut self) -> Result<Vec<proto::Generation>> {
        let answer = self.runtime.block_on(self.client.show_generations(proto::ShowGenerationsRequest {}));
        Ok(self.told(answer)?.generations)
    }

    /// Sets a port up or down.
    ///
    /// # Errors
    /// The daemon refuses.
    pub fn set_port(&mut self, name: &str, up: bool) -> Result<()> {
        let request = proto::SetPortRequest { name: name.into(), up };
        let answer = self.runtime.block_on(self.client.set_port(request));
        self.told(answer).map(drop)
    }

    /// Adds a port.
    ///
    /// # Errors
    /// The daemon refuses.
    pub fn add_port(&mut self, keys: &[(&str, &str)]) -> Result<()> {
        let pair =
            |(key, value): &(&str, &str)| proto::KeyValue { key: (*key).into(), value: (*value).into() };
        let request = proto::AddPortRequest { keys: keys.iter().map(pair).collect() };
        let answer = self.runtime.block_on(self.client.add_port(request));
        self.told(answer).map(drop)
    }

    /// Removes a port.
    ///
    /// # Errors
    /// The daemon refuses.
    pub fn delete_port(&mut self, name: &str) -> Result<()> {
        let answer =
            self.runtime.block_on(self.client.delete_port(proto::DeletePortRequest { name: name.into() }));
        self.told(answer).map(drop)
    }

    /// Goes to another configuration.
    ///
    /// # Errors
    /// The daemon refuses.
    pub fn apply(&mut self, toml: String) -> Result<()> {
        let request = proto::ApplyRequest { toml, origin: "bench".into() };
        let answer = self.runtime.block_on(self.client.apply(request));
        self.told(answer).map(drop)
    }

    /// The running configuration as TOML.
    ///
    /// # Errors
    /// The daemon is gone.
    pub fn config(&mut self) -> Result<String> {
        let answer = self.runtime.block_on(self.client.get_config(proto::GetConfigRequest {}));
        Ok(self.told(answer)?.toml)
    }

    /// Watches the only worker for `window`.
    ///
    /// # Errors
    /// A signal came, the daemon is gone, or nothing was received.
    pub fn watch(&mut self, window: Duration) -> Result<Work> {
        let before = self.only_worker()?;
        stop::pause(window)?;
        let after = self.only_worker()?;
        ensure!(after.packets > before.packets, "shuntd received nothing; {}", self.running.stderr().text(0));
        Ok(Work::between(&before, &after))
    }

    /// How the table of connections is doing.
    ///
    /// # Errors
    /// The daemon is gone.
    pub fn connections(&mut self) -> Result<proto::ConnectionStatistics> {
        let request = proto::ShowConnectionStatisticsRequest {};
        let answer = self.runtime.block_on(self.client.show_connection_statistics(request));
        self.told(answer)
    }

    /// Where it listens, for `shunt`.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join(SOCKET)
    }

    /// The counters of the only worker.
    ///
    /// # Errors
    /// The daemon is gone, or has several workers.
    pub fn only_worker(&mut self) -> Result<proto::Worker> {
        let mut workers = self.workers()?;
        ensure!(workers.len() == 1, "one worker is measured, shuntd has {}", workers.len());
        workers.pop().context("no worker")
    }

    fn told<T>(&self, answer: Result<T, Failure>) -> Result<T> {
        answer.map_err(|failure| anyhow!("{}\n{}", failure.message, self.running.stderr().text(0)))
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.running.signal(Signal::SIGTERM);
        match self.running.wait(STOP) {
            Ok(status) if status.success() => {}
            Ok(status) => {
                eprintln!("bench: shuntd ended with {status}: {}", self.running.stderr().text(0))
            }
            Err(error) => eprintln!("bench: shuntd was killed: {error}"),
        }
    }
}

/// The part of a configuration that all rows share: one worker on the switch's core.
pub fn one_worker(poll: &str, hugepages: &str) -> String {
    let core = cores::SWITCH;
    format!("[memory]\nhugepages = \"{hugepages}\"\n[workers]\ncores = [{core}]\npoll = \"{poll}\"\n")
}

/// A port of a DPDK device in a configuration.
pub fn device_port(name: &str, network: &str, devargs: &str, stations: &[&str]) -> String {
    format!(
        "[[port]]\nname = \"{name}\"\nnetwork = \"{network}\"\nkind = \"dpdk\"\ndevargs = \"{devargs}\"\nstations = {stations:?}\n"
    )
}
