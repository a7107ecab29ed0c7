//! Unary gRPC calls over a hedged set of servers, with a tonic channel for each server:
//! `cargo run -p hedge-tower --example tonic_channel`.
//!
//! The body of a gRPC request cannot be copied, but its message can. So the services of the set take messages. A
//! program with generated code calls the generated client in such a service. This example uses plain text as messages,
//! so that no protocol compiler is needed.
//!
//! Each server fails its first request, and asks the client to wait for 30 ms. The first call does so.

mod text;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hedge_tower::BoxError;
use text::Text;
use tonic::metadata::MetadataMap;
use tonic::transport::{Endpoint, Server, server::TcpIncoming};
use tonic::{Code, Request, Response, Status, body::Body};
use tower::{Service, ServiceExt, service_fn};

/// A server that fails its first request, and answers every later request with a greeting after `delay`.
fn serve(delay: Duration) -> Result<std::net::SocketAddr, BoxError> {
    let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into())?;
    let address = incoming.local_addr()?;
    let warm = Arc::new(AtomicBool::new(false));
    let greet = service_fn(move |request: Request<String>| {
        let was_warm = warm.swap(true, Ordering::Relaxed);
        async move {
            if !was_warm {
                let mut metadata = MetadataMap::new();
                metadata.insert("grpc-retry-pushback-ms", 30.into());
                return Err(Status::with_metadata(Code::Unavailable, "warming up", metadata));
            }
            tokio::time::sleep(delay).await;
            Ok(Response::new(format!("hello, {}", request.into_inner())))
        }
    });
    let service = service_fn(move |request: http::Request<Body>| {
        let greet = greet.clone();
        async move { Ok::<_, Infallible>(tonic::server::Grpc::new(Text).unary(greet, request).await) }
    });
    tokio::spawn(Server::builder().serve_with_incoming(service, incoming));
    Ok(address)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let set = hedge_tower::builder(hedge_tokio::Tokio::new())
        // In the metadata, a server may say when the client should try again (gRPC's A6).
        .retry_codes_of([Code::Unavailable, Code::ResourceExhausted], |status: &Status| {
            (status.code().into(), status.metadata().as_ref())
        })?
        .timeout(Duration::from_secs(1))
        .backup(Duration::from_millis(20))
        .on_end(|call| {
            println!("{:>10?}, winner {:?} of {}", call.elapsed(), call.winner(), call.attempts().len());
        })
        .set()?;
    for address in [serve(Duration::from_millis(200))?, serve(Duration::from_millis(1))?] {
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
    for _ in 0..4 {
        let reply = service.ready().await?.call("world".to_owned()).await?;
        assert_eq!(reply.into_inner(), "hello, world");
    }
    Ok(())
}
