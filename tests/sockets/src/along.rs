//! What goes along with each attempt, over both versions of HTTP ([W3](hedge_core::rules#W3)), and the client's side of
//! tied requests ([Y1](hedge_core::rules#Y1)).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hedge_net::http::{AlongField, AlongHeaders, Body, HttpError, Response, RetryStatuses, key_text, parse_key};
use hedge_net::{
    Address, Along, AttemptError, AttemptId, AttemptInfo, Bounded, BreakerOptions, CallOptions, Channel, End,
    ErrorKind, FailureOptions, IdempotencyKey, Interceptor, IsolationOptions, Judgement, Kind, Protocol, RetryPolicy,
    Runtime, SendTransport, SpanRange, State, Timeout, Verdict,
};

use super::http2_server::{Http2Server, Settings};
use super::server::TestServer;
use super::signal::Signal;
use super::{HttpBuilder, HttpChannel, assert_settled, get, list, server};

const VERSIONS: [Protocol; 2] = [Protocol::HTTP, Protocol::H2];
const DELAY: Duration = Duration::from_millis(5);
const TIED: &[(&str, &str)] = &[("x-hedge-dropped", "tied")];

/// What a server does with a request.
#[derive(Clone)]
struct Does {
    /// It waits until this has happened.
    gate: Option<Signal>,
    status: u16,
    headers: &'static [(&'static str, &'static str)],
}

fn answers(status: u16) -> Does {
    Does { gate: None, status, headers: &[] }
}

/// A server that writes down what headers it gets.
struct There {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<BTreeMap<String, String>>>>,
    requests: Signal,
    _server: Box<dyn std::any::Any>,
}

impl There {
    fn start(version: Protocol, does: Does) -> Self {
        let heads = Arc::new(Mutex::new(Vec::new()));
        // It is raised once the headers are written down. The server's own signal is raised before that.
        let requests = Signal::new();
        let (seen, come) = (Arc::clone(&heads), requests.clone());
        if version == Protocol::H2 {
            let server = Http2Server::start(Settings::default(), move |asked| {
                let fields = asked.request.headers().iter();
                let fields = fields.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
                seen.lock().unwrap().push(fields.collect());
                come.raise();
                let (does, mut respond) = (does.clone(), asked.respond);
                async move {
                    if let Some(gate) = &does.gate {
                        gate.reached(1).await;
                    }
                    let mut response = Response::builder().status(does.status);
                    for (name, value) in does.headers {
                        response = response.header(*name, *value);
                    }
                    // The client may have reset the stream.
                    if let Ok(mut body) = respond.send_response(response.body(()).unwrap(), false) {
                        drop(body.send_data(Bytes::new(), true));
                    }
                }
            });
            return Self { address: server.address, heads, requests, _server: Box::new(server) };
        }
        let server = TestServer::start(move |connection| {
            while let Some(request) = connection.request() {
                let lines = request.head.lines().filter_map(|line| line.split_once(": "));
                seen.lock().unwrap().push(lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect());
                come.raise();
                if let Some(gate) = &does.gate {
                    gate.block_until(1);
                }
                let headers: String = does.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
                connection.send(&format!("HTTP/1.1 {} X\r\n{headers}content-length: 0\r\n\r\n", does.status));
            }
        });
        Self { address: server.address, heads, requests, _server: Box::new(server) }
    }

    /// The headers of its last request.
    fn last(&self) -> BTreeMap<String, String> {
        self.heads.lock().unwrap().last().unwrap().clone()
    }
}

fn builder<R: Runtime>(runtime: &R, version: Protocol, there: &[&There]) -> HttpBuilder<R> {
    let addresses: Vec<_> = there.iter().map(|there| there.address).collect();
    list(runtime, &addresses).protocol(version)
}

/// The options of a call that tries these servers in this order, and has a backup.
fn in_order(there: &[&There]) -> CallOptions {
    let servers = there.iter().map(|there| server(there.address)).collect();
    CallOptions { servers: Some(servers), ..CallOptions::new() }.with_backup(DELAY)
}

/// The values of headers, in this order. `None`: there is no such header.
fn values<'a>(head: &'a BTreeMap<String, String>, names: &[&str]) -> Vec<Option<&'a str>> {
    names.iter().map(|name| head.get(*name).map(String::as_str)).collect()
}

/// Three servers. The server of the first attempt fails when the backup has come. The server of the backup never
/// answers. The third one is for the retry.
fn three(version: Protocol) -> [There; 3] {
    let backup = There::start(version, Does { gate: Some(Signal::new()), ..answers(200) });
    let first = There::start(version, Does { gate: Some(backup.requests.clone()), ..answers(503) });
    [first, backup, There::start(version, answers(200))]
}

/// Sees calls, and changes nothing.
struct Silent;
impl<Request: Send + Sync, Reply, Error> Interceptor<Request, Reply, Error> for Silent {}

pub async fn w3_each_attempt_carries_what_goes_along<R: Runtime>(runtime: R) {
    for (version, with_interceptor) in VERSIONS.into_iter().flat_map(|version| [(version, false), (version, true)]) {
        let [first, backup, retry] = three(version);
        let mut builder = builder(&runtime, version, &[&first, &backup, &retry]).retry_statuses([503]);
        if with_interceptor {
            builder = builder.interceptor(Silent);
        }
        let channel = builder.along(AlongHeaders::all()).build().unwrap();
        let options = in_order(&[&first, &backup, &retry]).with_log_id(u64::MAX).with_request_id("r 1/2").unwrap();
        let reply = channel.call_with(get("/"), &options).await.unwrap();
        assert_eq!(
            reply.report().attempts().iter().map(|attempt| attempt.kind()).collect::<Vec<_>>(),
            [Kind::First, Kind::Backup, Kind::Retry]
        );
        let heads = [&first, &backup, &retry].map(There::last);
        let (mut keys, mut left) = (Vec::new(), Vec::new());
        for (head, (number, kind)) in heads.iter().zip([("0", "first"), ("1", "backup"), ("2", "retry")]) {
            let names = ["log-id", "x-request-id", "x-hedge-attempt", "x-hedge-attempt-kind"];
            let expected = ["18446744073709551615", "r 1/2", number, kind].map(Some);
            assert_eq!(values(head, &names), expected, "{version:?}");
            keys.push(parse_key(head["idempotency-key"].as_bytes()).unwrap());
            left.push(head["x-hedge-remaining-ms"].parse::<u64>().unwrap());
        }
        let address = first.address.to_string();
        let servers = heads.each_ref().map(|head| values(head, &["x-hedge-first-server"])[0]);
        assert_eq!(servers, [None, Some(&*address), None], "y1: only the backup has it");
        assert!(keys.iter().all(|key| *key == keys[0]), "one key a call");
        assert!(left[0] > left[1] && left[1] >= left[2], "{left:?}");
        let timeout = u64::try_from(super::PATIENCE.as_millis()).unwrap();
        assert!(left[0] <= timeout && left[0] > timeout / 2, "{left:?}; a busy machine may start it some time later");
        let text = heads[0]["idempotency-key"].clone();
        assert!(!format!("{channel:?} {reply:?} {:?} {options:?}", channel.transport()).contains(&text));

        // Another call, another key.
        channel.call_with(get("/"), &in_order(&[&retry])).await.unwrap();
        let head = retry.last();
        assert_ne!(head["idempotency-key"], text);
        assert_eq!(values(&head, &["log-id", "x-request-id"]), [None, None]);
        drop(reply);
        assert_settled(&channel);
    }
}

pub async fn w3_nothing_goes_along_unless_it_is_asked_for<R: Runtime>(runtime: R) {
    for version in VERSIONS {
        let there = There::start(version, answers(200));
        let key = IdempotencyKey::from_bytes([7; 16]);
        let options = CallOptions::new().with_log_id(7).with_request_id("r").unwrap().with_idempotency_key(key);
        let channel = builder(&runtime, version, &[&there]).build().unwrap();
        channel.call_with(get("/"), &options).await.unwrap();
        let head = there.last();
        let strange = head.keys().filter(|name| name.contains("hedge") || name.contains("-id") || name.contains("key"));
        assert_eq!(strange.count(), 0, "{head:?}");

        // With tied requests alone, only the kind and the key are there, and the key is the caller's.
        let channel = builder(&runtime, version, &[&there]).along(AlongHeaders::tied()).build().unwrap();
        channel.call_with(get("/"), &options).await.unwrap();
        let head = there.last();
        assert_eq!(head["idempotency-key"].as_bytes(), key_text(key));
        let others = head.keys().filter(|name| name.contains("hedge") || name.contains("-id"));
        assert_eq!(others.collect::<Vec<_>>(), ["x-hedge-attempt-kind"], "{head:?}");
    }
}

pub async fn w3_names_are_options<R: Runtime>(runtime: R) {
    for version in VERSIONS {
        let there = There::start(version, answers(200));
        let headers = AlongHeaders::all()
            .with_name(AlongField::Key, "X-My-Key")
            .and_then(|headers| headers.with_name(AlongField::LogId, "x-bd-log-id"))
            .unwrap()
            .without(AlongField::Attempt)
            .without(AlongField::Kind);
        let channel = builder(&runtime, version, &[&there]).along(headers).build().unwrap();
        let options = CallOptions { timeout: Some(Timeout::NEVER), ..CallOptions::new().with_log_id(3) };
        channel.call_with(get("/"), &options).await.unwrap();
        let head = there.last();
        assert!(parse_key(head["x-my-key"].as_bytes()).is_some());
        assert_eq!(head["x-bd-log-id"], "3");
        let absent = ["idempotency-key", "log-id", "x-hedge-attempt", "x-hedge-attempt-kind", "x-hedge-remaining-ms"];
        assert_eq!(values(&head, &absent), [None; 5], "a call without a deadline has no remaining time");
    }
}

pub async fn w3_the_callers_own_headers_of_the_call_stay<R: Runtime>(runtime: R) {
    for version in VERSIONS {
        let there = There::start(version, answers(200));
        let channel = builder(&runtime, version, &[&there])
            .default_header("x-request-id", "of-the-channel")
            .along(AlongHeaders::all())
            .build()
            .unwrap();
        let mut request = get("/");
        for (name, value) in [
            ("idempotency-key", "mine"),
            ("log-id", "mine-too"),
            // As in a request that is forwarded.
            ("x-hedge-attempt", "9"),
            ("x-hedge-attempt-kind", "backup"),
            ("x-hedge-first-server", "10.0.0.1:1"),
        ] {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let options = CallOptions::new().with_log_id(3).with_request_id("r").unwrap();
        channel.call_with(request, &options).await.unwrap();
        let head = there.last();
        let names = ["idempotency-key", "log-id", "x-request-id"];
        assert_eq!(values(&head, &names), ["mine", "mine-too", "of-the-channel"].map(Some));
        let names = ["x-hedge-attempt", "x-hedge-attempt-kind", "x-hedge-first-server"];
        assert_eq!(values(&head, &names), [Some("0"), Some("first"), None]);
    }
}

/// Judges as a channel with these statuses does, writes down the judgements, and tells when there is one.
#[derive(Clone)]
struct Judges(Arc<Mutex<Vec<Judgement>>>, Signal);

impl Judges {
    fn new() -> Self {
        Self(Arc::default(), Signal::new())
    }
}

impl RetryPolicy<Response<Body>, HttpError> for Judges {
    fn judge(&self, result: Result<&Response<Body>, &HttpError>) -> Judgement {
        let retried = RetryStatuses::new([503]).unwrap();
        let judgement = RetryPolicy::<Response<Body>, HttpError>::judge(&retried, result);
        self.0.lock().unwrap().push(judgement);
        self.1.raise();
        judgement
    }
}

fn tied<R: Runtime>(runtime: &R, version: Protocol, there: &[&There], judges: &Judges) -> HttpChannel<R> {
    // Longer than the test: a server is still isolated when the test looks.
    let times = SpanRange::of_millis::<3_600_000, 3_600_000>();
    let isolation = IsolationOptions { times, ..IsolationOptions::DEFAULT };
    let failures = FailureOptions { failures: Bounded::of::<1>(), isolation };
    builder(runtime, version, there)
        .along(AlongHeaders::tied())
        .retry_policy(judges.clone())
        .circuit_breaker(BreakerOptions::ConsecutiveFailures(failures))
        .build()
        .unwrap()
}

pub async fn y1_a_dropped_copy_waits_for_the_other_and_blames_no_server<R: Runtime>(runtime: R) {
    for version in VERSIONS {
        // The first attempt's server answers once the client knows that the backup was dropped.
        let judges = Judges::new();
        let first = There::start(version, Does { gate: Some(judges.1.clone()), ..answers(200) });
        let backup = There::start(version, Does { headers: TIED, ..answers(503) });
        let other = There::start(version, answers(200));
        let channel = tied(&runtime, version, &[&first, &backup, &other], &judges);
        let reply = channel.call_with(get("/"), &in_order(&[&first, &backup, &other])).await.unwrap();
        let states: Vec<_> = reply.report().attempts().iter().map(|attempt| attempt.state()).collect();
        assert_eq!(states, [Verdict::Accept, Verdict::Wait].map(State::Finished), "{version:?}");
        assert!(judges.0.lock().unwrap()[0].local);
        assert!(channel.usable(&server(backup.address)) && other.heads.lock().unwrap().is_empty());
        drop(reply);
        assert_settled(&channel);

        // And the other way round: the backup has begun, and the first copy is dropped.
        let judges = Judges::new();
        let backup = There::start(version, Does { gate: Some(judges.1.clone()), ..answers(200) });
        let first = Does { gate: Some(backup.requests.clone()), status: 503, headers: TIED };
        let first = There::start(version, first);
        let channel = tied(&runtime, version, &[&first, &backup, &other], &judges);
        let reply = channel.call_with(get("/"), &in_order(&[&first, &backup, &other])).await.unwrap();
        let states: Vec<_> = reply.report().attempts().iter().map(|attempt| attempt.state()).collect();
        assert_eq!(states, [Verdict::Wait, Verdict::Accept].map(State::Finished), "{version:?}");
        assert!(channel.usable(&server(first.address)));
    }
}

pub async fn y1_if_the_other_copy_fails_the_call_retries_or_ends<R: Runtime>(runtime: R) {
    for version in VERSIONS {
        for (status, max_retry, expected) in [(503, 3, Ok(3)), (503, 1, Err(2)), (500, 3, Err(2))] {
            let judges = Judges::new();
            let first = There::start(version, Does { gate: Some(judges.1.clone()), ..answers(status) });
            let backup = There::start(version, Does { headers: TIED, ..answers(503) });
            let other = There::start(version, answers(200));
            let channel = tied(&runtime, version, &[&first, &backup, &other], &judges);
            let options = CallOptions { max_retry: Some(max_retry), ..in_order(&[&first, &backup, &other]) };
            let result = channel.call_with(get("/"), &options).await;
            let attempts = match &result {
                Ok(reply) => Ok(reply.report().attempts().len()),
                Err(error) => {
                    assert_eq!(error.report().end(), Some(End::Failed));
                    Err(error.report().attempts().len())
                }
            };
            assert_eq!(attempts, expected, "{version:?} {status} {max_retry}");
            assert!(channel.usable(&server(backup.address)) && !channel.usable(&server(first.address)));
            drop(result);
            assert_settled(&channel);
        }
    }
}

pub async fn y1_a_claim_without_a_second_copy_is_an_ordinary_failure<R: Runtime>(runtime: R) {
    for version in VERSIONS {
        let judges = Judges::new();
        let liar = There::start(version, Does { headers: TIED, ..answers(503) });
        let other = There::start(version, answers(200));
        let channel = tied(&runtime, version, &[&liar, &other], &judges);
        let options = CallOptions { backup: None, ..in_order(&[&liar, &other]) };
        let reply = channel.call_with(get("/"), &options).await.unwrap();
        assert_eq!(reply.report().retried_count(), 1, "it is retried");
        assert!(!judges.0.lock().unwrap()[0].local && !channel.usable(&server(liar.address)), "and blamed");

        // Without tied requests, a backup that is "dropped" is a failure too.
        let judges = Judges::new();
        let first = There::start(version, Does { gate: Some(judges.1.clone()), ..answers(200) });
        let channel = builder(&runtime, version, &[&first, &liar]).retry_policy(judges.clone()).build().unwrap();
        let options = CallOptions { max_retry: Some(1), ..in_order(&[&first, &liar]) };
        channel.call_with(get("/"), &options).await.unwrap();
        let judgement = judges.0.lock().unwrap()[0];
        assert_eq!((judgement.verdict, judgement.local), (Verdict::Retry, false));
    }
}

/// A transport of the program that carries keys. Its backups succeed.
#[derive(Default)]
struct Carries(Mutex<Vec<Told>>);

/// The kind of an attempt, the key, the first server, and the request id.
type Told = (Kind, Option<IdempotencyKey>, Option<Address>, Option<String>);

/// The error of an attempt that did not get what goes along.
#[derive(Debug)]
struct Plain;

impl AttemptError for Plain {
    fn kind(&self) -> ErrorKind {
        ErrorKind::BadRequest
    }
}

impl SendTransport for Carries {
    type Address = Address;
    type Request = ();
    type Reply = ();
    type Error = Plain;

    async fn start(&self, (): &(), _: AttemptInfo<Address>) -> Result<(), Plain> {
        Err(Plain)
    }

    async fn start_along(
        &self,
        (): &(),
        attempt: AttemptInfo<Address>,
        along: Along<'_, Address>,
    ) -> Result<(), Plain> {
        let told = (attempt.kind, along.key(), along.first_server().cloned(), along.request_id().map(Into::into));
        self.0.lock().unwrap().push(told);
        match attempt.kind {
            Kind::Backup => Ok(()),
            Kind::First | Kind::Retry => std::future::pending().await,
        }
    }

    fn wants_key(&self) -> bool {
        true
    }
}

pub async fn w3_a_transport_of_the_program_is_told_what_goes_along<R: Runtime>(runtime: R) {
    let channel = Channel::with_transport(runtime, Carries::default(), "list://10.0.0.1:1,10.0.0.2:1")
        .load_balancer("rr")
        .timeout(super::PATIENCE)
        .backup(DELAY)
        .idempotency(hedge_net::Idempotency::Idempotent)
        .build()
        .unwrap();
    let reply = channel.call_with((), &CallOptions::new().with_request_id("r").unwrap()).await.unwrap();
    let told = channel.transport().0.lock().unwrap().clone();
    let [(Kind::First, Some(key), None, Some(id)), (Kind::Backup, same, Some(first), again)] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!((Some(*key), Some(id)), (*same, again.as_ref()));
    assert_eq!(reply.trace().server(AttemptId::FIRST).map(|server| &server.address), Some(first));
}
