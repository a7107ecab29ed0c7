//! A server of HTTP/2, in a thread of its own, that does what a test says.

use std::future::{Future, poll_fn};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::sync::watch;
use tokio::task::{self, LocalSet};
use tokio_rustls::TlsAcceptor;

use super::signal::Signal;

/// A request, and what answers it.
pub struct Asked {
    /// How many requests came before it, on all connections.
    pub number: usize,
    /// How many connections came before its own.
    pub connection: usize,
    pub request: Request<RecvStream>,
    pub respond: SendResponse<Bytes>,
}

type Script = dyn Fn(Asked) -> Pin<Box<dyn Future<Output = ()>>> + Send + Sync;

/// What a test tells the server's connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Order {
    Serve,
    /// Say GOAWAY, and serve what has begun.
    GoAway,
    /// Close the sockets.
    Close,
    /// Read and write nothing more.
    Freeze,
}

/// Its drop closes its connections and ends its thread.
pub struct Http2Server {
    pub address: SocketAddr,
    pub accepted: Signal,
    /// Connections that have ended.
    pub closed: Signal,
    pub requests: Signal,
    orders: watch::Sender<(usize, Order)>,
}

/// What the server announces.
#[derive(Clone, Default)]
pub struct Settings {
    pub max_streams: Option<u32>,
    /// How many bytes of a body the client may send before the server has read some.
    pub window: Option<u32>,
    pub tls: Option<Arc<ServerConfig>>,
}

#[derive(Clone)]
struct Shared {
    settings: Settings,
    script: Arc<Script>,
    accepted: Signal,
    closed: Signal,
    requests: Signal,
    orders: watch::Receiver<(usize, Order)>,
}

impl Http2Server {
    /// Runs `script` for each request.
    pub fn start<F: Future<Output = ()> + 'static>(
        settings: Settings,
        script: impl Fn(Asked) -> F + Send + Sync + 'static,
    ) -> Self {
        let (orders, received) = watch::channel((0, Order::Serve));
        let (accepted, closed, requests) = (Signal::new(), Signal::new(), Signal::new());
        let script: Arc<Script> = Arc::new(move |asked| Box::pin(script(asked)));
        let shared = Shared {
            settings,
            script,
            accepted: accepted.clone(),
            closed: closed.clone(),
            requests: requests.clone(),
            orders: received,
        };
        let address = serve(shared);
        Self { address, accepted, closed, requests, orders }
    }

    /// Answers each request with this text.
    pub fn answering(text: &'static str) -> Self {
        Self::start(Settings::default(), move |asked| async move { answer(asked.respond, text) })
    }

    /// Says GOAWAY on the connections that are open.
    pub fn go_away(&self) {
        self.order(Order::GoAway);
    }

    /// Closes the connections that are open.
    pub fn close(&self) {
        self.order(Order::Close);
    }

    /// Reads and writes nothing more on the connections that are open.
    pub fn freeze(&self) {
        self.order(Order::Freeze);
    }

    fn order(&self, order: Order) {
        self.orders.send_replace((self.accepted.count(), order));
    }
}

fn serve(shared: Shared) -> SocketAddr {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let local = LocalSet::new();
        local.block_on(&runtime, async move {
            let listener = TcpListener::from_std(listener).unwrap();
            let mut orders = shared.orders.clone();
            let is_dropped = async move { while orders.changed().await.is_ok() {} };
            let accept = async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    task::spawn_local(connection(stream, shared.clone()));
                }
            };
            tokio::select! {
                () = is_dropped => {}
                () = accept => {}
            }
        });
    });
    address
}

async fn connection(stream: TcpStream, shared: Shared) {
    let number = shared.accepted.raise();
    stream.set_nodelay(true).unwrap();
    match shared.settings.tls.clone() {
        None => speak(stream, number, &shared).await,
        Some(config) => {
            if let Ok(stream) = TlsAcceptor::from(config).accept(stream).await {
                speak(stream, number, &shared).await;
            }
        }
    }
    shared.closed.raise();
}

async fn speak(stream: impl AsyncRead + AsyncWrite + Unpin, number: usize, shared: &Shared) {
    let mut builder = Builder::new();
    if let Some(streams) = shared.settings.max_streams {
        builder.max_concurrent_streams(streams);
    }
    if let Some(window) = shared.settings.window {
        builder.initial_window_size(window);
    }
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
    let mut orders = shared.orders.clone();
    loop {
        let order = *orders.borrow_and_update();
        match order.1 {
            Order::GoAway if number < order.0 => connection.graceful_shutdown(),
            Order::Close if number < order.0 => return,
            Order::Freeze if number < order.0 => std::future::pending().await,
            _ => {}
        }
        tokio::select! {
            biased;
            changed = orders.changed() => if changed.is_err() { return },
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    let asked = Asked { number: shared.requests.raise(), connection: number, request, respond };
                    task::spawn_local((shared.script)(asked));
                }
                Some(Err(_)) | None => return,
            },
        }
    }
}

/// Answers with a text.
pub fn answer(mut respond: SendResponse<Bytes>, text: &str) {
    let mut body = respond.send_response(Response::new(()), false).unwrap();
    body.send_data(Bytes::copy_from_slice(text.as_bytes()), true).unwrap();
}

/// Begins an answer with this status, whose body goes on.
pub fn begin(respond: &mut SendResponse<Bytes>, status: u16) -> SendStream<Bytes> {
    respond.send_response(Response::builder().status(status).body(()).unwrap(), false).unwrap()
}

/// Reads a body to its end. `None` if the client has reset it.
pub async fn read(body: &mut RecvStream) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.ok()?;
        body.flow_control().release_capacity(data.len()).ok()?;
        whole.extend_from_slice(&data);
    }
    Some(whole)
}

/// Waits until the client resets the stream. Returns the reason; `None` if the connection has ended.
pub async fn reset(respond: &mut SendResponse<Bytes>) -> Option<Reason> {
    poll_fn(|cx| respond.poll_reset(cx)).await.ok()
}
