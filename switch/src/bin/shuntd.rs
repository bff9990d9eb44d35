//! The daemon. Everything is in [`shunt_switch::daemon`].

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    shunt_switch::daemon::main()
}
