//! Unary gRPC calls over one tonic channel a server, as a hedged set: `cargo run -p hedge-tower --example tonic_channel`.
//!
//! The body of a gRPC request cannot be copied, but its message can: so the set is of services that take messages. With
//! generated code, call the generated client there. Here the messages are plain text, so that no compiler is needed.
//!
//! The servers are cold at first: each fails its first request and asks for 30 ms. The first call heeds that.

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

/// A server that greets after `delay`, once it is warm.
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
        // When to come back, the server may say in the metadata (gRPC's A6).
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
