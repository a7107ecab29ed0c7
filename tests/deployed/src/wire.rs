//! Commands to redis-server and memcached over plain sockets: hedge-wire writes them and reads the answers, and each answer
//! is compared with a model: [`run`].

mod cluster;
mod connection;
mod memcached;
mod program;
mod redis;

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use fastrand::Rng;

/// The results of a run, all of whose answers were as expected.
#[derive(Debug)]
pub(crate) struct Wired {
    rows: Vec<(&'static str, u64, Duration)>,
}

impl Wired {
    /// The title of the columns.
    pub(crate) const HEAD: &str = "wire                    commands       s";
}

impl fmt::Display for Wired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, commands, took)) in self.rows.iter().enumerate() {
            let line_end = if index == 0 { "" } else { "\n" };
            write!(f, "{line_end}{name:<22} {commands:>9} {:>7.1}", took.as_secs_f64())?;
        }
        Ok(())
    }
}

/// Sends about this many commands to each server and protocol, drawn from the seed.
///
/// # Errors
/// A server is missing, or an answer is not as expected. The error has the command, what came and what was expected.
pub(crate) fn run(commands: u64, seed: u64, home: &Path) -> Result<Wired, Box<dyn Error>> {
    let mut rows = Vec::new();
    let mut row = |name: &'static str, run: &mut dyn FnMut() -> Result<u64, Box<dyn Error>>| {
        let begin = Instant::now();
        let sent = run().map_err(|error| format!("{name}: {error}"))?;
        rows.push((name, sent, begin.elapsed()));
        Ok::<_, Box<dyn Error>>(())
    };
    let mut rng = Rng::with_seed(seed);
    row("redis, RESP2", &mut || redis::run(redis::Version::Resp2, commands, &mut rng, home))?;
    row("redis, RESP3", &mut || redis::run(redis::Version::Resp3, commands, &mut rng, home))?;
    row("redis, cluster", &mut || cluster::run(&mut rng, home))?;
    row("memcached, binary", &mut || memcached::binary::run(commands, &mut rng))?;
    row("memcached, meta", &mut || memcached::meta::run(commands, &mut rng))?;
    Ok(Wired { rows })
}

/// Compares an answer with what was expected.
fn same<T: PartialEq + fmt::Debug>(sent: &dyn fmt::Debug, came: &T, expected: &T) -> Result<(), Box<dyn Error>> {
    if came == expected {
        return Ok(());
    }
    Err(format!("{sent:?} was answered with {came:?} instead of {expected:?}").into())
}
