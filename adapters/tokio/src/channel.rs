//! Channels on tokio: its connections, and what is called by its name.

use std::hash::{Hash as _, Hasher};
use std::io;

use hedge_net::{Address, Connect, Runtime, RuntimeId};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::runtime::Handle;

use crate::Tokio;

/// A channel on tokio, over HTTP/1.1 if nothing else is said.
pub type Channel<T = Http> = hedge_net::Channel<Tokio, T>;

/// The HTTP/1.1 transport on tokio.
pub type Http = hedge_net::http::Http<Tokio>;

/// A channel to be, on tokio.
pub type Builder<T = Http> = hedge_net::Builder<Tokio, T>;

/// A channel over HTTP/1.1 to the servers of `list://a:1,b:2 tag`, to one `host:port`, or to the servers that a source says.
pub fn builder(servers: impl AsRef<str>) -> Builder {
    hedge_net::Channel::builder(Tokio::new(), servers)
}

impl Connect for Tokio {
    type Io = TokioIo<TcpStream>;

    async fn connect(&self, to: &Address) -> io::Result<Self::Io> {
        let stream = match to {
            Address::Socket(address) => TcpStream::connect(address).await?,
            Address::Name { host, port } => TcpStream::connect(&*hedge_net::lookup(host, *port).await?).await?,
        };
        hedge_net::refuse_self(stream.local_addr()?, stream.peer_addr()?)?;
        stream.set_nodelay(true)?;
        Ok(TokioIo::new(stream))
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
