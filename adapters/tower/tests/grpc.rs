//! gRPC over real sockets: a tonic client over a hedged tonic channel, and a tonic server that asks for delays (R4).
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

mod common;
#[path = "../examples/text/mod.rs"]
mod text;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Reports, builder, ms};
use hedge_tokio::Tokio;
use hedge_tower::hedge_core::config::service_config::ServiceConfig;
use hedge_tower::hedge_core::outcome::{End, Kind, Verdict};
use hedge_tower::hedge_core::policy::{ChannelOptions, RetryPolicy};
use hedge_tower::hedge_http::{grpc_code, judge_grpc};
use hedge_tower::{BoxError, HedgeLayer, Plain, Report};
use http_body_util::{BodyExt, Full};
use text::Text;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Error, Server};
use tonic::{Code, Request, Response, Status};
use tower::{Layer, ServiceExt, service_fn};

/// A failure of a server: its code, and the delay that the server asks for, if any.
type Failure = (Code, Option<&'static str>);

/// A service config with methods that are retried and methods that are hedged. Without a delay from the server, the
/// next attempt follows after one millisecond or after one hour.
const CONFIG: &str = r#"{"methodConfig": [
    {"name": [{"service": "retried"}], "timeout": "60s", "retryPolicy": {
        "maxAttempts": 4, "initialBackoff": "0.001s", "maxBackoff": "0.001s", "backoffMultiplier": 1,
        "retryableStatusCodes": ["UNAVAILABLE", "FAILED_PRECONDITION"]
    }},
    {"name": [{"service": "hedged"}], "timeout": "60s", "hedgingPolicy": {
        "maxAttempts": 4, "hedgingDelay": "3600s", "nonFatalStatusCodes": ["UNAVAILABLE", "FAILED_PRECONDITION"]
    }}
]}"#;

/// A channel to a server. The first answers of the server are these failures; every later answer is a greeting.
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

/// Calls one of the methods of [`CONFIG`]. Returns the result and the report.
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
    (call(layer, serve(failures), service).await, reports.only())
}

/// Makes a call through a layer around a channel.
async fn call<R>(layer: HedgeLayer<Tokio, R, Plain>, channel: Channel, service: &'static str) -> Result<String, Status>
where
    R: RetryPolicy<http::Response<Body>, Error> + Send + Sync + 'static,
{
    // The layer needs a body that can be copied. The client above the layer uses tonic's own body.
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
    reply.map(Response::into_inner)
}

/// The time from the end of each attempt to the start of the next one.
fn gap(report: &Report, attempt: usize) -> Duration {
    let attempts = report.attempts();
    attempts[attempt + 1].started() - attempts[attempt].ended().unwrap()
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
        // The delays are negative, not a number, and longer than the time that is left.
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
        // As one of the core's own codes, the second code would mean a deadline, which is never retried.
        let (reply, report) = greet(service, &[(Code::Unavailable, None), (Code::FailedPrecondition, None)]).await;
        assert_eq!((reply.unwrap().as_str(), report.attempts().len()), ("hello, world", 3), "{service}");
        let (reply, report) = greet(service, &[(Code::PermissionDenied, Some("1"))]).await;
        assert_eq!(reply.unwrap_err().code(), Code::PermissionDenied, "{service}");
        assert_eq!((report.attempts().len(), report.end()), (1, Some(End::Fatal)), "{service}");
    }
}

/// Makes one call with each of the two one-line retry policies. One judges by the head of a response, and one by the
/// status of a client. Both must judge in the same way.
async fn greet_by_codes(failures: &'static [Failure]) -> [(Result<String, Status>, Report); 2] {
    let codes = [Code::Unavailable, Code::FailedPrecondition];
    let patient = || builder().timeout(Duration::from_secs(60));

    let reports = Reports::default();
    let layer = reports.hear(patient()).retry_codes(codes).unwrap().layer().unwrap();
    let by_heads = (call(layer, serve(failures), "any").await, reports.only());

    let reports = Reports::default();
    let builder = reports.hear(patient());
    let builder = builder.retry_codes_of(codes, |status: &Status| (status.code().into(), status.metadata().as_ref()));
    let layer = builder.unwrap().layer().unwrap();
    let channel = serve(failures);
    let client = layer.layer(service_fn(move |name: String| {
        let mut client = tonic::client::Grpc::new(channel.clone());
        async move {
            client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            let path = http::uri::PathAndQuery::from_static("/any/Greet");
            client.unary(Request::new(name), path, Text).await
        }
    }));
    let reply = client.oneshot("world".to_owned()).await.map(Response::into_inner);
    let reply = reply.map_err(|error| error.service_error().unwrap().clone());
    [by_heads, (reply, reports.only())]
}

#[tokio::test]
async fn l8_codes_that_one_line_names_are_retried_and_others_end_the_call() {
    for (reply, report) in greet_by_codes(&[(Code::Unavailable, Some("60")), (Code::FailedPrecondition, None)]).await {
        assert_eq!((reply.unwrap().as_str(), report.end()), ("hello, world", Some(End::Accepted)));
        let codes: Vec<_> = report.attempts().iter().map(|attempt| attempt.code()).collect();
        assert_eq!((&codes[..2], codes.len()), (&[grpc_code(14), grpc_code(9)][..], 3));
        assert!(gap(&report, 0) >= ms(60), "{report:?}");
    }
    for (reply, report) in greet_by_codes(&[(Code::PermissionDenied, None)]).await {
        assert_eq!(reply.unwrap_err().code(), Code::PermissionDenied);
        assert_eq!((report.attempts().len(), report.end()), (1, Some(End::Fatal)));
    }
    for (reply, report) in greet_by_codes(&[(Code::Unavailable, Some("-1"))]).await {
        assert_eq!(reply.unwrap_err().code(), Code::Unavailable);
        assert_eq!((report.attempts().len(), report.end()), (1, Some(End::Failed)), "R4: the server said no");
    }
}

#[tokio::test]
async fn a_code_that_is_none_is_an_error_of_the_line() {
    let error = builder().retry_codes([Code::Unavailable, Code::Ok]).err().unwrap();
    assert_eq!(error.to_string(), "retry code 0: must be in [1, 16]");
    assert_eq!(builder().retry_codes([99]).err().unwrap().code, 99);
}
