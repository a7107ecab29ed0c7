//! The servers: [`Fleet`].

use std::convert::Infallible;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hedge_net::{CallOptions, Protocol};
use hedge_tokio::Tokio;
use hedge_tower::tied::{RemoteIp, Tell, TiedCounters, TiedLayer};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tower::{Layer, Service};

/// How many servers there are.
pub(crate) const SERVERS: usize = 20;

/// Servers on loopback, each with one worker and a queue.
pub(crate) struct Fleet {
    pub(crate) addresses: Vec<SocketAddr>,
    counters: Vec<Box<dyn Fn() -> TiedCounters>>,
    busy: Arc<Busy>,
}

/// For how many microseconds all servers together were at work.
#[derive(Default)]
struct Busy(AtomicU64);

/// A request that is at work. When this is dropped, the work ends, also if the client has gone.
struct AtWork {
    busy: Arc<Busy>,
    since: Instant,
}

impl Drop for AtWork {
    fn drop(&mut self) {
        let micros = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.busy.0.fetch_add(micros, Ordering::Relaxed);
    }
}

impl Fleet {
    /// Starts the servers. They work for the time `work` on each request. Each server has all others as its peers.
    pub(crate) async fn start(work: Duration) -> Result<Self, Box<dyn Error>> {
        let mut listeners = Vec::new();
        for _ in 0..SERVERS {
            listeners.push(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?);
        }
        let addresses = listeners.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?;
        let mut fleet = Self { addresses, counters: Vec::new(), busy: Arc::default() };
        for (listener, own) in listeners.into_iter().zip(fleet.addresses.clone()) {
            let layer = TiedLayer::builder(Tokio::new(), own, tell(&fleet.addresses)?)
                .peers(fleet.addresses.iter().copied())
                .concurrency(1)
                .max_waiting(10_000)
                .max_messages(10_000)
                .build()?;
            let counted = layer.clone();
            fleet.counters.push(Box::new(move || counted.counters()));
            tokio::spawn(serve(listener, layer, work, Arc::clone(&fleet.busy)));
        }
        Ok(fleet)
    }

    /// What all servers have counted together.
    pub(crate) fn counters(&self) -> TiedCounters {
        let mut sum = TiedCounters::default();
        for counters in self.counters.iter().map(|counters| counters()) {
            sum.begun += counters.begun;
            sum.dropped += counters.dropped;
            sum.full += counters.full;
            sum.told += counters.told;
            sum.unanswered += counters.unanswered;
            sum.refused += counters.refused;
        }
        sum
    }

    /// For how many seconds all servers together were at work.
    pub(crate) fn busy_seconds(&self) -> f64 {
        Duration::from_micros(self.busy.0.load(Ordering::Relaxed)).as_secs_f64()
    }
}

/// Sends messages over a channel of a server's own.
fn tell(addresses: &[SocketAddr]) -> Result<impl Tell + use<>, Box<dyn Error>> {
    let builder = hedge_tokio::builder(list(addresses)).protocol(Protocol::H2).load_balancer("rr");
    let channel = builder.connection_group("messages").max_retry(0).build()?;
    Ok(move |to: SocketAddr, message: Request<()>| {
        let channel = channel.clone();
        async move {
            let options = CallOptions { servers: Some(vec![to.into()]), ..CallOptions::new() };
            let mut request = channel.post(message.uri().path()).options(options);
            for (name, value) in message.headers() {
                request = request.header(name, value.clone());
            }
            request.await.ok().map(|reply| reply.status()) as Option<StatusCode>
        }
    })
}

/// The addresses as a list for a channel.
pub(crate) fn list(addresses: &[SocketAddr]) -> String {
    let texts: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
    format!("list://{}", texts.join(","))
}

/// Serves connections over HTTP/2.
async fn serve<C: Tell>(listener: TcpListener, layer: TiedLayer<Tokio, C>, work: Duration, busy: Arc<Busy>) {
    while let Ok((stream, remote)) = listener.accept().await {
        let busy = Arc::clone(&busy);
        let service = tower::service_fn(move |_: Request<Incoming>| {
            let at_work = AtWork { busy: Arc::clone(&busy), since: Instant::now() };
            async move {
                // A thread sleeps more exactly than the runtime's timer, which counts in ms.
                let slept = tokio::task::spawn_blocking(move || thread::sleep(work)).await;
                drop(at_work);
                let body = if slept.is_ok() { "done" } else { "not done" };
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(body.as_bytes()))))
            }
        });
        let tied = layer.layer(service);
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(RemoteIp(remote.ip()));
            tied.clone().call(request)
        });
        tokio::spawn(async move {
            // A small answer must not wait for the acknowledgement of the one before.
            if stream.set_nodelay(true).is_ok() {
                let connection =
                    http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
                // An error means that the client has gone.
                let _ = connection.await;
            }
        });
    }
}
