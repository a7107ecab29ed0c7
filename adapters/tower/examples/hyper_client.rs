//! hyper-util's client as a tower service, hedged over one server: `cargo run -p hedge-tower --example hyper_client`.
//!
//! The body is shared bytes, so requests can be copied. The report is in the extensions of the response.

mod loopback;

use std::time::Duration;

use bytes::Bytes;
use hedge_tower::{BoxError, Report};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tower::{Service, ServiceBuilder, ServiceExt};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let server = loopback::server().await?;

    let layer = hedge_tower::builder(hedge_tokio::Tokio::new())
        .http()
        .timeout(Duration::from_secs(1))
        .backup(Duration::from_millis(20))
        .layer()?;
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let mut client = ServiceBuilder::new().layer(layer).service(client);

    for method in ["GET", "POST", "GET"] {
        let request = http::Request::builder().method(method).uri(format!("http://{server}/")).body(Full::default())?;
        let response = client.ready().await?.call(request).await?;
        if let Some(report) = response.extensions().get::<Report>() {
            let (elapsed, winner) = (report.elapsed(), report.winner());
            println!("{method:4} {elapsed:>10?}, winner {winner:?}, not hedged: {:?}", report.not_hedged());
        }
        assert_eq!(response.into_body().collect().await?.to_bytes(), "hello\n");
    }
    Ok(())
}
