//! `shuntd`: from the command line to a running switch, and its clean end.
//!
//! Order of the start: arguments, configuration, DPDK and workers, ports, control thread, control socket, `READY`.
//! Exit codes: 0 after a clean stop, 1 when the switch could not start, 2 for bad input. A panic of any thread aborts
//! the process, because a switch that has lost a worker or its control thread would look alive and drop frames.
//!
//! | file | holds |
//! |---|---|
//! | `options` | the command line |
//! | `signals` | what SIGHUP, SIGTERM and SIGINT do |
//! | `service` | what the service manager is told |
//! | `log` | where the log goes |

mod log;
mod options;
mod service;
mod signals;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use shunt_config::{Config, LoadError};

use crate::control::api::{ApiServer, ServeError, Socket, SocketError, socket};
use crate::control::kept::{Kept, KeptError};
use crate::control::{Control, Running, StartError};
use crate::metrics::{self, Endpoint, EndpointError, MetricsServer};

pub use options::Options;

/// Exit code for bad input, as clap's own.
const BAD_INPUT: u8 = 2;

/// Why the daemon did not start.
#[derive(Debug, thiserror::Error)]
enum DaemonError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] LoadError),
    /// Workers, memory, DPDK.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Ports did not open and `--strict` was given.
    #[error("{0} of the configured ports did not open (see above), and --strict was given")]
    Ports(usize),
    /// The control socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The directory of what was applied.
    #[error(transparent)]
    Kept(#[from] KeptError),
    /// The thread behind it.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// Where metrics are to be served.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The thread that serves them.
    #[error(transparent)]
    Metrics(#[from] metrics::ServeError),
    /// A thread or the signal mask.
    #[error("the system refused {what}: {source}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// Its answer.
        source: std::io::Error,
    },
}

/// Runs the daemon as the command line says, until it is told to stop.
pub fn main() -> ExitCode {
    let options = Options::parse();
    if options.check {
        return check(&options);
    }
    if let Err(message) = log::start(options.log.as_deref()) {
        eprintln!("shuntd: {message}");
        return ExitCode::from(BAD_INPUT);
    }
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", told(&error));
            ExitCode::from(if matches!(error, DaemonError::Config(_)) { BAD_INPUT } else { 1 })
        }
    }
}

/// What the person at the terminal reads. Mistakes in a file begin with their place, as editors like it.
fn told(error: &DaemonError) -> String {
    match error {
        DaemonError::Config(LoadError::Invalid(errors)) => errors.to_string(),
        other => format!("shuntd: {other}"),
    }
}

/// The configuration that the options name, or the embedded default.
fn configuration(options: &Options) -> Result<Config, LoadError> {
    options.config.as_deref().map_or_else(|| Ok(Config::default()), shunt_config::load)
}

/// `--check`: says whether the configuration is valid and does nothing else.
fn check(options: &Options) -> ExitCode {
    match configuration(options) {
        Ok(config) => {
            let name =
                options.config.as_ref().map_or("the default".into(), |path| path.display().to_string());
            let (networks, ports) = (config.networks.len(), config.ports.len());
            println!("{name}: valid, networks: {networks}, ports: {ports}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}", told(&error.into()));
            ExitCode::from(BAD_INPUT)
        }
    }
}

/// From start to stop.
fn run(options: &Options) -> Result<(), DaemonError> {
    let system = |what| move |source| DaemonError::System { what, source };
    let config = configuration(options)?;
    // Before the first thread: all inherit the mask, and only the main thread takes signals.
    let signals = signals::Signals::claim().map_err(system("the signal mask"))?;
    abort_on_panic();
    // A second daemon by mistake ends here, before it disturbs a device of the first. The socket itself comes last: who
    // can connect to it finds a switch that works.
    let path = options.socket.as_ref().unwrap_or(&config.daemon.socket);
    socket::check(path)?;
    let endpoint = config.metrics.listen.as_ref().map(Endpoint::bind).transpose()?;

    let running = start(&config, options.strict, system("the control thread"))?;
    let (metrics, api) = match serve(endpoint, path, &running) {
        Ok(served) => served,
        Err(error) => {
            running.stop();
            return Err(error);
        }
    };
    if let Some(listen) = &config.metrics.listen {
        tracing::info!(%listen, "serving metrics");
    }
    service::ready(&running.handle());
    signals.serve(options.config.as_deref(), &running.handle());
    service::stopping();
    api.stop();
    drop(metrics);
    running.stop();
    Ok(())
}

/// Metrics, if wanted, and the control socket.
fn serve(
    endpoint: Option<Endpoint>,
    path: &Path,
    running: &Running,
) -> Result<(Option<MetricsServer>, ApiServer), DaemonError> {
    let metrics = endpoint.map(|endpoint| MetricsServer::start(endpoint, running.handle())).transpose()?;
    Ok((metrics, listen(path, running)?))
}

/// The control socket and the thread behind it.
fn listen(path: &Path, running: &Running) -> Result<ApiServer, DaemonError> {
    let api = ApiServer::start(Socket::bind(path)?, running.handle())?;
    tracing::info!(socket = %path.display(), "listening");
    Ok(api)
}

/// DPDK, workers, ports, control thread.
fn start(
    config: &Config,
    strict: bool,
    refused: impl FnOnce(std::io::Error) -> DaemonError,
) -> Result<Running, DaemonError> {
    let mut kept = state_dir(config).map(|dir| Kept::open(&dir)).transpose()?;
    let whole = kept.as_mut().map(|kept| with_kept(kept, config));
    let config = whole.as_ref().unwrap_or(config);
    let mut control = Control::start(config)?;
    let failed = control.apply_at_start(config);
    for error in &failed {
        tracing::warn!("{error}; the port stays down and is tried again until it opens");
    }
    if let Some(kept) = kept {
        control.keep(kept);
    }
    let running = control.spawn().map_err(refused)?;
    if strict && !failed.is_empty() {
        running.stop();
        return Err(DaemonError::Ports(failed.len()));
    }
    Ok(running)
}

/// Where what is applied beyond the file is kept: as configured, else where the service manager says (`StateDirectory=` of
/// systemd.exec(5), which may name several).
fn state_dir(config: &Config) -> Option<PathBuf> {
    let given = || {
        let all = std::env::var_os("STATE_DIRECTORY")?;
        let first = all.as_bytes().split(|byte| *byte == b':').next().filter(|first| !first.is_empty())?;
        Some(PathBuf::from(OsStr::from_bytes(first)))
    };
    config.daemon.state_dir.clone().or_else(given)
}

/// `file` with what was applied before.
fn with_kept(kept: &mut Kept, file: &Config) -> Config {
    let (whole, aside) = kept.over(file);
    kept.note_aside(&aside);
    aside.iter().for_each(|aside| tracing::error!("{aside}"));
    if !kept.is_empty() {
        let objects = kept.len() - aside.len();
        tracing::info!(objects, aside = aside.len(), "applied before, and in force again");
    }
    whole
}

/// Lets a panic of any thread end the process, after its message was printed. A release build aborts anyway.
fn abort_on_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        std::process::abort();
    }));
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    /// Set in the process that is to panic.
    const INNER: &str = "SHUNT_TEST_PANIC";

    #[test]
    fn a_panic_of_any_thread_ends_the_process() {
        if std::env::var_os(INNER).is_some() {
            super::abort_on_panic();
            let _ = std::thread::spawn(|| panic!("on purpose")).join();
            // Reached only when the panic stayed in its thread; then this process ends with 0.
            return;
        }
        let name = "daemon::tests::a_panic_of_any_thread_ends_the_process";
        let mut again = Command::new(std::env::current_exe().unwrap());
        let output = again.args(["--exact", name, "--nocapture"]).env(INNER, "1").output().unwrap();
        assert_eq!(output.status.signal(), Some(nix::libc::SIGABRT), "{:?}", output.status);
        assert!(String::from_utf8_lossy(&output.stderr).contains("on purpose"));
    }
}
