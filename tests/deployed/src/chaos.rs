//! Kills, freezes and restarts servers while calls run: [`Chaos`].

use std::error::Error;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use fastrand::Rng;

use crate::server::{Kind, Server};

/// How long the servers are left alone between two events.
const PAUSE: Duration = Duration::from_millis(300);
/// How long a server is away.
const AWAY: Duration = Duration::from_millis(700);

/// What was done to the servers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Chaos {
    pub(crate) kills: u32,
    pub(crate) freezes: u32,
    /// How often two servers were away at once.
    pub(crate) pairs: u32,
}

impl Chaos {
    /// Disturbs the servers until `over` closes, then brings all of them back. One server stays up at every
    /// moment. The one that misbehaves does not count as up.
    ///
    /// # Errors
    /// A server cannot be stopped or started.
    pub(crate) fn run(servers: &mut [Server], seed: u64, over: &Receiver<()>) -> Result<Self, String> {
        let mut rng = Rng::with_seed(seed);
        let mut done = Self::default();
        while !is_over(over, PAUSE) {
            done.disturb(servers, &mut rng, over).map_err(|error| error.to_string())?;
        }
        Ok(done)
    }

    /// One event: one or two servers go away and come back.
    fn disturb(&mut self, servers: &mut [Server], rng: &mut Rng, over: &Receiver<()>) -> Result<(), Box<dyn Error>> {
        let mut order: Vec<usize> = (0..servers.len()).collect();
        rng.shuffle(&mut order);
        let good = servers.iter().filter(|server| server.kind() != Kind::Misbehaving).count();
        let mut spare = good.saturating_sub(1);
        let wanted = rng.usize(1..=2);
        let mut away = Vec::new();
        for index in order.into_iter().take(wanted) {
            let Some(server) = servers.get_mut(index) else { continue };
            if server.kind() != Kind::Misbehaving {
                if spare == 0 {
                    continue;
                }
                spare -= 1;
            }
            if rng.bool() {
                server.kill();
                self.kills += 1;
            } else {
                server.freeze()?;
                self.freezes += 1;
            }
            away.push(index);
        }
        self.pairs += u32::from(away.len() == 2);
        let _ = is_over(over, AWAY);
        for index in away {
            match servers.get_mut(index) {
                Some(server) if server.is_frozen() => server.thaw()?,
                Some(server) => server.restart()?,
                None => {}
            }
        }
        Ok(())
    }
}

/// Waits so long. Returns earlier, and true, if the calls are over.
pub(crate) fn is_over(over: &Receiver<()>, wait: Duration) -> bool {
    over.recv_timeout(wait) != Err(RecvTimeoutError::Timeout)
}
