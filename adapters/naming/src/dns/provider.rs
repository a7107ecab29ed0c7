//! A runtime as hickory-resolver wants to see it: [`Provider`].

use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use futures_io::{AsyncRead, AsyncWrite};
use hedge_link::io::{Read, ReadBuf, Write};
use hedge_link::{Datagrams, Dial, Endpoint, Runtime, SocketOptions, before};
use hickory_resolver::net::runtime::{DnsTcpStream, DnsUdpSocket, RuntimeProvider, Spawn, Time};

use super::within::{Within, current};

/// How long a connection to a name server may take if nothing else is said.
const CONNECT: Duration = Duration::from_secs(5);

/// A runtime. What runs on it must be a [`Within`].
pub(super) struct Provider<R>(pub(super) Arc<R>);

impl<R> Clone for Provider<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

type Boxed<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

impl<R: Runtime> RuntimeProvider for Provider<R> {
    type Handle = Self;
    type Timer = Clock<R>;
    type Udp = Udp<R>;
    type Tcp = Tcp<R>;

    fn create_handle(&self) -> Self {
        self.clone()
    }

    fn connect_tcp(&self, server: SocketAddr, _: Option<SocketAddr>, limit: Option<Duration>) -> Boxed<Tcp<R>> {
        let runtime = Arc::clone(&self.0);
        Box::pin(async move {
            let deadline = runtime.now() + limit.unwrap_or(CONNECT);
            let options = SocketOptions::new();
            let dialed = before(&*runtime, Some(deadline), runtime.dial(&Endpoint::Tcp(server), &options)).await;
            let dialed = dialed.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))?;
            Ok(Tcp(Mutex::new(dialed.io)))
        })
    }

    fn bind_udp(&self, local: SocketAddr, _: SocketAddr) -> Boxed<Udp<R>> {
        let runtime = Arc::clone(&self.0);
        Box::pin(async move {
            let socket = UdpSocket::bind(local)?;
            socket.set_nonblocking(true)?;
            Ok(Udp(runtime.datagrams(socket)?, PhantomData))
        })
    }
}

impl<R: Runtime> Spawn for Provider<R> {
    fn spawn_bg(&mut self, future: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(Within::new(Arc::clone(&self.0), future));
    }
}

/// The timer of the runtime that the caller runs on.
pub(super) struct Clock<R>(PhantomData<fn() -> R>);

#[async_trait]
impl<R: Runtime> Time for Clock<R> {
    async fn delay_for(duration: Duration) {
        // Outside of a `Within` there is no clock, so the time never comes. This cannot happen.
        let Some(runtime) = current::<R>() else { return std::future::pending().await };
        let at = runtime.now() + duration;
        while runtime.now() < at {
            runtime.sleep_until(at).await;
        }
    }

    async fn timeout<F: 'static + Future + Send>(duration: Duration, future: F) -> io::Result<F::Output> {
        // As above: without a clock, the limit is never reached.
        let Some(runtime) = current::<R>() else { return Ok(future.await) };
        let deadline = runtime.now() + duration;
        before(&runtime, Some(deadline), future).await.ok_or_else(|| io::ErrorKind::TimedOut.into())
    }
}

/// A UDP socket.
pub(super) struct Udp<R>(Box<dyn Datagrams>, PhantomData<fn() -> R>);

impl<R: Runtime> DnsUdpSocket for Udp<R> {
    type Time = Clock<R>;

    fn poll_recv_from(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>> {
        self.0.poll_receive(cx, buffer)
    }

    fn poll_send_to(&self, cx: &mut Context<'_>, bytes: &[u8], to: SocketAddr) -> Poll<io::Result<usize>> {
        self.0.poll_send(cx, bytes, to)
    }
}

/// A TCP connection. The mutex makes it `Sync`, as hickory-resolver wants it; it is never locked.
pub(super) struct Tcp<R: Dial>(Mutex<R::Io>);

impl<R: Dial> Tcp<R> {
    fn io(&mut self) -> Pin<&mut R::Io> {
        Pin::new(self.0.get_mut().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<R: Runtime> DnsTcpStream for Tcp<R> {
    type Time = Clock<R>;
}

impl<R: Dial> AsyncRead for Tcp<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(bytes);
        ready!(self.io().poll_read(cx, buffer.unfilled()))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

impl<R: Dial> AsyncWrite for Tcp<R> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.io().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_shutdown(cx)
    }
}
