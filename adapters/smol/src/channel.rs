//! Channels on smol: its connections, and what is called by its name.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::task::{Context, Poll, ready};

use hedge_net::{Connecting, Datagrams, Dial, Dialed, Endpoint, Runtime, SocketOptions, begin};
use smol::Async;

use crate::{Io, Smol};

/// A channel on smol, over HTTP/1.1 if nothing else is said.
pub type Channel<T = Http> = hedge_net::Channel<Smol, T>;

/// The HTTP/1.1 transport on smol.
pub type Http = hedge_net::http::Http<Smol>;

/// A channel for gRPC on smol, on which the clients of tonic run. `builder(…).grpc()` makes it.
#[cfg(feature = "grpc")]
pub type GrpcChannel = hedge_net::grpc::GrpcChannel<Smol>;

/// A channel to be, on smol.
pub type Builder<T = Http> = hedge_net::Builder<Smol, T>;

/// A channel over HTTP/1.1 to the servers of `list://a:1,b:2 tag`, to one server (`host:port`, `unix:/path`, or a URL such as
/// `https://host/base`), or to the servers that a source says.
pub fn builder(servers: impl AsRef<str>) -> Builder {
    hedge_net::Channel::builder(Smol::new(), servers)
}

impl Dial for Smol {
    type Io = Io;

    async fn dial(&self, to: &Endpoint, options: &SocketOptions) -> io::Result<Dialed<Io>> {
        match begin(to, options)? {
            Connecting::Tcp(stream) => {
                let stream = Async::new_nonblocking(stream)?;
                stream.writable().await?;
                if let Some(error) = stream.get_ref().take_error()? {
                    return Err(error);
                }
                let addresses = Some((stream.get_ref().local_addr()?, stream.get_ref().peer_addr()?));
                Ok(Dialed { io: Io::tcp(stream.into()), addresses })
            }
            #[cfg(unix)]
            Connecting::Unix(stream) => {
                let stream = Async::new_nonblocking(stream)?;
                Ok(Dialed { io: Io::unix(stream.into()), addresses: None })
            }
        }
    }

    fn datagrams(&self, socket: UdpSocket) -> io::Result<Box<dyn Datagrams>> {
        Ok(Box::new(Udp(Async::new_nonblocking(socket)?)))
    }
}

/// A UDP socket on smol.
struct Udp(Async<UdpSocket>);

impl Datagrams for Udp {
    fn poll_receive(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>> {
        loop {
            match self.0.get_ref().recv_from(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.0.poll_readable(cx))?,
                received => return Poll::Ready(received),
            }
        }
    }

    fn poll_send(&self, cx: &mut Context<'_>, datagram: &[u8], to: SocketAddr) -> Poll<io::Result<usize>> {
        loop {
            match self.0.get_ref().send_to(datagram, to) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.0.poll_writable(cx))?,
                sent => return Poll::Ready(sent),
            }
        }
    }
}

impl Runtime for Smol {}
