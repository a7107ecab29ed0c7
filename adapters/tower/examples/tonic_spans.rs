//! A tonic client of three servers, with a span for each attempt: `cargo run -p hedge-tower --features tracing
//! --example tonic_spans`.
//!
//! The first server is slow, so a backup wins. The second server refuses connections. When the span of an attempt ends,
//! it is printed with the attempt's server and outcome. tonic runs in the span of the attempt that it makes.

mod text;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use hedge_tower::BoxError;
use text::Text;
use tonic::transport::{Endpoint, Server, server::TcpIncoming};
use tonic::{Code, Request, Response, Status, body::Body};
use tower::{Service, ServiceExt, service_fn};
use tracing_subscriber::fmt::format::FmtSpan;

/// Starts a server that answers with a greeting after `delay`. Returns its address.
fn serve(delay: Duration) -> Result<SocketAddr, BoxError> {
    let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into())?;
    let address = incoming.local_addr()?;
    let greet = service_fn(move |request: Request<String>| async move {
        tokio::time::sleep(delay).await;
        Ok::<_, Status>(Response::new(format!("hello, {}", request.into_inner())))
    });
    let service = service_fn(move |request: http::Request<Body>| async move {
        Ok::<_, Infallible>(tonic::server::Grpc::new(Text).unary(greet, request).await)
    });
    tokio::spawn(Server::builder().serve_with_incoming(service, incoming));
    Ok(address)
}

/// An address where nothing listens.
fn nothing() -> Result<SocketAddr, BoxError> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // In a program, this may be tracing-opentelemetry's layer: the fields have OpenTelemetry's names.
    tracing_subscriber::fmt().with_ansi(false).without_time().with_span_events(FmtSpan::CLOSE).init();

    let set = hedge_tower::builder(hedge_tokio::Tokio::new())
        .retry_codes_of([Code::Unavailable], |status: &Status| (status.code().into(), status.metadata().as_ref()))?
        .timeout(Duration::from_secs(1))
        .backup(Duration::from_millis(20))
        .seed(1)
        .set()?;
    for address in [serve(Duration::from_millis(200))?, nothing()?, serve(Duration::from_millis(1))?] {
        let channel = Endpoint::from_shared(format!("http://{address}"))?.connect_lazy();
        let greet = service_fn(move |name: String| {
            let mut client = tonic::client::Grpc::new(channel.clone());
            async move {
                client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
                let path = http::uri::PathAndQuery::from_static("/hello.Greeter/Greet");
                client.unary(Request::new(name), path, Text).await
            }
        });
        set.insert(address, greet)?;
    }
    let mut service = set.clone();
    for _ in 0..3 {
        let reply = service.ready().await?.call("world".to_owned()).await?;
        assert_eq!(reply.into_inner(), "hello, world");
    }
    let counters = set.counters();
    println!(
        "{} calls, {} attempts, {} of {} backups won",
        counters.calls(),
        counters.attempts(),
        counters.backups_won,
        counters.backups
    );
    Ok(())
}
