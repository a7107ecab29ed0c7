//! gRPC over real sockets: a tonic client above a hedged tonic channel, and a tonic server that pushes back (R4).
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

mod common;
#[path = "../examples/text/mod.rs"]
mod text;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Reports, builder, ms};
use hedge_tower::hedge_core::config::service_config::ServiceConfig;
use hedge_tower::hedge_core::outcome::{End, Kind, Verdict};
use hedge_tower::hedge_core::policy::ChannelOptions;
use hedge_tower::hedge_http::{grpc_code, judge_grpc};
use hedge_tower::{BoxError, Report};
use http_body_util::{BodyExt, Full};
use text::Text;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Error, Server};
use tonic::{Code, Request, Response, Status};
use tower::{Layer, ServiceExt, service_fn};

/// What a server says of a failure: its code, and a delay if it has one.
type Failure = (Code, Option<&'static str>);

/// Retried and hedged alike, a millisecond or an hour later if the server says nothing.
const CONFIG: &str = r#"{"methodConfig": [
    {"name": [{"service": "retried"}], "timeout": "60s", "retryPolicy": {
        "maxAttempts": 4, "initialBackoff": "0.001s", "maxBackoff": "0.001s", "backoffMultiplier": 1,
        "retryableStatusCodes": ["UNAVAILABLE", "FAILED_PRECONDITION"]
    }},
    {"name": [{"service": "hedged"}], "timeout": "60s", "hedgingPolicy": {
        "maxAttempts": 4, "hedgingDelay": "3600s", "nonFatalStatusCodes": ["UNAVAILABLE", "FAILED_PRECONDITION"]
    }}
]}"#;

/// A channel to a server whose first answers are these failures, and then a greeting.
fn serve(failures: &'static [Failure]) -> Channel {
    let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = incoming.local_addr().unwrap();
    let answered = Arc::new(AtomicUsize::new(0));
    let greet = service_fn(move |request: Request<String>| {
        let answered = answered.fetch_add(1, Ordering::Relaxed);
        async move {
            let Some((code, pushback)) = failures.get(answered) else {
                return Ok(Response::new(format!("hello, {}", request.into_inner())));
            };
            let mut metadata = MetadataMap::new();
            if let Some(pushback) = pushback {
                metadata.insert("grpc-retry-pushback-ms", pushback.parse().unwrap());
            }
            Err(Status::with_metadata(*code, "not now", metadata))
        }
    });
    let service = service_fn(move |request: http::Request<Body>| {
        let greet = greet.clone();
        async move { Ok::<_, Infallible>(tonic::server::Grpc::new(Text).unary(greet, request).await) }
    });
    tokio::spawn(Server::builder().serve_with_incoming(service, incoming));
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy()
}

/// A call of one of the methods of [`CONFIG`], and its report.
async fn greet(service: &'static str, failures: &'static [Failure]) -> (Result<String, Status>, Report) {
    let config: ServiceConfig<'static> = serde_json::from_str(CONFIG).unwrap();
    let method = config.method(service, "Greet").unwrap().clone();
    let reports = Reports::default();
    let options = method.channel_options(&ChannelOptions::brpc());
    let layer = reports
        .hear(builder().options(options).retry_policy(
            move |result: Result<&http::Response<Body>, &Error>| match result {
                Ok(response) => judge_grpc(response, |code| method.verdict(code)),
                Err(_) => Verdict::Retry.into(),
            },
        ))
        .layer()
        .unwrap();
    let channel = serve(failures);
    // A body that can be copied below, and tonic's own above.
    let hedged = layer.layer(service_fn(move |request: http::Request<Full<_>>| {
        let channel = channel.clone();
        async move { channel.oneshot(request.map(Body::new)).await }
    }));
    let buffered = service_fn(move |request: http::Request<Body>| {
        let hedged = hedged.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = Full::new(body.collect().await?.to_bytes());
            Ok::<_, BoxError>(hedged.oneshot(http::Request::from_parts(parts, body)).await?)
        }
    });
    let mut client = tonic::client::Grpc::new(buffered);
    client.ready().await.unwrap();
    let path = http::uri::PathAndQuery::try_from(format!("/{service}/Greet")).unwrap();
    let reply = client.unary(Request::new("world".to_owned()), path, Text).await;
    (reply.map(Response::into_inner), reports.only())
}

/// From the end of one attempt to the start of the next.
fn gap(report: &Report, attempt: usize) -> Duration {
    let attempts = report.attempts();
    (attempts[attempt + 1].started() - attempts[attempt].ended().unwrap()).into()
}

#[tokio::test]
async fn r4_the_delay_that_a_grpc_server_asks_for_is_kept() {
    for service in ["retried", "hedged"] {
        let (reply, report) = greet(service, &[(Code::Unavailable, Some("60")), (Code::Unavailable, Some("90"))]).await;
        assert_eq!(reply.unwrap(), "hello, world", "{service}");
        let attempts: Vec<_> = report.attempts().iter().map(|attempt| (attempt.kind(), attempt.code())).collect();
        let unavailable = grpc_code(14);
        assert_eq!(attempts[..2], [(Kind::First, unavailable), (Kind::Retry, unavailable)], "{service}");
        assert_eq!((attempts.len(), attempts[2].0, report.end()), (3, Kind::Retry, Some(End::Accepted)), "{service}");
        assert!(gap(&report, 0) >= ms(60) && gap(&report, 1) >= ms(90), "{service}: {report:?}");
    }
}

#[tokio::test]
async fn r4_a_grpc_server_that_says_do_not_is_not_asked_again() {
    for service in ["retried", "hedged"] {
        // Negative, no number, and longer than is left.
        for failure in ["-1", "+5", "60000"].map(|text| (Code::Unavailable, Some(text))) {
            let (reply, report) = greet(service, Box::leak(Box::new([failure]))).await;
            let status = reply.unwrap_err();
            assert_eq!((status.code(), status.message()), (Code::Unavailable, "not now"), "{service} {failure:?}");
            assert_eq!((report.attempts().len(), report.end()), (1, Some(End::Failed)), "{service} {failure:?}");
        }
    }
}

#[tokio::test]
async fn l8_a_grpc_server_that_asks_for_nothing_is_asked_again_by_its_code() {
    for service in ["retried", "hedged"] {
        // By the core's own codes the second would be a deadline, which nothing retries.
        let (reply, report) = greet(service, &[(Code::Unavailable, None), (Code::FailedPrecondition, None)]).await;
        assert_eq!((reply.unwrap().as_str(), report.attempts().len()), ("hello, world", 3), "{service}");
        let (reply, report) = greet(service, &[(Code::PermissionDenied, Some("1"))]).await;
        assert_eq!(reply.unwrap_err().code(), Code::PermissionDenied, "{service}");
        assert_eq!((report.attempts().len(), report.end()), (1, Some(End::Fatal)), "{service}");
    }
}
