//! Three servers of a line protocol on loopback, each a thread; one never answers.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

pub(crate) struct Servers {
    pub(crate) addresses: [SocketAddr; 3],
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// The server that never answers.
    stalled: OnceLock<SocketAddr>,
    /// Whether a client of it has closed the connection.
    closed: AtomicBool,
}

impl Servers {
    pub(crate) fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let addresses = [serve("server 1", &shared)?, serve("server 2", &shared)?, serve("server 3", &shared)?];
        Ok(Self { addresses, shared })
    }

    /// Makes a server stall, before it is asked; the first that is named is the only one.
    pub(crate) fn stall(&self, address: SocketAddr) {
        self.shared.stalled.get_or_init(|| address);
    }

    /// Whether a client of the server that stalls has closed the connection.
    pub(crate) fn stalled_is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Acquire)
    }
}

/// Takes one connection after the other, for as long as the program runs.
fn serve(name: &'static str, shared: &Arc<Shared>) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            if shared.stalled.get() == Some(&address) {
                stall(&connection, &shared.closed);
            } else {
                drop(answer(name, &connection));
            }
        }
    });
    Ok(address)
}

/// Answers a line with itself and the server's name.
fn answer(name: &str, mut connection: &TcpStream) -> io::Result<()> {
    let mut line = String::new();
    BufReader::new(connection).read_line(&mut line)?;
    connection.write_all(format!("{} from {name}\n", line.trim_end()).as_bytes())
}

/// Reads until the client closes, or resets, the connection.
fn stall(mut connection: &TcpStream, closed: &AtomicBool) {
    drop(io::copy(&mut connection, &mut io::sink()));
    closed.store(true, Ordering::Release);
}
