//! An HTTP/1.1 server on a loopback port that has a [`Fault`].
//!
//! A thread a connection and blocking reads, so that the runtime under test is left to the client alone, and every close
//! and reset happens exactly where it is written.

use std::collections::{HashMap, VecDeque};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::fault::Fault;

/// How long an answer takes of the server that is slow.
pub(crate) const SLOW: Duration = Duration::from_millis(60);
/// When [`Fault::Closing`] closes, after its answer.
pub(crate) const CLOSES_AFTER: Duration = Duration::from_micros(500);

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n";

/// So many unread connections [`Fault::Early`] holds open; beyond that it closes the oldest. A client that closes them, as it
/// should, does not notice.
const HELD: usize = 256;

/// How long [`Server::stop`] waits for its threads.
const PATIENCE: Duration = Duration::from_secs(5);

/// A server. Dropping it closes its port and all its connections.
#[derive(Debug)]
pub(crate) struct Server {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    listener: TcpListener,
    address: SocketAddr,
    fault: Fault,
    /// How long an answer takes.
    work: Duration,
    /// The fault has begun.
    bad: AtomicBool,
    stopped: AtomicBool,
    /// How many requests have come.
    requests: AtomicU64,
    connections: Mutex<Connections>,
    /// Told when a connection's thread ends.
    ended: Condvar,
}

#[derive(Debug, Default)]
struct Connections {
    accepted: u64,
    /// With a thread each.
    open: HashMap<u64, Arc<TcpStream>>,
    /// Without: nothing more is read from them, the oldest in front.
    held: VecDeque<Arc<TcpStream>>,
}

/// What becomes of a connection whose thread has nothing more to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Then {
    /// It is closed. If something is unread, that is a reset.
    Close,
    /// It stays open, and nothing more is read.
    Hold,
}

impl Server {
    /// Starts a server that takes so long for an answer. It is as good as any until [`turn_bad`](Self::turn_bad).
    ///
    /// # Errors
    /// No port or no thread is to be had.
    pub(crate) fn start(fault: Fault, work: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let shared = Arc::new(Shared {
            address: listener.local_addr()?,
            listener,
            fault,
            work,
            bad: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            connections: Mutex::default(),
            ended: Condvar::new(),
        });
        let own = Arc::clone(&shared);
        thread::Builder::new().name("accept".into()).spawn(move || own.accept())?;
        Ok(Self { shared })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// The fault begins, at the next request of each connection.
    pub(crate) fn turn_bad(&self) {
        self.shared.bad.store(true, Ordering::Relaxed);
    }

    /// Closes everything and waits until all threads have ended; false if some have not after 5 s.
    pub(crate) fn stop(self) -> bool {
        self.shared.stop();
        let connections = self.shared.connections();
        let waited = self.shared.ended.wait_timeout_while(connections, PATIENCE, |all| !all.open.is_empty());
        waited.is_ok_and(|(_, timed_out)| !timed_out.timed_out())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl Shared {
    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        if self.stopped.swap(true, Ordering::SeqCst) {
            return;
        }
        // Wakes the thread that accepts; without it there is no such thread any more.
        drop(TcpStream::connect(self.address));
        let mut connections = self.connections();
        connections.held.clear();
        for stream in connections.open.values() {
            // An error is a connection that the client has closed.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn accept(self: &Arc<Self>) {
        loop {
            let accepted = self.listener.accept();
            // Under the lock, so that `stop` sees each connection or this sees that it is stopped.
            let mut connections = self.connections();
            if self.stopped.load(Ordering::SeqCst) {
                return;
            }
            // An error is a client that went away meanwhile.
            let Ok((stream, _)) = accepted else { continue };
            let stream = Arc::new(stream);
            connections.accepted += 1;
            let id = connections.accepted;
            connections.open.insert(id, Arc::clone(&stream));
            drop(connections);
            let own = Arc::clone(self);
            let spawned = thread::Builder::new().name("connection".into()).spawn(move || {
                // An error is a client that went away: how hedged calls end for the loser.
                let then = own.serve(&stream).unwrap_or(Then::Close);
                own.end(id, stream, then);
            });
            if spawned.is_err() {
                self.connections().open.remove(&id);
            }
        }
    }

    fn end(&self, id: u64, stream: Arc<TcpStream>, then: Then) {
        let mut connections = self.connections();
        // The last handle is the one that closes.
        connections.open.remove(&id);
        if then == Then::Hold && !self.stopped.load(Ordering::SeqCst) {
            if connections.held.len() >= HELD {
                connections.held.pop_front();
            }
            connections.held.push_back(stream);
        } else {
            drop(stream);
        }
        self.ended.notify_all();
    }

    /// The fault, once it has begun.
    fn fault(&self) -> Fault {
        if self.bad.load(Ordering::Relaxed) { self.fault } else { Fault::None }
    }

    /// Answers the requests of a connection until its end.
    fn serve(&self, stream: &TcpStream) -> io::Result<Then> {
        stream.set_nodelay(true)?;
        let mut input = BufReader::with_capacity(1 << 16, stream);
        let mut output = stream;
        let mut answered = 0;
        loop {
            if answered > 0 && self.fault == Fault::Resetting && is_used_again(stream)? && self.fault() != Fault::None {
                // The request is not read, which is what makes closing a reset.
                return Ok(Then::Close);
            }
            let Some(length) = read_head(&mut input)? else { return Ok(Then::Close) };
            let number = self.requests.fetch_add(1, Ordering::Relaxed);
            let fault = self.fault();
            match fault {
                Fault::Early | Fault::EarlyClosing => {
                    output.write_all(ANSWER)?;
                    return Ok(if fault == Fault::Early { Then::Hold } else { Then::Close });
                }
                Fault::Hung => return drain(input),
                Fault::Swallowing if number % 2 == 1 => return drain(input),
                _ => {}
            }
            io::copy(&mut input.by_ref().take(length), &mut io::sink())?;
            thread::sleep(if fault == Fault::Slow { SLOW } else { self.work });
            output.write_all(ANSWER)?;
            answered += 1;
            if fault == Fault::Closing {
                thread::sleep(CLOSES_AFTER);
                return Ok(Then::Close);
            }
        }
    }
}

/// Waits for the next request without reading it; false if the client has closed.
fn is_used_again(stream: &TcpStream) -> io::Result<bool> {
    stream.peek(&mut [0]).map(|bytes| bytes > 0)
}

/// Reads until the client closes.
fn drain(mut input: impl Read) -> io::Result<Then> {
    io::copy(&mut input, &mut io::sink())?;
    Ok(Then::Close)
}

/// Reads a request's head; answers the length of its body, `None` at the end of the connection.
fn read_head(input: &mut impl BufRead) -> io::Result<Option<u64>> {
    let mut length = 0;
    let mut line = String::new();
    loop {
        line.clear();
        if input.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
            Some((name, _)) if name.eq_ignore_ascii_case("transfer-encoding") => {
                return Err(io::Error::other("a body without a length"));
            }
            None if line.trim_end().is_empty() => return Ok(Some(length)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
