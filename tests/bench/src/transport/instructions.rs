//! The same requests in instructions, as callgrind counts them. Unlike time they are nearly the same on a busy machine. The
//! kernel's part is not in them.

use std::net::SocketAddr;
use std::process::Command;
use std::{env, process};

use super::{CALLERS, Client, Version, client_runtime, server};

/// What one request takes is the difference of two runs, divided: connections and all else that is done once cancel out.
const FEW: u32 = 64 * 4;
const MANY: u32 = 64 * 36;

/// Counts and prints everything. `only` names the rows; without names, all are counted.
pub(crate) fn run(only: &[String]) -> Result<(), String> {
    for version in Version::ALL {
        // The server is in this process, so its instructions are not counted.
        let server = server::start(version).map_err(|error| format!("server: {error}"))?;
        for callers in CALLERS {
            println!("{} over loopback, {callers} at once: instructions a request, and their ratio", version.name());
            let mut floor = f64::NAN;
            let is_wanted = |client: &Client| only.is_empty() || only.iter().any(|name| client.name().contains(name));
            for client in Client::ALL.into_iter().filter(is_wanted) {
                let count = |requests| collected(client, version, callers, requests, server);
                let count = (count(MANY)? - count(FEW)?) / f64::from(MANY - FEW);
                if client == Client::Bare {
                    floor = count;
                }
                println!("  {:36}{count:9.0}{:9.2}", client.name(), count / floor);
            }
            println!();
        }
    }
    Ok(())
}

/// Makes requests and nothing else. The arguments are those of [`collected`].
pub(crate) fn requests(arguments: &[String]) -> Result<(), String> {
    let [client, version, callers, requests, server] = arguments else { return Err("wrong arguments".to_owned()) };
    let number = |text: &str| text.parse::<u32>().map_err(|error| format!("{text}: {error}"));
    let server: SocketAddr = server.parse().map_err(|error| format!("{server}: {error}"))?;
    let runtime = client_runtime()?;
    let mut batch = client.parse::<Client>()?.batch(server, version.parse()?, &runtime, number(callers)?)?;
    let fine = batch(number(requests)?);
    drop(batch);
    if fine { Ok(()) } else { Err(format!("{client}: a call did not go as it should")) }
}

/// The instructions of a whole run with so many requests.
fn collected(client: Client, version: Version, callers: u32, requests: u32, server: SocketAddr) -> Result<f64, String> {
    let program = env::current_exe().map_err(|error| format!("this program: {error}"))?;
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program);
    command.args(["--requests", client.name(), version.name()]);
    command.args([callers.to_string(), requests.to_string(), server.to_string()]);
    let process::Output { status, stderr, .. } = command.output().map_err(|error| format!("valgrind: {error}"))?;
    let text = String::from_utf8_lossy(&stderr);
    let count = text.lines().find_map(|line| line.split("Collected : ").nth(1)?.trim().parse().ok());
    count.filter(|_| status.success()).ok_or_else(|| format!("valgrind of {}: {text}", client.name()))
}
