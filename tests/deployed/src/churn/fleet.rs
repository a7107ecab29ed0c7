//! The servers of a run, which are killed and started again: [`Fleet`].

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use fastrand::Rng;
use hedge_fleet::{ServerInfo, ServerState};

use super::replica::Replica;

/// How many servers there are.
const SERVERS: u8 = 8;
/// How many servers are dead at a time, at most.
const MAX_DEAD: usize = 3;
/// How long a server stays dead.
const AWAY: Duration = Duration::from_millis(300);
/// How long a server counts as dead after its return: longer than a call that has found it dead goes on.
const SETTLED: Duration = Duration::from_millis(500);
/// For how long one server stays the one that is up.
const REIGN: Duration = Duration::from_secs(1);
/// For how long the next one is left out of lists at least. No source still has an older list to give then.
const LEFT_OUT: Duration = Duration::from_secs(2);

/// Servers at several addresses of loopback, all on one port, as the addresses of a host have one.
///
/// At every moment, at most three are dead, and one is up and in every list. It is another one from time to time.
pub(super) struct Fleet {
    replicas: Vec<Replica>,
    /// The server that is up and in every list.
    steady: usize,
    next: Next,
    /// Since when `next` is so.
    since: Instant,
    pub(super) kills: u32,
}

/// Who follows the server that is up and in every list. It is up too.
///
/// It is left out of lists until no channel has it, and then put into every list. So a channel that has it then has a list
/// that was written after that, and all later lists have it too.
#[derive(Clone, Copy, Debug)]
enum Next {
    NotYet,
    LeftOut(usize),
    Listed(usize),
}

impl Fleet {
    /// Starts all servers.
    ///
    /// # Errors
    /// A server does not listen in time.
    pub(super) fn start() -> Result<Self, Box<dyn Error>> {
        let port = free_port()?;
        let replicas = addresses(port).map(Replica::start).collect::<Result<_, _>>()?;
        Ok(Self { replicas, steady: 0, next: Next::NotYet, since: Instant::now(), kills: 0 })
    }

    pub(super) fn port(&self) -> u16 {
        self.replicas.first().map_or(0, |replica| replica.address.port())
    }

    /// Draws a list: those that stay up, and about half of the others, dead or not.
    pub(super) fn draw(&self, rng: &mut Rng) -> Vec<SocketAddr> {
        let mut is_listed = |index: &usize| match self.next {
            Next::LeftOut(next) if next == *index => false,
            _ => self.stays(*index) || rng.bool(),
        };
        let mut list: Vec<_> = (0..self.replicas.len()).filter(&mut is_listed).collect();
        rng.shuffle(&mut list);
        list.into_iter().filter_map(|index| Some(self.replicas.get(index)?.address)).collect()
    }

    /// Kills one server if that leaves enough, and starts those again that were dead for long enough.
    ///
    /// # Errors
    /// A server does not listen in time.
    pub(super) fn disturb(&mut self, rng: &mut Rng) -> Result<(), Box<dyn Error>> {
        for replica in &mut self.replicas {
            if !replica.is_up() && replica.since.elapsed() >= AWAY {
                replica.restart()?;
            }
        }
        let dead = self.replicas.iter().filter(|replica| !is_settled(replica)).count();
        let index = rng.usize(..self.replicas.len());
        if dead < MAX_DEAD && !self.stays(index) {
            let victim = self.replicas.get_mut(index).filter(|replica| is_settled(replica));
            self.kills += u32::from(victim.is_some());
            victim.map(Replica::kill);
        }
        Ok(())
    }

    /// Makes another server the one that stays up. `lists` are the present lists of all channels. Only when every channel
    /// has the new one, and calls it, may the old one be killed and be left out of lists.
    pub(super) fn hand_over(&mut self, rng: &mut Rng, lists: &[Vec<ServerInfo>]) {
        let waited = |time| self.since.elapsed() >= time;
        let next = match self.next {
            Next::NotYet if waited(REIGN) => {
                let index = rng.usize(..self.replicas.len());
                let is_fit = index != self.steady && self.replicas.get(index).is_some_and(is_settled);
                if is_fit { Next::LeftOut(index) } else { Next::NotYet }
            }
            Next::LeftOut(next) if waited(LEFT_OUT) && lists.iter().all(|list| self.state(next, list).is_none()) => {
                Next::Listed(next)
            }
            Next::Listed(next) if lists.iter().all(|list| self.state(next, list) == Some(ServerState::Usable)) => {
                self.steady = next;
                Next::NotYet
            }
            unchanged => {
                self.next = unchanged;
                return;
            }
        };
        if !matches!((self.next, next), (Next::NotYet, Next::NotYet)) {
            self.since = Instant::now();
        }
        self.next = next;
    }

    /// The state of a server in a list. `None` if the list does not have it.
    fn state(&self, index: usize, list: &[ServerInfo]) -> Option<ServerState> {
        let address = self.replicas.get(index)?.address.to_string();
        list.iter().find(|server| *server.address == *address).map(|server| server.state)
    }

    /// Whether a server may not be killed.
    fn stays(&self, index: usize) -> bool {
        let next = match self.next {
            Next::NotYet => None,
            Next::LeftOut(next) | Next::Listed(next) => Some(next),
        };
        index == self.steady || next == Some(index)
    }
}

/// Whether a server is up, and has been for so long that no call remembers that it was dead.
fn is_settled(replica: &Replica) -> bool {
    replica.is_up() && replica.since.elapsed() >= SETTLED
}

fn addresses(port: u16) -> impl Iterator<Item = SocketAddr> {
    (1..=SERVERS).map(move |number| SocketAddr::from((Ipv4Addr::new(127, 0, 0, number), port)))
}

/// A port that is free at every address, below those that clients are given.
fn free_port() -> Result<u16, Box<dyn Error>> {
    let mut ports = (0..200).map(|_| fastrand::u16(10_000..32_000));
    let is_free = |port: &u16| addresses(*port).all(|address| TcpListener::bind(address).is_ok());
    ports.find(is_free).ok_or_else(|| "no port is free".into())
}
