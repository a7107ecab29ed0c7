//! A pool of embassy-net's sockets: [`Sockets`].

use core::cell::Cell;
use core::fmt;
use core::future::Future;
use core::net::SocketAddr;

use embassy_net::tcp::{ConnectError, Error, State, TcpSocket};
use embassy_net::{IpEndpoint, Stack};
use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use embedded_nal_async::TcpConnect;

/// The buffers of `N` sockets. Each socket has `TX` bytes for data that is sent and not yet acknowledged, and `RX`
/// bytes for data that is received and not yet read.
pub struct SocketBuffers<const N: usize, const TX: usize, const RX: usize> {
    buffers: [([u8; TX], [u8; RX]); N],
}

impl<const N: usize, const TX: usize, const RX: usize> SocketBuffers<N, TX, RX> {
    /// Buffers that no socket uses yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { buffers: [([0; TX], [0; RX]); N] }
    }
}

/// `N` of embassy-net's TCP sockets. At most `N` connections are open at once, and each socket serves one connection
/// after another.
///
/// embassy-net's own `TcpClient` is a pool of sockets too. `Sockets` does two things better:
/// - When a connection is dropped, the server learns of it: the connection is reset, so that the server stops its work,
///   or closed in order if the server has already closed its side. `TcpClient` forgets the connection without a
///   message. The server then learns of it when it next sends, and keeps its side open until then.
/// - If no socket is free, the error says so. `TcpClient` reports it like a server that refuses, which isolates the
///   server.
///
/// The sockets stay in the stack as long as this pool exists, so the stack's resources need room for `N` sockets.
pub struct Sockets<'d, const N: usize> {
    free: [Cell<Option<TcpSocket<'d>>>; N],
}

impl<'d, const N: usize> Sockets<'d, N> {
    /// Takes `N` sockets of a stack.
    pub fn new<const TX: usize, const RX: usize>(stack: Stack<'d>, buffers: &'d mut SocketBuffers<N, TX, RX>) -> Self {
        let free = buffers.buffers.each_mut().map(|(tx, rx)| {
            let mut socket = TcpSocket::new(stack, rx, tx);
            // A request is written in two pieces. Nagle's algorithm would delay the second until the first is
            // acknowledged.
            socket.set_nagle_enabled(false);
            Cell::new(Some(socket))
        });
        Self { free }
    }

    /// How many sockets are free. All of them are free if no connection is open and none is being made.
    pub fn free(&self) -> usize {
        self.free.iter().filter(|place| peek(place, |_| ()).is_some()).count()
    }

    /// Takes a free socket. A socket whose last connection is completely closed is preferred, since taking another one
    /// aborts the closing of its last connection.
    fn take(&self) -> Option<Connection<'_, 'd>> {
        let done = |socket: &TcpSocket<'d>| socket.state() == State::Closed && socket.remote_endpoint().is_none();
        let rested = self.free.iter().find(|place| peek(place, done) == Some(true));
        let place = rested.or_else(|| self.free.iter().find(|place| peek(place, |_| ()).is_some()))?;
        let mut socket = place.take()?;
        socket.abort();
        Some(Connection { place, socket: Some(socket) })
    }
}

/// The result of `look` for the socket in a place; `None` if the place is empty.
fn peek<'d, V>(place: &Cell<Option<TcpSocket<'d>>>, look: impl FnOnce(&TcpSocket<'d>) -> V) -> Option<V> {
    let socket = place.take()?;
    let seen = look(&socket);
    place.set(Some(socket));
    Some(seen)
}

/// A connection over one of [`Sockets`]. When it is dropped, it is closed if the server has already closed its side,
/// and reset otherwise. Its socket is free at once.
pub struct Connection<'a, 'd> {
    place: &'a Cell<Option<TcpSocket<'d>>>,
    socket: Option<TcpSocket<'d>>,
}

impl<'d> Connection<'_, 'd> {
    /// The socket, which is there until the drop.
    fn socket(&mut self) -> Result<&mut TcpSocket<'d>, SocketError> {
        self.socket.as_mut().ok_or(SocketError::NoSocket)
    }
}

impl Drop for Connection<'_, '_> {
    fn drop(&mut self) {
        if let Some(socket) = &mut self.socket {
            // The stack's task sends the packet, since the socket stays in the stack.
            if socket.state() == State::CloseWait { socket.close() } else { socket.abort() }
        }
        self.place.set(self.socket.take());
    }
}

impl<'d, const N: usize> TcpConnect for Sockets<'d, N> {
    type Error = SocketError;
    type Connection<'a>
        = Connection<'a, 'd>
    where
        Self: 'a;

    fn connect<'a>(&'a self, remote: SocketAddr) -> impl Future<Output = Result<Self::Connection<'a>, SocketError>> {
        // The address is converted before the future is made, so the future holds the smaller type.
        let remote = match remote {
            SocketAddr::V4(remote) => Ok(IpEndpoint::from(remote)),
            #[cfg(feature = "proto-ipv6")]
            SocketAddr::V6(remote) => Ok(IpEndpoint::from(remote)),
            #[cfg(not(feature = "proto-ipv6"))]
            SocketAddr::V6(_) => Err(SocketError::Connect(ConnectError::NoRoute)),
        };
        async move {
            let mut connection = self.take().ok_or(SocketError::NoSocket)?;
            connection.socket()?.connect(remote?).await.map_err(SocketError::Connect)?;
            Ok(connection)
        }
    }
}

/// Why a connection could not be made, or has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum SocketError {
    /// All sockets are in use.
    NoSocket,
    /// The connection could not be made.
    Connect(ConnectError),
    /// The connection broke.
    Broken(Error),
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSocket => f.write_str("no socket is free"),
            Self::Connect(error) => write!(f, "cannot connect: {error:?}"),
            Self::Broken(error) => write!(f, "connection broken: {error:?}"),
        }
    }
}

impl core::error::Error for SocketError {}

impl embedded_io_async::Error for SocketError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSocket | Self::Connect(ConnectError::InvalidState) => ErrorKind::OutOfMemory,
            Self::Connect(ConnectError::ConnectionReset) => ErrorKind::ConnectionRefused,
            Self::Connect(ConnectError::TimedOut) => ErrorKind::TimedOut,
            // The device has no address yet, or the server's address cannot be reached.
            Self::Connect(ConnectError::NoRoute) => ErrorKind::AddrNotAvailable,
            Self::Broken(Error::ConnectionReset) => ErrorKind::ConnectionReset,
        }
    }
}

impl ErrorType for Connection<'_, '_> {
    type Error = SocketError;
}

impl Read for Connection<'_, '_> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, SocketError> {
        self.socket()?.read(buffer).await.map_err(SocketError::Broken)
    }
}

impl Write for Connection<'_, '_> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, SocketError> {
        self.socket()?.write(bytes).await.map_err(SocketError::Broken)
    }

    async fn flush(&mut self) -> Result<(), SocketError> {
        self.socket()?.flush().await.map_err(SocketError::Broken)
    }
}

impl<const N: usize, const TX: usize, const RX: usize> Default for SocketBuffers<N, TX, RX> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize, const TX: usize, const RX: usize> fmt::Debug for SocketBuffers<N, TX, RX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketBuffers").finish_non_exhaustive()
    }
}

impl<const N: usize> fmt::Debug for Sockets<'_, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sockets").field("free", &self.free()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Connection<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}
