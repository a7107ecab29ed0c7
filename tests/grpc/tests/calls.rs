//! tonic's clients over a channel of hedge, to real servers of tonic.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

mod common;
#[path = "../../../examples/examples/hello/mod.rs"]
mod hello;

use std::sync::Arc;
use std::time::Duration;

use common::Answer::{Fail, FailAfterMessage, Hang, HangAfterMessage, HangFirst, PushBack, Reply, ResetAfterMessage};
use common::{Received, Servers, configured};
use hedge_tokio::http::AlongHeaders;
use hedge_tokio::{CallOptions, GrpcChannel, Idempotency, Kind, Tls, Trace};
use hello::Text;
use hello::greeter::greeter_client::GreeterClient;
use http::uri::PathAndQuery;
use tokio::sync::mpsc;
use tonic::client::Grpc;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Code, Request, Response, Status, Streaming};

const RETRIED: &str = r#""retryPolicy": {"maxAttempts": 3, "initialBackoff": "0.001s", "maxBackoff": "0.001s",
    "backoffMultiplier": 1, "retryableStatusCodes": ["UNAVAILABLE"]}"#;
/// Another attempt follows after a millisecond.
const HEDGED: &str = r#""hedgingPolicy": {"maxAttempts": 3, "hedgingDelay": "0.001s", "nonFatalStatusCodes": [14]}"#;
/// All attempts are sent at once.
const AT_ONCE: &str = r#""hedgingPolicy": {"maxAttempts": 2, "hedgingDelay": "0s"}"#;

async fn greet(channel: &GrpcChannel) -> Result<Response<String>, Status> {
    GreeterClient::new(channel.clone()).greet("world".to_owned()).await
}

async fn client(channel: &GrpcChannel) -> Grpc<GrpcChannel> {
    let mut client = Grpc::new(channel.clone());
    client.ready().await.unwrap();
    client
}

fn path(method: &str) -> PathAndQuery {
    PathAndQuery::try_from(format!("/hello.Greeter/{method}")).unwrap()
}

async fn greet_often(channel: &GrpcChannel, request: Request<String>) -> Result<Streaming<String>, Status> {
    let stream = client(channel).await.server_streaming(request, path("GreetOften"), Text).await;
    stream.map(Response::into_inner)
}

#[tokio::test]
async fn a_generated_client_runs_over_a_channel() {
    let servers = Servers::start(1, []);
    let channel = servers.builder().grpc().build().unwrap();
    let reply = greet(&channel).await.unwrap();
    assert_eq!(reply.get_ref(), "hello, world");
    let trace = reply.extensions().get::<Arc<Trace>>().unwrap();
    let server = trace.server(trace.winner().unwrap()).unwrap().to_string();

    // With an origin, and within tonic's own interceptor.
    let mut client = GreeterClient::with_origin(channel.clone(), "http://users.internal".parse().unwrap());
    assert_eq!(client.greet("origin".to_owned()).await.unwrap().get_ref(), "hello, origin");
    let interceptor = |mut request: Request<()>| {
        request.metadata_mut().insert("x-tenant", "blue".parse().unwrap());
        Ok(request)
    };
    let mut client = GreeterClient::with_interceptor(channel, interceptor);
    assert_eq!(client.greet("tenant".to_owned()).await.unwrap().get_ref(), "hello, tenant");

    let seen = servers.seen();
    assert_eq!(seen.len(), 3);
    assert_eq!(seen[2].header("x-tenant"), Some("blue"));
    for seen in seen {
        assert_eq!(seen.server.to_string(), server);
        assert_eq!((seen.header("te"), seen.header("content-type")), (Some("trailers"), Some("application/grpc")));
        assert_eq!(seen.header("grpc-previous-rpc-attempts"), None);
        let timeout: hedge_tokio::grpc::GrpcTimeout = seen.header("grpc-timeout").unwrap().parse().unwrap();
        assert!(timeout.to_duration() <= Duration::from_secs(60), "{timeout}");
    }
}

#[tokio::test]
async fn w3_attempts_of_grpc_carry_what_goes_along_and_keep_their_timeout() {
    let servers = Servers::start(2, [Fail(Code::Unavailable)]);
    let channel = configured(servers.builder().along(AlongHeaders::all()).grpc(), RETRIED).build().unwrap();
    let mut request = Request::new("world".to_owned());
    request.extensions_mut().insert(CallOptions::new().with_log_id(7).with_request_id("r-1").unwrap());
    GreeterClient::new(channel).greet(request).await.unwrap();
    let seen = servers.seen();
    assert_eq!(seen.len(), 2);
    for (seen, (number, kind)) in seen.iter().zip([("0", "first"), ("1", "retry")]) {
        assert_eq!((seen.header("log-id"), seen.header("x-request-id")), (Some("7"), Some("r-1")));
        assert_eq!((seen.header("x-hedge-attempt"), seen.header("x-hedge-attempt-kind")), (Some(number), Some(kind)));
        assert!(seen.header("grpc-timeout").is_some() && seen.header("x-hedge-remaining-ms").is_some());
    }
    let keys = [0, 1].map(|attempt| seen[attempt].header("idempotency-key").unwrap());
    assert!(keys[0].len() == 32 && keys[0] == keys[1]);
}

#[tokio::test]
async fn c6_calls_over_tls_choose_http2_by_alpn() {
    let name = "greeter.internal";
    let certified = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let identity = Identity::from_pem(certified.cert.pem(), certified.signing_key.serialize_pem());
    let server = Server::builder().tls_config(ServerTlsConfig::new().identity(identity)).unwrap();
    let servers = Servers::start_on(&server, 2, [Fail(Code::Unavailable)]);
    let tls = Tls::builder().root_certificates([certified.cert.der().clone()]).build().unwrap();
    let channel = configured(servers.builder().tls(tls).tls_name(name).grpc(), RETRIED).build().unwrap();
    assert_eq!(greet(&channel).await.unwrap().get_ref(), "hello, world");
    assert_eq!(servers.seen().len(), 2, "the first answer was UNAVAILABLE");

    let unknown =
        Tls::builder().root_pem(rcgen::generate_simple_self_signed([name.to_owned()]).unwrap().cert.pem().as_bytes());
    let channel = servers.builder().tls(unknown.build().unwrap()).tls_name(name).grpc().build().unwrap();
    let status = greet(&channel).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(servers.seen().is_empty());
}

#[test]
fn a_generated_client_runs_on_smol() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let servers = runtime.block_on(async { Servers::start(2, [Fail(Code::Unavailable)]) });
    let channel = hedge_smol::builder(servers.list())
        .load_balancer("rr")
        .timeout(Duration::from_secs(60))
        .connect_timeout(Duration::from_secs(60))
        .idempotency(Idempotency::Idempotent)
        .grpc()
        .retry_codes([Code::Unavailable])
        .unwrap()
        .build()
        .unwrap();
    let mut client = GreeterClient::new(channel);
    let reply = smol::block_on(client.greet("smol".to_owned())).unwrap();
    assert_eq!((reply.get_ref().as_str(), servers.seen().len()), ("hello, smol", 2));
}

#[tokio::test]
async fn l8_a_call_that_failed_before_its_first_message_is_retried_elsewhere() {
    let servers = Servers::start(2, [Fail(Code::Unavailable)]);
    let channel = servers.channel(RETRIED);
    assert_eq!(greet(&channel).await.unwrap().get_ref(), "hello, world");
    let seen = servers.seen();
    assert_eq!(seen.len(), 2);
    assert_ne!(seen[0].server, seen[1].server);
    let previous = |index: usize| seen[index].header("grpc-previous-rpc-attempts");
    assert_eq!((previous(0), previous(1)), (None, Some("1")));
    assert_eq!(servers.report().attempts()[1].kind(), Kind::Retry);
}

#[tokio::test]
async fn l8_a_code_that_is_not_named_reaches_the_caller() {
    for (policy, code, attempts) in [
        (RETRIED, Code::PermissionDenied, 1),
        (RETRIED, Code::Unavailable, 3),
        (r#""timeout": "60s""#, Code::Unavailable, 1),
    ] {
        let servers = Servers::start(2, [Fail(code); 3]);
        let status = greet(&servers.channel(policy)).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (code, "not now"));
        assert_eq!(servers.report().attempts().len(), attempts, "{code} {policy}");
    }
}

#[tokio::test]
async fn b1_a_call_has_its_own_options_before_those_of_its_method() {
    let servers = Servers::start(2, [Fail(Code::Unavailable)]);
    let mut request = Request::new("world".to_owned());
    request.extensions_mut().insert(CallOptions { max_retry: Some(0), ..CallOptions::new() });
    let status = GreeterClient::new(servers.channel(RETRIED)).greet(request).await.unwrap_err();
    assert_eq!((status.code(), servers.report().attempts().len()), (Code::Unavailable, 1));
}

#[tokio::test]
async fn l15_without_a_config_a_call_is_retried_only_if_it_is_idempotent() {
    for (idempotency, attempts) in [(Idempotency::Unset, 1), (Idempotency::Idempotent, 2)] {
        let servers = Servers::start(2, [Fail(Code::ResourceExhausted)]);
        let builder = servers.builder().idempotency(idempotency).grpc();
        let channel = builder.retry_codes([Code::ResourceExhausted]).unwrap().build().unwrap();
        assert_eq!(greet(&channel).await.is_ok(), attempts == 2);
        assert_eq!(servers.report().attempts().len(), attempts);
    }
}

#[tokio::test]
async fn r4_a_server_that_says_no_is_not_asked_again() {
    let servers = Servers::start(2, [PushBack(Code::Unavailable, "-1")]);
    assert_eq!(greet(&servers.channel(RETRIED)).await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(servers.report().attempts().len(), 1);
}

#[tokio::test]
async fn t2_a_status_after_the_first_message_is_delivered_and_not_retried() {
    let servers = Servers::start(2, [FailAfterMessage(Code::Unavailable), FailAfterMessage(Code::Unavailable)]);
    let channel = servers.channel(RETRIED);
    let status = greet(&channel).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "too late"));
    assert_eq!(servers.report().attempts().len(), 1);

    let mut stream = greet_often(&channel, Request::new("9".to_owned())).await.unwrap();
    assert_eq!(stream.message().await.unwrap().unwrap(), "hello, 9");
    assert_eq!(stream.message().await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(servers.report().attempts().len(), 1);
}

#[tokio::test]
async fn t2_a_stream_that_is_reset_ends_with_a_status_and_is_not_retried() {
    let servers = Servers::start(2, [ResetAfterMessage]);
    let mut stream = greet_often(&servers.channel(RETRIED), Request::new("9".to_owned())).await.unwrap();
    assert_eq!(stream.message().await.unwrap().unwrap(), "hello");
    servers.reset();
    let status = stream.message().await.unwrap_err();
    assert_eq!(status.code(), Code::Internal, "{status}");
    assert!(status.message().starts_with("body broken: "), "{status}");
    assert_eq!(servers.report().attempts().len(), 1);
}

#[tokio::test]
async fn l4_a_hedged_call_wins_while_the_first_server_is_silent() {
    // The attempts may arrive in any order.
    let servers = Servers::start(2, [HangFirst; 3]);
    let reply = greet(&servers.channel(HEDGED)).await.unwrap();
    assert_eq!(reply.get_ref(), "hello, world");
    let report = servers.report();
    assert_eq!(report.attempts()[1].kind(), Kind::Backup);
    let winner = report.winner().unwrap().index();
    assert!(winner > 0);
    let previous: Vec<_> =
        servers.seen().iter().filter_map(|seen| seen.header("grpc-previous-rpc-attempts")?.parse().ok()).collect();
    assert!(previous.contains(&winner), "{previous:?}");
}

#[tokio::test]
async fn b4_a_throttle_of_the_service_config_stops_retries() {
    let servers = Servers::start(2, [Fail(Code::Unavailable); 40]);
    let config = format!(
        r#"{{"methodConfig": [{{"name": [{{}}], {RETRIED}}}], "retryThrottling": {{"maxTokens": 4, "tokenRatio": 0.1}}}}"#
    );
    let channel = servers.builder().grpc().service_config(&config).unwrap().build().unwrap();
    let mut attempts = Vec::new();
    for _ in 0..8 {
        assert_eq!(greet(&channel).await.unwrap_err().code(), Code::Unavailable);
        attempts.push(servers.report().attempts().len());
    }
    assert_eq!((attempts[0], attempts[7]), (3, 1), "{attempts:?}");
}

#[tokio::test]
async fn t2_a_stream_of_a_server_is_delivered_whole() {
    let servers = Servers::start(2, [Fail(Code::Unavailable)]);
    let channel = servers.channel(RETRIED);
    let mut stream = greet_often(&channel, Request::new("1000".to_owned())).await.unwrap();
    for number in 0..1_000 {
        assert_eq!(stream.message().await.unwrap().unwrap(), format!("hello {number}"));
    }
    assert_eq!(stream.message().await.unwrap(), None);
    assert_eq!(servers.report().attempts().len(), 2, "its head was retried");
}

#[tokio::test]
async fn t3_a_stream_of_a_client_is_sent_as_it_comes_and_once() {
    let servers = Servers::start(2, []);
    let channel = servers.channel(AT_ONCE);
    let (sender, receiver) = mpsc::channel(1);
    let mut client = client(&channel).await;
    let call = client.client_streaming(Request::new(Received(receiver)), path("GreetAll"), Text);
    let sending = async move {
        for name in ["Ada", "Ben", "Cleo"] {
            sender.send(name.to_owned()).await.unwrap();
        }
    };
    let (reply, ()) = tokio::join!(call, sending);
    assert_eq!(reply.unwrap().get_ref(), "hello, Ada, Ben, Cleo");
    assert_eq!((servers.seen().len(), servers.report().attempts().len()), (1, 1));

    // A call with one message, under the same policy, is sent twice.
    greet(&channel).await.unwrap();
    assert_eq!(servers.report().attempts().len(), 2);
}

#[tokio::test]
async fn both_sides_stream_at_the_same_time() {
    let servers = Servers::start(1, []);
    let channel = servers.channel(HEDGED);
    let (sender, receiver) = mpsc::channel(1);
    let mut client = client(&channel).await;
    let mut chat = client.streaming(Request::new(Received(receiver)), path("Chat"), Text).await.unwrap().into_inner();
    for name in ["Ada", "Ben", "Cleo"] {
        sender.send(name.to_owned()).await.unwrap();
        assert_eq!(chat.message().await.unwrap().unwrap(), format!("hello, {name}"));
    }
    drop(sender);
    assert_eq!(chat.message().await.unwrap(), None);
}

#[tokio::test]
async fn l2_the_earlier_deadline_counts_and_has_its_status() {
    let within = |time: Duration| {
        let mut request = Request::new("world".to_owned());
        request.set_timeout(time);
        request
    };
    // The caller's own. The connection is there, so the request arrives within the time.
    let servers = Servers::start(1, [Reply, Hang]);
    let channel = servers.builder().grpc().build().unwrap();
    greet(&channel).await.unwrap();
    servers.seen();
    let time = Duration::from_secs(1);
    let status = GreeterClient::new(channel.clone()).greet(within(time)).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(status.message().starts_with("deadline passed after "), "{}", status.message());
    let seen = servers.seen();
    let timeout: hedge_tokio::grpc::GrpcTimeout = seen[0].header("grpc-timeout").unwrap().parse().unwrap();
    assert!(timeout.to_duration() <= time, "{timeout}");

    // That of the service config.
    let servers = Servers::start(1, [Hang]);
    let configured = configured(servers.builder().grpc(), r#""timeout": "0.02s""#).build().unwrap();
    let mut client = GreeterClient::new(configured);
    assert_eq!(client.greet(within(Duration::from_secs(60))).await.unwrap_err().code(), Code::DeadlineExceeded);

    // After the first message.
    let servers = Servers::start(1, [Reply, HangAfterMessage]);
    let channel = servers.builder().grpc().build().unwrap();
    greet(&channel).await.unwrap();
    let mut stream = greet_often(&channel, within(time)).await.unwrap();
    assert_eq!(stream.message().await.unwrap().unwrap(), "hello, world");
    let status = stream.message().await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::DeadlineExceeded, "deadline passed while the body was read"));

    let none = GreeterClient::new(channel).greet(within(Duration::ZERO)).await.unwrap_err();
    assert_eq!(none.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_call_that_reaches_no_server_is_unavailable() {
    // The client's end of a connection: its port is taken, and refuses connections.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let builder = hedge_tokio::builder(taken.local_addr().unwrap().to_string());
    let builder = builder.timeout(Duration::from_secs(60)).connect_timeout(Duration::from_secs(60));
    let channel = builder.without_health_checks().grpc().build().unwrap();
    let status = greet(&channel).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("refused"), "{}", status.message());
}

#[tokio::test]
async fn a_message_that_cannot_be_encoded_has_its_own_status() {
    let servers = Servers::start(1, []);
    let channel = servers.channel(HEDGED);
    let status = client(&channel).await.unary(Request::new(()), path("Greet"), unencodable::Codec).await.unwrap_err();
    // tonic makes an internal error of it. Without that status among the sources, the code would be unknown.
    assert_eq!(status.code(), Code::Internal);
    assert!(status.message().contains("on purpose"), "{}", status.message());
    assert!(servers.seen().is_empty());
}

/// A codec that cannot encode.
mod unencodable {
    use tonic::Status;
    use tonic::codec::{self, EncodeBuf, Encoder};

    use super::hello::Text;

    #[derive(Clone, Copy)]
    pub(super) struct Codec;

    impl codec::Codec for Codec {
        type Encode = ();
        type Decode = String;
        type Encoder = Self;
        type Decoder = Text;

        fn encoder(&mut self) -> Self {
            Self
        }

        fn decoder(&mut self) -> Text {
            Text
        }
    }

    impl Encoder for Codec {
        type Item = ();
        type Error = Status;

        fn encode(&mut self, (): (), _: &mut EncodeBuf<'_>) -> Result<(), Status> {
            Err(Status::data_loss("on purpose"))
        }
    }
}
