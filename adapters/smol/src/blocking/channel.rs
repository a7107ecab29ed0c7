//! Channels for plain threads: their connections, and what is called by its name.

use std::io;
use std::net::UdpSocket;

use hedge_compose::Ways;
use hedge_core::drive::SendTransport;
use hedge_net::http::RequestBody;
use hedge_net::{Address, Datagrams, Dial, Dialed, Endpoint, Runtime, RuntimeId, SocketOptions};

use super::Threaded;
use crate::Io;

/// A channel for plain threads, over HTTP/1.1 if nothing else is said.
pub type Channel<T = Http> = Ways<hedge_net::Channel<Threaded, T>, Threaded>;

/// The HTTP transport of a channel for plain threads.
pub type Http = hedge_net::http::Http<Threaded>;

/// A channel to be, for plain threads.
pub type Builder<T = Http> = hedge_net::Builder<Threaded, T>;

/// A channel over HTTP/1.1 with a thread of its own. See [`hedge_smol::builder`](crate::builder) for `servers`.
pub fn builder(servers: impl AsRef<str>) -> Builder {
    hedge_net::Channel::builder(Threaded::new(), servers)
}

/// Makes the ways to call a channel from plain threads.
pub fn ways<T>(channel: hedge_net::Channel<Threaded, T>) -> Channel<T>
where
    T: SendTransport<Address = Address, Request: Sized + Send + Sync> + Send + Sync + 'static,
{
    let runtime = channel.runtime().clone();
    Ways::new(channel, runtime)
}

/// Makes the request `GET path`. The crate `http` makes any other request.
///
/// # Errors
/// Returns an error if `path` is not a path of HTTP.
pub fn get(path: &str) -> Result<http::Request<RequestBody>, http::Error> {
    http::Request::get(path).body(RequestBody::Empty)
}

impl Dial for Threaded {
    type Io = Io;

    async fn dial(&self, to: &Endpoint, options: &SocketOptions) -> io::Result<Dialed<Io>> {
        self.smol().dial(to, options).await
    }

    fn datagrams(&self, socket: UdpSocket) -> io::Result<Box<dyn Datagrams>> {
        self.smol().datagrams(socket)
    }
}

impl Runtime for Threaded {
    fn id(&self) -> RuntimeId {
        RuntimeId::new(self.number())
    }
}
