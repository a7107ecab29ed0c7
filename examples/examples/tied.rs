//! Tied requests: three servers with one worker and a queue each. A call and its backup wait in two queues, and the servers
//! tell each other which copy has begun, so that the other copy is dropped. The same calls without ties come first, for
//! comparison. Run it: cargo run --release -p hedge-examples --example tied

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hedge_core::limit::LimitOptions;
use hedge_net::http::AlongHeaders;
use hedge_net::{CallOptions, Protocol};
use hedge_tokio::Tokio;
use hedge_tower::tied::{RemoteIp, Tell, TiedLayer};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::time::sleep;
use tower::{Layer, Service};

const CALLS: u32 = 200;
const WORK: Duration = Duration::from_millis(10);
/// Each server is busy for some 70 % of the time.
const EVERY: Duration = Duration::from_millis(5);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    for (name, along) in [("plain backups", AlongHeaders::none()), ("tied backups", AlongHeaders::tied())] {
        let mut listeners = Vec::new();
        for _ in 0..3 {
            listeners.push(TcpListener::bind("127.0.0.1:0").await?);
        }
        let addresses = listeners.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?;
        let list = format!("list://{}", addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(","));
        let mut layers = Vec::new();
        for listener in listeners {
            let own = listener.local_addr()?;
            let builder = TiedLayer::builder(Tokio::new(), own, tell(&list)?).peers(addresses.iter().copied());
            let layer = builder.concurrency(1).max_waiting(1_000).build()?;
            layers.push(layer.clone());
            tokio::spawn(serve(listener, layer));
        }

        let builder = hedge_tokio::builder(&list).protocol(Protocol::H2).load_balancer("random").along(along);
        // Without ties, the queues are long.
        let builder = builder.limits(LimitOptions::NONE).timeout(Duration::from_secs(10));
        let channel = builder.backup(Duration::from_millis(2)).build()?;
        let mut calls = Vec::new();
        for _ in 0..CALLS {
            let (channel, start) = (channel.clone(), Instant::now());
            calls.push(tokio::spawn(async move { channel.get("/").await.map(|_| start.elapsed()) }));
            sleep(EVERY).await;
        }
        let mut total = Duration::ZERO;
        for call in calls {
            total += call.await??;
        }
        let counters = layers.iter().map(TiedLayer::counters);
        let (begun, dropped) = counters.fold((0, 0), |(a, b), it| (a + it.begun, b + it.dropped));
        println!("{name}: {CALLS} calls, {begun} worked on, {dropped} dropped, mean {:.1?}", total / CALLS);
    }
    Ok(())
}

/// Sends messages between the servers over a channel.
fn tell(list: &str) -> Result<impl Tell + use<>, Box<dyn Error>> {
    let channel = hedge_tokio::builder(list).protocol(Protocol::H2).load_balancer("rr").max_retry(0).build()?;
    Ok(move |to: SocketAddr, message: Request<()>| {
        let channel = channel.clone();
        async move {
            let options = CallOptions { servers: Some(vec![to.into()]), ..CallOptions::new() };
            let mut request = channel.post(message.uri().path()).options(options);
            for (name, value) in message.headers() {
                request = request.header(name, value.clone());
            }
            request.await.ok().map(|reply| reply.status())
        }
    })
}

async fn serve<C: Tell>(listener: TcpListener, layer: TiedLayer<Tokio, C>) {
    let service = layer.layer(tower::service_fn(async |_: Request<Incoming>| {
        sleep(WORK).await;
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("done"))))
    }));
    while let Ok((stream, remote)) = listener.accept().await {
        let service = service.clone();
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(RemoteIp(remote.ip()));
            service.clone().call(request)
        });
        let connection = http2::Builder::new(TokioExecutor::new());
        tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
    }
}
