//! Channels on tokio: its connections, and what is called by its name.

use std::hash::{Hash as _, Hasher};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::task::{Context, Poll, ready};

use hedge_net::{Connecting, Datagrams, Dial, Dialed, Endpoint, Runtime, RuntimeId, SocketOptions, begin};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::runtime::Handle;

use crate::{Io, Tokio};

/// A channel on tokio, over HTTP/1.1 if nothing else is said.
pub type Channel<T = Http> = hedge_net::Channel<Tokio, T>;

/// The HTTP/1.1 transport on tokio.
pub type Http = hedge_net::http::Http<Tokio>;

/// A channel for gRPC on tokio, on which the clients of tonic run. `builder(…).grpc()` makes it.
#[cfg(feature = "grpc")]
pub type GrpcChannel = hedge_net::grpc::GrpcChannel<Tokio>;

/// A channel to be, on tokio.
pub type Builder<T = Http> = hedge_net::Builder<Tokio, T>;

/// A channel over HTTP/1.1 to the servers of `list://a:1,b:2 tag`, to one server (`host:port`, `unix:/path`, or a URL such as
/// `https://host/base`), or to the servers that a source says.
pub fn builder(servers: impl AsRef<str>) -> Builder {
    hedge_net::Channel::builder(Tokio::new(), servers)
}

impl Dial for Tokio {
    type Io = TokioIo<Io>;

    async fn dial(&self, to: &Endpoint, options: &SocketOptions) -> io::Result<Dialed<Self::Io>> {
        match begin(to, options)? {
            Connecting::Tcp(stream) => {
                let stream = TcpStream::from_std(stream)?;
                stream.writable().await?;
                if let Some(error) = stream.take_error()? {
                    return Err(error);
                }
                let addresses = Some((stream.local_addr()?, stream.peer_addr()?));
                Ok(Dialed { io: TokioIo::new(Io::Tcp(stream)), addresses })
            }
            #[cfg(unix)]
            Connecting::Unix(stream) => {
                let stream = UnixStream::from_std(stream)?;
                Ok(Dialed { io: TokioIo::new(Io::Unix(stream)), addresses: None })
            }
        }
    }

    fn datagrams(&self, socket: UdpSocket) -> io::Result<Box<dyn Datagrams>> {
        Ok(Box::new(Udp(tokio::net::UdpSocket::from_std(socket)?)))
    }
}

/// A UDP socket on tokio.
struct Udp(tokio::net::UdpSocket);

impl Datagrams for Udp {
    fn poll_receive(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>> {
        let mut buffer = tokio::io::ReadBuf::new(buffer);
        let from = ready!(self.0.poll_recv_from(cx, &mut buffer))?;
        Poll::Ready(Ok((buffer.filled().len(), from)))
    }

    fn poll_send(&self, cx: &mut Context<'_>, datagram: &[u8], to: SocketAddr) -> Poll<io::Result<usize>> {
        self.0.poll_send_to(cx, datagram, to)
    }
}

impl Runtime for Tokio {
    fn id(&self) -> RuntimeId {
        let Ok(runtime) = Handle::try_current() else { return RuntimeId::default() };
        let mut number = Number(0);
        runtime.id().hash(&mut number);
        RuntimeId::new(number.0)
    }
}

/// The number within an identity of tokio's, which tells it to hashers only.
struct Number(u64);

impl Hasher for Number {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
}
