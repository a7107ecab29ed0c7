//! Starts servers on the loopback and a firmware in QEMU, tells the firmware the servers' ports, prints its log, and exits
//! with its exit code.
//!
//! usage: hedge-network-harness --qemu PROGRAM --firmware ELF [--data DIRECTORY] [--servers 3] [--seed 1] [--seconds 60]
//! [--instructions]
//!
//! With `--instructions` the firmware's time does not follow the host's clock: each instruction takes a nanosecond of it.

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
