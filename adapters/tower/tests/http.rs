//! HTTP services under the layer, in tokio's paused time.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

mod common;

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use common::{builder, call, ms};
use hedge_tower::hedge_core::outcome::{End, Kind, NotHedged, Verdict};
use hedge_tower::hedge_core::policy::Idempotency;
use hedge_tower::hedge_http::failure;
use hedge_tower::{AttemptInfo, CallOptions, Http, Report, RetryPolicy, WinnerKey};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::Full;
use tower::{Layer, Service, service_fn};

/// The parts of the requests that a server has seen.
type Log = Arc<Mutex<Vec<String>>>;

/// A server whose n-th answer takes the n-th time and has the n-th status.
fn server(
    log: &Log,
    answers: &'static [(u64, u16)],
) -> impl Service<Request<Full<Bytes>>, Response = Response<&'static str>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ use<> {
    let log = Arc::clone(log);
    service_fn(move |request: Request<Full<Bytes>>| {
        let mut log = log.lock().unwrap();
        let (after, status) = answers[log.len()];
        let extension = request.extensions().get::<u8>().copied();
        let (parts, body) = request.into_parts();
        let (method, uri, version, headers) = (parts.method, parts.uri, parts.version, parts.headers);
        log.push(format!("{method} {uri} {version:?} {headers:?} {extension:?} {body:?}"));
        async move {
            tokio::time::sleep(ms(after)).await;
            Ok(Response::builder().status(status).body("body").unwrap())
        }
    })
}

fn request(method: Method) -> Request<Full<Bytes>> {
    let builder = Request::builder().method(method).uri("http://localhost/path?query").version(Version::HTTP_10);
    builder.header("x-a", "1").header("x-a", "2").extension(7_u8).body(Full::from("shared")).unwrap()
}

#[tokio::test(start_paused = true)]
async fn t3_a_copy_is_the_whole_request_and_the_report_comes_with_the_response() {
    let seen = Log::default();
    let service = server(&seen, &[(200, 200), (1, 200)]);
    let mut service = builder().http().backup(ms(50)).layer().unwrap().layer(service);
    let (response, at) = call(&mut service, request(Method::PUT)).await;
    assert_eq!(at, 51);
    let report = response.unwrap().extensions_mut().remove::<Report>().unwrap();
    assert_eq!(report.winner().map(|winner| winner.index()), Some(1));
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0], seen[1]);
    for part in ["PUT", "/path?query", "HTTP/1.0", "\"1\"", "\"2\"", "Some(7)", "shared"] {
        assert!(seen[0].contains(part), "{part} in {}", seen[0]);
    }
}

#[tokio::test(start_paused = true)]
async fn l15_what_the_method_forbids_is_sent_once_unless_the_call_says_otherwise() {
    let seen = Log::default();
    let service = server(&seen, &[(200, 200), (200, 200), (1, 200)]);
    let mut service = builder().http().backup(ms(50)).layer().unwrap().layer(service);
    let (response, at) = call(&mut service, request(Method::POST)).await;
    let report = response.unwrap().extensions().get::<Report>().unwrap().clone();
    assert_eq!((at, report.not_hedged()), (200, Some(NotHedged::NotIdempotent)));
    assert_eq!(seen.lock().unwrap().len(), 1);

    let mut post = request(Method::POST);
    post.extensions_mut().insert(CallOptions { idempotency: Idempotency::Idempotent, ..CallOptions::new() });
    assert_eq!(call(&mut service, post).await.1, 51);
}

#[tokio::test(start_paused = true)]
async fn r1_an_internal_error_loses_to_what_is_in_flight_and_else_is_the_callers() {
    let service = server(&Log::default(), &[(60, 503), (30, 200), (1, 502), (1, 404)]);
    let mut service = builder().http().backup(ms(50)).layer().unwrap().layer(service);
    let (response, at) = call(&mut service, request(Method::GET)).await;
    assert_eq!((response.unwrap().status(), at), (StatusCode::OK, 80));
    for (status, end) in [(StatusCode::BAD_GATEWAY, End::Failed), (StatusCode::NOT_FOUND, End::Accepted)] {
        let response = call(&mut service, request(Method::GET)).await.0.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(response.extensions().get::<Report>().and_then(Report::end), Some(end));
    }
}

/// Makes a call, and returns when it ends. The first attempt takes 300 ms, and a backup follows every 50 ms. The first
/// backup fails at 60 ms with `header`. The second backup would take 1 ms.
async fn pushed_back(header: &str, value: &str) -> u128 {
    let (header, value) = (HeaderName::try_from(header).unwrap(), HeaderValue::try_from(value).unwrap());
    let sent = Arc::new(AtomicUsize::new(0));
    let service = service_fn(move |_: Request<Full<Bytes>>| {
        let (after, status) = [(300, 200), (10, 503), (1, 200)][sent.fetch_add(1, Ordering::Relaxed)];
        let mut response = Response::new("body");
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response.headers_mut().insert(header.clone(), value.clone());
        async move {
            tokio::time::sleep(ms(after)).await;
            Ok::<_, Infallible>(response)
        }
    });
    let mut service = builder().http().backup(ms(50)).max_backups(2).layer().unwrap().layer(service);
    let (response, at) = call(&mut service, request(Method::GET)).await;
    assert_eq!(response.unwrap().status(), StatusCode::OK);
    at
}

#[tokio::test(start_paused = true)]
async fn r4_headers_of_a_failure_move_or_cancel_the_next_backup() {
    for (header, value, at) in [
        ("x-other", "1", 101),
        ("grpc-retry-pushback-ms", "30", 141),
        ("grpc-retry-pushback-ms", "0", 111),
        ("grpc-retry-pushback-ms", "-1", 300),
        ("grpc-retry-pushback-ms", "soon", 300),
        ("retry-after", "0", 111),
        ("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT", 111),
        ("retry-after", "1", 300),
        ("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT", 300),
        ("retry-after", "soon", 300),
    ] {
        assert_eq!(pushed_back(header, value).await, at, "{header}: {value}");
    }
}

#[tokio::test(start_paused = true)]
async fn r4_a_policy_of_ones_own_retries_when_the_server_says() {
    let sent = Arc::new(AtomicUsize::new(0));
    let service = service_fn(move |_: Request<Full<Bytes>>| {
        let status = [429, 200][sent.fetch_add(1, Ordering::Relaxed)];
        std::future::ready(Response::builder().status(status).header("retry-after", "2").body("body"))
    });
    let judge = |result: Result<&Response<&'static str>, &http::Error>| match result {
        Ok(response) if response.status() == 429 => failure(Verdict::Retry, response),
        other => Http::new().judge(other),
    };
    let builder = builder().http().retry_policy(judge).timeout(ms(5_000));
    let (response, at) = call(&mut builder.layer().unwrap().layer(service), request(Method::GET)).await;
    assert_eq!((response.unwrap().status(), at), (StatusCode::OK, 2_000));
}

#[tokio::test(start_paused = true)]
async fn a_response_without_report_has_no_extensions() {
    let service = server(&Log::default(), &[(1, 200)]);
    let builder = builder().retry_policy(Http::new()).protocol(Http::without_reports());
    let response = call(&mut builder.layer().unwrap().layer(service), request(Method::GET)).await.0.unwrap();
    assert!(response.extensions().is_empty());
}

#[tokio::test(start_paused = true)]
async fn r4_a_delay_of_all_the_time_that_remains_is_do_not() {
    // The first attempt fails at 10 ms. The deadline is at 500 ms.
    for (header, value, status, at) in [
        ("grpc-retry-pushback-ms", "489", 200, 499),
        ("grpc-retry-pushback-ms", "490", 503, 10),
        ("grpc-retry-pushback-ms", "2147483647", 503, 10),
        ("grpc-retry-pushback-ms", "+5", 503, 10),
        ("retry-after", "+0", 503, 10),
    ] {
        let sent = Arc::new(AtomicUsize::new(0));
        let service = service_fn(move |_: Request<Full<Bytes>>| {
            let (after, status) = [(10, 503), (0, 200)][sent.fetch_add(1, Ordering::Relaxed)];
            let response = Response::builder().status(status).header(header, value).body("body");
            async move {
                tokio::time::sleep(ms(after)).await;
                response
            }
        });
        let judge = |result: Result<&Response<&'static str>, &http::Error>| match result {
            Ok(response) if response.status() == 503 => failure(Verdict::Retry, response),
            other => Http::new().judge(other),
        };
        let layer = builder().http().retry_policy(judge).layer().unwrap();
        let (response, ended) = call(&mut layer.layer(service), request(Method::GET)).await;
        assert_eq!((response.unwrap().status().as_u16(), ended), (status, at), "{header}: {value}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_winners_key_comes_with_the_response() {
    async fn asked<K: Clone + Send + Sync + 'static>(answers: [&'static [(u64, u16)]; 2]) -> Response<&'static str> {
        let http = Http::without_reports().winner_key::<K>();
        let mut set = builder().http().protocol(http).backup(ms(50)).set().unwrap();
        for (key, answers) in ["one", "two"].into_iter().zip(answers) {
            set.insert(key, server(&Log::default(), answers)).unwrap();
        }
        call(&mut set, request(Method::GET)).await.0.unwrap()
    }
    let fast = [&[(1, 200)][..], &[(200, 200)][..]];
    let key = |response: &Response<_>| response.extensions().get::<WinnerKey<&str>>().copied();
    assert_eq!(key(&asked::<&str>(fast).await), Some(WinnerKey("one")));
    assert_eq!(key(&asked::<&str>([fast[1], fast[0]]).await), Some(WinnerKey("two")), "whichever is asked first");
    // No key is attached if no server has won, or if the type of the keys is another one.
    assert_eq!(key(&asked::<&str>([&[(1, 500)]; 2]).await), None);
    assert!(asked::<u8>(fast).await.extensions().is_empty());
    // A layer has no keys.
    let layer = builder().http().protocol(Http::without_reports().winner_key::<&str>()).layer().unwrap();
    let mut service = layer.layer(server(&Log::default(), &[(1, 200)]));
    assert!(call(&mut service, request(Method::GET)).await.0.unwrap().extensions().is_empty());
}

#[tokio::test(start_paused = true)]
async fn l2_each_request_says_which_attempt_it_is_and_how_long_it_may_take() {
    type Seen = Arc<Mutex<Vec<Option<AttemptInfo<()>>>>>;
    async fn seen(http: Http) -> Vec<Option<AttemptInfo<()>>> {
        let seen = Seen::default();
        let there = Arc::clone(&seen);
        let service = service_fn(move |request: Request<Full<Bytes>>| {
            let mut seen = there.lock().unwrap();
            seen.push(request.extensions().get().copied());
            let after = [200, 200, 20][seen.len() - 1];
            async move {
                tokio::time::sleep(ms(after)).await;
                if after == 20 { Ok(Response::new("last")) } else { Err("no") }
            }
        });
        let layer = builder().http().protocol(http).timeout(ms(300)).backup(ms(50)).layer().unwrap();
        let (response, at) = call(&mut layer.layer(service), request(Method::GET)).await;
        assert_eq!((*response.unwrap().body(), at), ("last", 220));
        seen.lock().unwrap().clone()
    }
    let told = seen(Http::new().attempt_info()).await;
    let told: Vec<_> = told.into_iter().map(Option::unwrap).collect();
    let started = told[0].started;
    let of = |info: &AttemptInfo<()>| (info.attempt.index(), info.kind, info.started.since(started), info.remaining());
    let expected = [
        (0, Kind::First, ms(0), Some(ms(300))),
        (1, Kind::Backup, ms(50), Some(ms(250))),
        (2, Kind::Retry, ms(200), Some(ms(100))),
    ];
    assert_eq!(told.iter().map(of).collect::<Vec<_>>(), expected);
    assert_eq!(seen(Http::new()).await, [None; 3]);
}
