//! Channels for plain threads: their types, the functions that make them, and the connections of [`Threaded`].

use std::io;
use std::net::UdpSocket;

use hedge_compose::Ways;
use hedge_core::drive::SendTransport;
use hedge_net::http::RequestBody;
use hedge_net::{Address, Datagrams, Dial, Dialed, Endpoint, Runtime, RuntimeId, SocketOptions};

use super::Threaded;
use crate::Io;

/// A channel for plain threads. `T` is its transport. The default is [`Http`].
pub type Channel<T = Http> = Ways<hedge_net::Channel<Threaded, T>, Threaded>;

/// The HTTP transport of a channel for plain threads.
pub type Http = hedge_net::http::Http<Threaded>;

/// The builder of a channel for plain threads.
pub type Builder<T = Http> = hedge_net::Builder<Threaded, T>;

/// Returns a builder of a channel over HTTP/1.1 that has a thread of its own. See
/// [`hedge_smol::builder`](crate::builder) for `servers`.
pub fn builder(servers: impl AsRef<str>) -> Builder {
    hedge_net::Channel::builder(Threaded::new(), servers)
}

/// Wraps a channel in [`Ways`], so that plain threads can call it.
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
