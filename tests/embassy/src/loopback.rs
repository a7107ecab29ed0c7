//! A stack without a network, whose connections follow a script: [`Loopback`].

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::pending;
use std::net::SocketAddr;
use std::rc::Rc;

use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use embedded_nal_async::TcpConnect;

/// The result of a read.
#[derive(Clone, Debug)]
pub enum Piece {
    /// These bytes. A read returns as many of them as fit.
    Bytes(Vec<u8>),
    /// These bytes, repeated without end.
    Endless(Vec<u8>),
    /// An error.
    Error(ErrorKind),
    /// Nothing: the read waits for ever. Without it, the server closes the connection after the last piece.
    Silence,
}

/// What connections do.
#[derive(Clone, Debug)]
pub struct Script {
    /// The error of connecting, if it fails.
    pub refuses: Option<ErrorKind>,
    /// How many bytes of a request are taken. After them, a write waits for ever or fails.
    pub takes: usize,
    /// The error of a write after them; with `None` it waits for ever.
    pub write_error: Option<ErrorKind>,
    /// What is read, piece by piece.
    pub answer: Vec<Piece>,
}

impl Script {
    /// Takes any request and answers with these bytes.
    #[must_use]
    pub fn answers(bytes: &[u8]) -> Self {
        let answer = vec![Piece::Bytes(bytes.to_vec())];
        Self { refuses: None, takes: usize::MAX, write_error: None, answer }
    }
}

/// A stack whose connections follow a script. It counts what is done with them.
pub struct Loopback {
    script: RefCell<Script>,
    counts: Rc<Counts>,
}

#[derive(Default)]
struct Counts {
    connected: Cell<usize>,
    written: Cell<usize>,
    reads: Cell<usize>,
    open: Cell<usize>,
}

impl Loopback {
    /// A stack that lives until the process ends.
    #[must_use]
    pub fn new(script: Script) -> &'static Self {
        Box::leak(Box::new(Self { script: script.into(), counts: Rc::default() }))
    }

    /// Sets the script of the next connections.
    pub fn becomes(&self, script: Script) {
        self.script.replace(script);
    }

    /// How many connections were asked for.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.counts.connected.get()
    }

    /// How many connections are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.counts.open.get()
    }

    /// How many bytes were written to all connections.
    #[must_use]
    pub fn written(&self) -> usize {
        self.counts.written.get()
    }

    /// How many reads there were from all connections.
    #[must_use]
    pub fn reads(&self) -> usize {
        self.counts.reads.get()
    }
}

impl TcpConnect for Loopback {
    type Error = ErrorKind;
    type Connection<'a> = Connection;

    async fn connect(&self, _: SocketAddr) -> Result<Connection, ErrorKind> {
        self.counts.connected.set(self.counts.connected.get() + 1);
        let script = self.script.borrow().clone();
        if let Some(error) = script.refuses {
            return Err(error);
        }
        self.counts.open.set(self.counts.open.get() + 1);
        Ok(Connection { left: script.takes, answer: script.answer.clone().into(), script, counts: self.counts.clone() })
    }
}

/// A connection of a [`Loopback`].
pub struct Connection {
    script: Script,
    left: usize,
    answer: VecDeque<Piece>,
    counts: Rc<Counts>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.counts.open.set(self.counts.open.get() - 1);
    }
}

impl ErrorType for Connection {
    type Error = ErrorKind;
}

impl Read for Connection {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ErrorKind> {
        self.counts.reads.set(self.counts.reads.get() + 1);
        let Some(piece) = self.answer.front_mut() else { return Ok(0) };
        match piece {
            Piece::Bytes(bytes) => {
                let length = buffer.len().min(bytes.len());
                buffer[..length].copy_from_slice(&bytes[..length]);
                bytes.drain(..length);
                if bytes.is_empty() {
                    self.answer.pop_front();
                }
                Ok(length)
            }
            Piece::Endless(bytes) => {
                let length = buffer.len().min(bytes.len());
                buffer[..length].copy_from_slice(&bytes[..length]);
                bytes.rotate_left(length);
                Ok(length)
            }
            Piece::Error(error) => Err(*error),
            Piece::Silence => pending().await,
        }
    }
}

impl Write for Connection {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        let taken = bytes.len().min(self.left);
        if taken == 0 {
            return match self.script.write_error {
                Some(error) => Err(error),
                None => pending().await,
            };
        }
        self.left -= taken;
        self.counts.written.set(self.counts.written.get() + taken);
        Ok(taken)
    }

    async fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

impl fmt::Debug for Loopback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loopback").field("script", &self.script.borrow()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("left", &self.left).finish_non_exhaustive()
    }
}
