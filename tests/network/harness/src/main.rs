//! Starts servers on the loopback and a firmware in QEMU that is told their ports, prints what the firmware logs, and exits
//! as it exits.
//!
//! usage: hedge-network-harness --qemu PROGRAM --firmware ELF [--data DIRECTORY] [--servers 3] [--seed 1] [--seconds 60]
//! [--instructions]
//!
//! `--instructions` lets the firmware's time pass with its instructions, a nanosecond each, and not with the host's clock.

mod machine;
mod options;
mod servers;

use std::process::ExitCode;

use options::Options;
use servers::Servers;

fn main() -> ExitCode {
    let run = Options::parse(std::env::args().skip(1)).and_then(|options| {
        let servers = Servers::start(options.servers, options.seed).map_err(|error| format!("no server: {error}"))?;
        machine::run(&options, &servers.arguments(options.seed))
    });
    match run {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
