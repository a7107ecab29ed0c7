//! HTTP/1.1 servers within the process, each as slow as it is told.
//!
//! A thread a connection, and [`std::thread::sleep`] for the wait: that is some 60 µs late, where the timer wheel of an
//! async runtime is late by a millisecond, and it leaves the runtime under test to the client alone. The threads are there
//! before they are needed: one made for each connection that a lost attempt closed would make a busy machine's backups
//! look slower than they are.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// What a replica does about one request.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// How long it works on it.
    pub after: Duration,
    /// The HTTP status that it then answers.
    pub status: u16,
}

impl Answer {
    /// Status 200 after so long.
    #[must_use]
    pub const fn ok(after: Duration) -> Self {
        Self { after, status: 200 }
    }
}

/// How many threads of a replica wait for connections from its start: clients seldom have to wait until one is made.
const THREADS: usize = 16;

/// A server on a loopback port of its own. Dropping it closes the port; connections live until their client hangs up.
#[derive(Debug)]
pub struct Replica {
    address: SocketAddr,
    closed: Arc<AtomicBool>,
}

/// What the threads of a replica share.
struct Shared<F> {
    listener: TcpListener,
    address: SocketAddr,
    closed: Arc<AtomicBool>,
    /// How many threads wait for a connection.
    waiting: AtomicUsize,
    answer: Mutex<F>,
}

impl Replica {
    /// Starts a server that asks `answer` what to do once a request, in the order of arrival.
    ///
    /// # Errors
    /// No port or no thread is to be had.
    pub fn start(answer: impl FnMut() -> Answer + Send + 'static) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let closed = Arc::new(AtomicBool::new(false));
        let (waiting, answer) = (AtomicUsize::new(0), Mutex::new(answer));
        let shared = Arc::new(Shared { listener, address, closed: Arc::clone(&closed), waiting, answer });
        for _ in 0..THREADS {
            spawn(&shared)?;
        }
        Ok(Self { address, closed })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::SeqCst);
        wake(self.address);
    }
}

/// Wakes one thread that waits for a connection; if none can be reached, none is left.
fn wake(address: SocketAddr) {
    drop(TcpStream::connect(address));
}

/// The replicas as a list that a channel can be built for: `list://127.0.0.1:1234,…`.
#[must_use]
pub fn servers(replicas: &[Replica]) -> String {
    let addresses: Vec<_> = replicas.iter().map(|replica| replica.address.to_string()).collect();
    format!("list://{}", addresses.join(","))
}

/// One more thread that waits for connections.
fn spawn<F: FnMut() -> Answer + Send + 'static>(shared: &Arc<Shared<F>>) -> io::Result<()> {
    let own = Arc::clone(shared);
    shared.waiting.fetch_add(1, Ordering::SeqCst);
    let spawned = thread::Builder::new().name("replica".into()).spawn(move || accept(&own));
    if spawned.is_err() {
        shared.waiting.fetch_sub(1, Ordering::SeqCst);
    }
    spawned.map(drop)
}

fn accept<F: FnMut() -> Answer + Send + 'static>(shared: &Arc<Shared<F>>) {
    loop {
        let open = || !shared.closed.load(Ordering::SeqCst);
        let connection = open().then(|| shared.listener.accept());
        let alone = shared.waiting.fetch_sub(1, Ordering::SeqCst) == 1;
        match connection {
            Some(connection) if open() => {
                if alone {
                    // Without another thread, the next connection waits for the end of one.
                    let _ = spawn(shared);
                }
                // An error is a client that went away: how hedged calls end for the loser.
                let _ = connection.and_then(|(connection, _)| serve(&connection, &shared.answer));
            }
            _ => {
                // One wakes the other, and the last takes the port along.
                if !alone {
                    wake(shared.address);
                }
                return;
            }
        }
        shared.waiting.fetch_add(1, Ordering::SeqCst);
    }
}

fn serve(connection: &TcpStream, answer: &Mutex<impl FnMut() -> Answer>) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut input = BufReader::new(connection);
    let mut output = connection;
    while read_request(&mut input)? {
        let Answer { after, status } = {
            let mut answer = answer.lock().unwrap_or_else(PoisonError::into_inner);
            answer()
        };
        thread::sleep(after);
        output.write_all(format!("HTTP/1.1 {status} \r\ncontent-length: 3\r\n\r\nok\n").as_bytes())?;
    }
    Ok(())
}

/// Reads one request and forgets it; false at the end of the connection.
fn read_request(input: &mut impl BufRead) -> io::Result<bool> {
    let mut body = 0;
    let mut line = String::new();
    loop {
        line.clear();
        if input.read_line(&mut line)? == 0 {
            return Ok(false);
        }
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                body = value.trim().parse().map_err(io::Error::other)?;
            }
            None if line.trim_end().is_empty() => break,
            _ => {}
        }
    }
    io::copy(&mut input.take(body), &mut io::sink())?;
    Ok(true)
}

/// The service times of one replica: lognormal, and now and then a stall. The same seed gives the same sequence.
#[derive(Clone, Debug)]
pub struct ServiceTimes {
    random: fastrand::Rng,
}

impl ServiceTimes {
    const MEDIAN_S: f64 = 0.000_5;
    const SIGMA: f64 = 0.5;
    const STALL: Duration = Duration::from_millis(20);
    const STALLED: f64 = 0.05;

    /// The times of replica number `replica`.
    #[must_use]
    pub fn new(seed: u64, replica: u64) -> Self {
        // The generator scrambles its seed only as it draws: far apart is safer than next to each other.
        let seed = seed.wrapping_add(replica.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self { random: fastrand::Rng::with_seed(seed) }
    }
}

impl Iterator for ServiceTimes {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        // Box and Muller's way to the normal distribution; the first draw is kept off zero for the logarithm.
        let (radius, angle) = (1.0 - self.random.f64(), self.random.f64());
        let normal = (-2.0 * radius.ln()).sqrt() * (core::f64::consts::TAU * angle).cos();
        let work = Duration::from_secs_f64(Self::MEDIAN_S * (Self::SIGMA * normal).exp());
        let stalled = self.random.f64() < Self::STALLED;
        Some(if stalled { work + Self::STALL } else { work })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_service_times() {
        let times = |seed, replica| ServiceTimes::new(seed, replica).take(100).collect::<Vec<_>>();
        assert_eq!(times(1, 0), times(1, 0));
        assert_ne!(times(1, 0), times(1, 1));
        assert_ne!(times(1, 0), times(2, 0));
    }

    #[test]
    fn service_times_have_their_median_and_their_stalls() {
        let mut times: Vec<_> = ServiceTimes::new(7, 0).take(10_000).collect();
        times.sort_unstable();
        let median = times[5_000].as_secs_f64() * 1_000.0;
        assert!((0.47..0.56).contains(&median), "median {median} ms");
        let stalls = times.iter().filter(|time| **time >= Duration::from_millis(20)).count();
        assert!((400..600).contains(&stalls), "{stalls} stalls in 10000");
    }

    #[test]
    fn a_replica_answers_several_requests_on_one_connection() {
        let mut status = 200;
        let replica = Replica::start(move || {
            status += 1;
            Answer { after: Duration::ZERO, status }
        })
        .unwrap();
        let mut connection = TcpStream::connect(replica.address()).unwrap();
        connection.write_all(b"GET / HTTP/1.1\r\n\r\nPOST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi").unwrap();
        let mut got = [0; 2 * "HTTP/1.1 201 \r\ncontent-length: 3\r\n\r\nok\n".len()];
        connection.read_exact(&mut got).unwrap();
        let text = String::from_utf8_lossy(&got);
        assert!(text.contains("HTTP/1.1 201") && text.contains("HTTP/1.1 202"), "{text}");
    }

    #[test]
    fn a_dropped_replica_closes_its_port() {
        let replica = Replica::start(|| Answer::ok(Duration::ZERO)).unwrap();
        let address = replica.address();
        drop(replica);
        let refused = (0..100).any(|_| {
            thread::sleep(Duration::from_millis(10));
            TcpStream::connect(address).is_err()
        });
        assert!(refused);
    }

    #[test]
    fn replicas_make_a_list() {
        let replicas = [(); 2].map(|()| Replica::start(|| Answer::ok(Duration::ZERO)).unwrap());
        let [first, second] = &replicas;
        assert_eq!(servers(&replicas), format!("list://{},{}", first.address(), second.address()));
    }
}
