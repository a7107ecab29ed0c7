//! Connects to one endpoint: the trait [`Dial`], which a runtime implements.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::task::{Context, Poll};

use crate::endpoint::Endpoint;
use crate::socket_options::SocketOptions;

/// Connects to one endpoint. A runtime need not do anything else for connections. The [`Connector`](crate::Connector)
/// resolves names, tries several addresses, enforces time limits and does the TLS handshake.
pub trait Dial: Send + Sync + 'static {
    /// The type of a connection.
    type Io: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static;

    /// Connects to `to`, without a time limit. Dropping the future stops connecting. The function
    /// [`begin`](crate::begin) opens the socket, sets the options and begins to connect. So an implementation only has
    /// to wait until the socket is connected.
    fn dial(&self, to: &Endpoint, options: &SocketOptions)
    -> impl Future<Output = io::Result<Dialed<Self::Io>>> + Send;

    /// Takes over a UDP socket, which is bound and non-blocking. DNS needs it.
    ///
    /// # Errors
    /// Returns the error of the runtime. The default implementation returns [`io::ErrorKind::Unsupported`].
    fn datagrams(&self, socket: UdpSocket) -> io::Result<Box<dyn Datagrams>> {
        drop(socket);
        Err(io::Error::new(io::ErrorKind::Unsupported, "this runtime has no udp"))
    }
}

/// A UDP socket of a runtime: [`Dial::datagrams`].
pub trait Datagrams: Send + Sync + Unpin + 'static {
    /// Receives a datagram, and returns its length and its sender. What does not fit into the buffer is lost.
    fn poll_receive(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>>;

    /// Sends a datagram, and returns its length.
    fn poll_send(&self, cx: &mut Context<'_>, datagram: &[u8], to: SocketAddr) -> Poll<io::Result<usize>>;
}

/// A connection that [`Dial::dial`] has made.
#[derive(Debug)]
pub struct Dialed<Io> {
    /// The connection.
    pub io: Io,
    /// The local and the remote address of the socket. `None` if the socket has no addresses, like a Unix socket.
    pub addresses: Option<(SocketAddr, SocketAddr)>,
}
