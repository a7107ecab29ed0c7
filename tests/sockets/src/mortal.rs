//! A server that is killed and comes back at the same address.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time;

use hedge_core::time::{Duration, Instant};
use hedge_net::{ProbeAnswer, ServerLoad};

use super::signal::Signal;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A port that nobody else takes while its server is down: below those that clients are given, and where each process has an
/// address of its own, as all of 127.0.0.0/8 is this machine, on that.
fn free_listener() -> TcpListener {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let own = if cfg!(target_os = "linux") { Ipv4Addr::new(127, 128 | high, middle, low) } else { Ipv4Addr::LOCALHOST };
    loop {
        let offset = (std::process::id() * 131 + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        let port = u16::try_from(12_000 + offset).unwrap();
        if let Ok(listener) = TcpListener::bind((own, port)) {
            return listener;
        }
    }
}

/// An address where nobody listens until somebody does.
pub fn nobody_yet() -> SocketAddr {
    free_listener().local_addr().unwrap()
}

/// Answers every request with "ok" as quickly as it can.
pub struct Mortal {
    pub address: SocketAddr,
    /// A connection was accepted, in whichever life.
    pub accepted: Signal,
    pub load: Load,
    life: Option<Life>,
}

/// How busy a server is, as it says when it is probed; nothing while it is dead.
#[derive(Clone)]
pub struct Load(Arc<Told>);

struct Told {
    load: ServerLoad,
    alive: AtomicBool,
    /// When the server's own clock began.
    began: time::Instant,
}

impl Load {
    fn new() -> Self {
        Self(Arc::new(Told { load: ServerLoad::new(), alive: AtomicBool::new(false), began: time::Instant::now() }))
    }

    pub fn answer(&self) -> Option<ProbeAnswer> {
        self.0.alive.load(Ordering::SeqCst).then(|| self.0.load.answer(self.now()))
    }

    /// Runs the work on a request. What it takes is told in milliseconds that have begun: by microseconds of one write,
    /// which are chance, one of several servers that are alike would be the quickest, and have nearly all calls.
    fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        let (before, begun) = (self.0.load.started(), time::Instant::now());
        let done = work();
        let latency = Duration::from_millis(u64::try_from(begun.elapsed().as_millis()).unwrap() + 1);
        self.0.load.finished(self.now(), before, latency);
        done
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.0.began.elapsed()
    }
}

struct Life {
    shared: Arc<Mutex<Shared>>,
    listening: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    killed: bool,
    connections: Vec<TcpStream>,
}

impl Mortal {
    pub fn start() -> Self {
        let listener = free_listener();
        let address = listener.local_addr().unwrap();
        let mut server = Self { address, accepted: Signal::new(), load: Load::new(), life: None };
        server.live(listener);
        server
    }

    /// Closes the port and every connection.
    pub fn kill(&mut self) {
        let life = self.life.take().unwrap();
        self.load.0.alive.store(false, Ordering::SeqCst);
        {
            let mut shared = life.shared.lock().unwrap();
            shared.killed = true;
            for connection in shared.connections.drain(..) {
                let _ = connection.shutdown(Shutdown::Both);
            }
        }
        // Who waits for a connection gets one.
        drop(TcpStream::connect(self.address));
        life.listening.join().unwrap();
    }

    pub fn restart(&mut self) {
        self.live(TcpListener::bind(self.address).unwrap());
    }

    fn live(&mut self, listener: TcpListener) {
        let shared = Arc::<Mutex<Shared>>::default();
        let (own, accepted, load) = (Arc::clone(&shared), self.accepted.clone(), self.load.clone());
        load.0.alive.store(true, Ordering::SeqCst);
        let listening = thread::spawn(move || {
            loop {
                let (connection, _) = listener.accept().unwrap();
                let mut shared = own.lock().unwrap();
                if shared.killed {
                    return;
                }
                accepted.raise();
                connection.set_nodelay(true).unwrap();
                shared.connections.push(connection.try_clone().unwrap());
                drop(shared);
                let load = load.clone();
                thread::spawn(move || serve(connection, &load));
            }
        });
        self.life = Some(Life { shared, listening });
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        if self.life.is_some() {
            self.kill();
        }
    }
}

/// Requests without bodies, one answer for each.
fn serve(mut connection: TcpStream, load: &Load) {
    let (mut chunk, mut ends) = ([0; 4096], 0);
    while let Ok(read @ 1..) = connection.read(&mut chunk) {
        for byte in &chunk[..read] {
            ends = match (ends, byte) {
                (0 | 2, b'\r') | (1 | 3, b'\n') => ends + 1,
                (_, b'\r') => 1,
                _ => 0,
            };
            if ends == 4 {
                ends = 0;
                if load.during(|| connection.write_all(ANSWER)).is_err() {
                    return;
                }
            }
        }
    }
}
