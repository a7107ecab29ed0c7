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
/// How long a server still counts as dead after it was started again. A call that found it dead ends earlier than that.
const SETTLED: Duration = Duration::from_millis(500);
/// For how long one server stays the one that is up.
const REIGN: Duration = Duration::from_secs(1);
/// How long the next such server is left out of lists, at least. After that time, no source can still give an older
/// list.
const LEFT_OUT: Duration = Duration::from_secs(2);

/// Servers at several addresses of loopback, all on the same port, because a URL of DNS has one port for all addresses
/// of a host.
///
/// At every moment, at most three servers are dead, and one server is up and in every list. From time to time, another
/// server takes the place of this one.
pub(super) struct Fleet {
    replicas: Vec<Replica>,
    /// The server that is up and in every list.
    steady: usize,
    next: Next,
    /// When `next` changed last.
    since: Instant,
    pub(super) kills: u32,
}

/// The next server that will be up and in every list. It is up already.
///
/// It is left out of lists until no channel has it, and then it is put into every list. If a channel has it after that,
/// the list of the channel is a new one, and all later lists have the server too.
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

    /// Draws a list: the servers that stay up, except one that is left out now, and about half of the others, dead or
    /// not.
    pub(super) fn draw(&self, rng: &mut Rng) -> Vec<SocketAddr> {
        let mut is_listed = |index: &usize| match self.next {
            Next::LeftOut(next) if next == *index => false,
            _ => self.stays(*index) || rng.bool(),
        };
        let mut list: Vec<_> = (0..self.replicas.len()).filter(&mut is_listed).collect();
        rng.shuffle(&mut list);
        list.into_iter().filter_map(|index| Some(self.replicas.get(index)?.address)).collect()
    }

    /// Starts the servers again that were dead for long enough. Then kills one server, if fewer than three are dead and
    /// the drawn server may be killed.
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

    /// Takes the next step, if it is time, to make another server the one that stays up. `lists` are the present lists
    /// of all channels. The old server may be killed and left out of lists only after every channel has the new one as
    /// usable.
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

/// Returns a port that is free at every address. It is below the ports that the operating system gives to clients.
fn free_port() -> Result<u16, Box<dyn Error>> {
    let mut ports = (0..200).map(|_| fastrand::u16(10_000..32_000));
    let is_free = |port: &u16| addresses(*port).all(|address| TcpListener::bind(address).is_ok());
    ports.find(is_free).ok_or_else(|| "no port is free".into())
}
