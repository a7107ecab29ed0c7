//! Servers of tonic that do what a test says, and what they saw.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hedge_tokio::{Builder, GrpcChannel, Report, grpc::GrpcBuilder};
use http::HeaderMap;
use tokio::sync::{Notify, mpsc};
use tonic::body::Body;
use tonic::codegen::tokio_stream::{Stream, StreamExt as _};
use tonic::metadata::MetadataMap;
use tonic::transport::{Server, server::TcpIncoming};
use tonic::{Code, Request, Response, Status, Streaming};
use tower::service_fn;

use crate::hello::Text;

/// What a server does with a request.
#[derive(Clone, Copy)]
pub(crate) enum Answer {
    /// Answers in the way of the method.
    Reply,
    /// Fails before the first message.
    Fail(Code),
    /// The same, and asks for this delay.
    PushBack(Code, &'static str),
    /// Fails after one message.
    FailAfterMessage(Code),
    /// Sends one message, and resets its stream once the test says so.
    ResetAfterMessage,
    /// Sends one message and no end.
    HangAfterMessage,
    /// Never answers.
    Hang,
    /// Never answers the first attempt of a call, and answers the others in the way of the method.
    HangFirst,
}

/// What a server saw of a request.
pub(crate) struct Seen {
    pub(crate) server: SocketAddr,
    pub(crate) headers: HeaderMap,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// Some servers that follow one script: the first request at any of them gets the first answer. Once the script is over,
/// each request gets its reply.
#[derive(Clone, Default)]
pub(crate) struct Servers {
    script: Arc<Mutex<VecDeque<Answer>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
    reports: Arc<Mutex<Vec<Report>>>,
    reset: Arc<Notify>,
    addresses: Vec<SocketAddr>,
}

impl Servers {
    /// Starts so many servers.
    pub(crate) fn start(servers: usize, script: impl IntoIterator<Item = Answer>) -> Self {
        Self::start_on(&Server::builder(), servers, script)
    }

    /// Starts so many servers with these settings.
    pub(crate) fn start_on(settings: &Server, servers: usize, script: impl IntoIterator<Item = Answer>) -> Self {
        let mut started = Self { script: Arc::new(Mutex::new(script.into_iter().collect())), ..Self::default() };
        for _ in 0..servers {
            let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into()).unwrap();
            let address = incoming.local_addr().unwrap();
            let this = started.clone();
            let service = service_fn(move |request: http::Request<Body>| {
                let seen = Seen { server: address, headers: request.headers().clone() };
                this.seen.lock().unwrap().push(seen);
                let answer = this.script.lock().unwrap().pop_front().unwrap_or(Answer::Reply);
                let reset = Arc::clone(&this.reset);
                async move { Ok::<_, Infallible>(answer_to(request, answer, reset).await) }
            });
            tokio::spawn(settings.clone().serve_with_incoming(service, incoming));
            started.addresses.push(address);
        }
        started
    }

    /// The list of the servers, for a builder.
    pub(crate) fn list(&self) -> String {
        let list: Vec<_> = self.addresses.iter().map(SocketAddr::to_string).collect();
        format!("list://{}", list.join(","))
    }

    /// A channel to be, for these servers. Its calls have a minute, and so does connecting.
    pub(crate) fn builder(&self) -> Builder {
        let reports = Arc::clone(&self.reports);
        hedge_tokio::builder(self.list())
            .load_balancer("rr")
            .timeout(Duration::from_secs(60))
            .connect_timeout(Duration::from_secs(60))
            .on_end(move |call| reports.lock().unwrap().push(call.report().clone()))
    }

    /// A channel with a service config, whose other methods are not sent again.
    pub(crate) fn channel(&self, policy: &str) -> GrpcChannel {
        configured(self.builder().grpc(), policy).build().unwrap()
    }

    /// Resets the stream of [`Answer::ResetAfterMessage`].
    pub(crate) fn reset(&self) {
        self.reset.notify_one();
    }

    /// What the servers have seen since the last time.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }

    /// The report of the only call since the last time.
    pub(crate) fn report(&self) -> Report {
        let mut reports = self.reports.lock().unwrap();
        assert_eq!(reports.len(), 1, "one call");
        reports.pop().unwrap()
    }
}

/// The service `hello.Greeter` has this policy.
pub(crate) fn configured(builder: GrpcBuilder<hedge_tokio::Tokio>, policy: &str) -> GrpcBuilder<hedge_tokio::Tokio> {
    let config = format!(r#"{{"methodConfig": [{{"name": [{{"service": "hello.Greeter"}}], {policy}}}]}}"#);
    builder.service_config(&config).unwrap()
}

async fn answer_to(request: http::Request<Body>, answer: Answer, reset: Arc<Notify>) -> http::Response<Body> {
    let mut grpc = tonic::server::Grpc::new(Text);
    match (answer, request.uri().path()) {
        (Answer::Hang, _) => pending().await,
        (Answer::HangFirst, _) if !request.headers().contains_key("grpc-previous-rpc-attempts") => pending().await,
        (Answer::Fail(code), _) => Status::new(code, "not now").into_http(),
        (Answer::PushBack(code, delay), _) => {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-retry-pushback-ms", delay.parse().unwrap());
            Status::with_metadata(code, "not now", metadata).into_http()
        }
        (Answer::FailAfterMessage(code), _) => {
            let end = Status::new(code, "too late");
            grpc.server_streaming(service_fn(move |request| greet_and(request, Some(end.clone()))), request).await
        }
        (Answer::ResetAfterMessage, _) => http::Response::new(Body::new(Broken::new(reset))),
        (Answer::HangAfterMessage, _) => {
            grpc.server_streaming(service_fn(|request| greet_and(request, None)), request).await
        }
        (_, "/hello.Greeter/GreetOften") => grpc.server_streaming(service_fn(greet_often), request).await,
        (_, "/hello.Greeter/GreetAll") => grpc.client_streaming(service_fn(greet_all), request).await,
        (_, "/hello.Greeter/Chat") => grpc.streaming(service_fn(chat), request).await,
        (Answer::Reply | Answer::HangFirst, _) => grpc.unary(service_fn(greet), request).await,
    }
}

async fn greet(request: Request<String>) -> Result<Response<String>, Status> {
    Ok(Response::new(format!("hello, {}", request.into_inner())))
}

/// Sends one message, and then this status or no end.
async fn greet_and(
    request: Request<String>,
    end: Option<Status>,
) -> Result<Response<Box<dyn Stream<Item = Result<String, Status>> + Send + Unpin>>, Status> {
    let (sender, receiver) = mpsc::channel(2);
    sender.send(Ok(format!("hello, {}", request.into_inner()))).await.unwrap();
    match end {
        Some(end) => sender.send(Err(end)).await.unwrap(),
        None => std::mem::forget(sender),
    }
    Ok(Response::new(Box::new(Received(receiver))))
}

/// The request is a number: so many messages are sent.
async fn greet_often(request: Request<String>) -> Result<Response<impl Stream<Item = Result<String, Status>>>, Status> {
    let number: usize = request.into_inner().parse().unwrap();
    Ok(Response::new(tonic::codegen::tokio_stream::iter(0..number).map(|number| Ok(format!("hello {number}")))))
}

async fn greet_all(request: Request<Streaming<String>>) -> Result<Response<String>, Status> {
    let mut names = request.into_inner();
    let mut greeting = "hello".to_owned();
    while let Some(name) = names.message().await? {
        greeting = format!("{greeting}, {name}");
    }
    Ok(Response::new(greeting))
}

async fn chat(
    request: Request<Streaming<String>>,
) -> Result<Response<impl Stream<Item = Result<String, Status>>>, Status> {
    Ok(Response::new(request.into_inner().map(|name| Ok(format!("hello, {}", name?)))))
}

/// What comes on a channel, as a stream.
pub(crate) struct Received<T>(pub(crate) mpsc::Receiver<T>);

impl<T> Stream for Received<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.poll_recv(cx)
    }
}

/// A body of one message, which fails once the test says so.
struct Broken {
    message: Option<&'static str>,
    reset: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Broken {
    fn new(reset: Arc<Notify>) -> Self {
        Self { message: Some("hello"), reset: Box::pin(async move { reset.notified().await }) }
    }
}

impl http_body::Body for Broken {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, &'static str>>> {
        if let Some(message) = self.message.take() {
            let framed = [&[0, 0, 0, 0, u8::try_from(message.len()).unwrap()], message.as_bytes()].concat();
            return Poll::Ready(Some(Ok(http_body::Frame::data(framed.into()))));
        }
        self.reset.as_mut().poll(cx).map(|()| Some(Err("broken on purpose")))
    }
}
