//! The command. Everything is in [`shunt_switch::cli`].

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    shunt_switch::cli::main()
}
