//! Channels on smol: its connections, and what is called by its name.

use hedge_net::{Address, Connect, Runtime};
use smol::net::TcpStream;

use crate::{Io, Smol};

/// A channel on smol, over HTTP/1.1 if nothing else is said.
pub type Channel<T = Http> = hedge_net::Channel<Smol, T>;

/// The HTTP/1.1 transport on smol.
pub type Http = hedge_net::http::Http<Smol>;

/// A channel to be, on smol.
pub type Builder<T = Http> = hedge_net::Builder<Smol, T>;

/// A channel over HTTP/1.1 to the servers of `list://a:1,b:2 tag`, to one `host:port`, or to the servers that a source says.
pub fn builder(servers: impl AsRef<str>) -> Builder {
    hedge_net::Channel::builder(Smol::new(), servers)
}

impl Connect for Smol {
    type Io = Io;

    async fn connect(&self, to: &Address) -> std::io::Result<Io> {
        let stream = match to {
            Address::Socket(address) => TcpStream::connect(*address).await?,
            Address::Name { host, port } => TcpStream::connect(&*hedge_net::lookup(host, *port).await?).await?,
        };
        hedge_net::refuse_self(stream.local_addr()?, stream.peer_addr()?)?;
        stream.set_nodelay(true)?;
        Ok(Io::new(stream))
    }
}

impl Runtime for Smol {}
