//! A blocking socket whose bytes are read in pieces of random sizes: [`Connection`].

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use fastrand::Rng;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A socket, and what was read from it and is not used yet.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    rng: Rng,
    received: Vec<u8>,
}

impl Connection {
    /// # Errors
    /// The server does not accept.
    pub(super) fn open(address: SocketAddr, rng: &mut Rng) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, rng: rng.fork(), received: Vec::new() })
    }

    /// # Errors
    /// The server has closed the connection.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// What was read and is not used yet.
    pub(super) fn received(&self) -> &[u8] {
        &self.received
    }

    /// Reads one piece more.
    ///
    /// # Errors
    /// The server has closed the connection, or is silent.
    pub(super) fn read(&mut self) -> io::Result<()> {
        let mut piece = [0; 4096];
        // Half of the pieces are short, so that they end anywhere in an answer.
        let size = if self.rng.bool() { self.rng.usize(1..40) } else { piece.len() };
        let read = self.stream.read(piece.get_mut(..size).unwrap_or(&mut []))?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.received.extend_from_slice(piece.get(..read).unwrap_or(&[]));
        Ok(())
    }

    /// Drops the first bytes, which were used.
    pub(super) fn drop_first(&mut self, bytes: usize) {
        self.received.drain(..bytes.min(self.received.len()));
    }
}
