//! reqwest's client, once for each server, as a hedged set: `cargo run -p hedge-tower --example reqwest_client`.
//!
//! A reqwest client can send to any server, so each member of the set is a small service that sends to one server.
//! `try_clone` copies reqwest's requests. It returns `None` for a streaming body, so a request with such a body is sent
//! once.

mod loopback;

use std::net::SocketAddr;
use std::time::Duration;

use hedge_tower::BoxError;
use reqwest::{Client, Request};
use tower::{Service, ServiceExt, service_fn};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let set = hedge_tower::builder(hedge_tokio::Tokio::new())
        .protocol(Request::try_clone)
        .timeout(Duration::from_secs(1))
        .backup(Duration::from_millis(20))
        .on_end(|call| {
            let servers: Vec<_> =
                call.attempts().iter().filter_map(|attempt| call.key::<SocketAddr>(attempt.server())).collect();
            println!("{:>10?}, sent to {servers:?}, not hedged: {:?}", call.elapsed(), call.not_hedged());
        })
        .set()?;
    let client = Client::new();
    for server in [loopback::server().await?, loopback::server().await?, loopback::server().await?] {
        let client = client.clone();
        set.insert(
            server,
            service_fn(move |mut request: Request| {
                let client = client.clone();
                async move {
                    // If this URL cannot have a port, the request is sent to its original address.
                    request.url_mut().set_port(Some(server.port())).ok();
                    client.oneshot(request).await
                }
            }),
        )?;
    }

    let mut service = set.clone();
    for _ in 0..4 {
        let request = client.get("http://127.0.0.1/").build()?;
        let response = service.ready().await?.call(request).await.map_err(hedge_tower::Error::boxed)?;
        assert_eq!(response.text().await?, "hello\n");
    }
    Ok(())
}
