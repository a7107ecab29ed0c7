//! Calls between two stacks: their results, how long they take, and that they give back all buffers and sockets.

mod common;

use std::cell::Cell;

use common::{ALL_FREE, BYTES, Memory, SLOTS, SOCKETS, Setup, WIRE, codes, hedged, line_of, report};
use embassy_futures::join::join;
use embassy_time::Timer;
use hedge_core::balance::RoundRobin;
use hedge_core::drive::{CancelSignal, NoCancel};
use hedge_core::health::Health;
use hedge_core::limit::Limits;
use hedge_core::outcome::{Code, End, ErrorKind, Judgement, Kind, NotHedged, Verdict};
use hedge_core::policy::{BackupPolicy, CallOptions, ChannelOptions, ConfigError, Ended, NoPolicy};
use hedge_core::time::Duration;
use hedge_embassy::{CallError, Channel, Choice, Error, HttpRetryPolicy, Reply, Request, Resources, Response};
use hedge_embassy_tests::{Behaviour, Stall, Wire, now_ms};

const GET: Request<'_> = Request::get("/");

#[test]
fn a_call_returns_the_response_which_keeps_its_buffer() {
    let setup = Setup::new(ChannelOptions::brpc());
    let (channel, sockets) = (setup.channel, setup.sockets);
    setup.world.run(async move {
        let reply = channel.call(&GET).await.unwrap();
        assert_eq!((reply.status(), reply.body()), (200, &b"8001"[..]));
        assert_eq!(reply.header("Content-Length"), Some(&b"4"[..]));
        assert_eq!((channel.free_buffers(), sockets.free()), (SLOTS - 1, SOCKETS));
        let other = channel.call(&GET).await.unwrap();
        assert_eq!(
            (reply.body(), other.body()),
            (&b"8001"[..], &b"8002"[..]),
            "a call does not overwrite the answer of another"
        );
    });
    assert_eq!(setup.free(), ALL_FREE);
    assert_eq!(setup.servers[0].requests(), ["GET / HTTP/1.1\r\nhost: 10.0.0.2:8001\r\nconnection: close\r\n\r\n"]);
    assert_eq!(setup.servers[0].given_up(), 0, "the connection is not reset, since the server had closed it");
}

#[test]
fn a_request_has_its_host_its_headers_and_a_body_larger_than_a_buffer() {
    let setup = Setup::new(ChannelOptions::brpc());
    let channel = setup.channel;
    setup.world.run(async move {
        let body = [b'x'; BYTES + 300];
        let request = Request { host: Some("fleet"), headers: &[("x-key", b"1")], ..Request::post("/led?on", &body) };
        assert_eq!(channel.call(&request).await.unwrap().status(), 200);
    });
    let head = "POST /led?on HTTP/1.1\r\nhost: fleet\r\nx-key: 1\r\nconnection: close\r\ncontent-length: 812\r\n\r\n";
    assert!(setup.servers[0].requests()[0].starts_with(head), "{:?}", setup.servers[0].requests());
}

/// How long 600 calls took, sorted, and what was decided in each.
fn latencies(options: ChannelOptions) -> (Vec<u64>, Vec<String>) {
    let setup = Setup::over(options, WIRE, Stall::USUAL);
    let channel = setup.channel;
    let (mut took, log) = setup.world.run(async move {
        let (mut took, mut log) = (Vec::new(), Vec::new());
        for _ in 0..600 {
            let reply = channel.call(&GET).await.unwrap();
            took.push(reply.report().elapsed_micros().as_millis());
            log.push(line_of(reply.report()));
        }
        (took, log)
    });
    assert_eq!(setup.free(), ALL_FREE);
    took.sort_unstable();
    (took, log)
}

#[test]
fn hedged_calls_cut_the_tail_and_a_run_is_the_same_every_time() {
    let (plain, _) = latencies(ChannelOptions::brpc());
    let (hedged_calls, log) = latencies(hedged(6));
    let p99 = |took: &[u64]| took[594];
    assert!(p99(&plain) >= 24, "{plain:?}");
    assert!(p99(&hedged_calls) <= 12, "{hedged_calls:?}");
    let backups = log.iter().filter(|line| line.contains("Backup")).count();
    assert!((20..=70).contains(&backups), "the default limits allow a backup for a tenth of the calls: {backups}");
    assert_eq!(latencies(hedged(6)).1, log);
}

#[test]
fn the_losers_socket_and_buffer_are_free_at_once_and_its_server_learns_of_it() {
    let setup = Setup::new(hedged(6));
    setup.servers[0].becomes(Behaviour::Silent);
    let (channel, sockets, servers) = (setup.channel, setup.sockets, setup.servers.clone());
    setup.world.run(async move {
        let reply = channel.call(&GET).await.unwrap();
        assert_eq!(reply.body(), b"8002");
        assert_eq!((reply.report().elapsed(), reply.report().backups()), (Duration::from_millis(10), 1));
        assert_eq!((channel.free_buffers(), sockets.free()), (SLOTS - 1, SOCKETS));
        assert_eq!(servers[0].given_up(), 0);
        Timer::after_millis(2).await;
        assert_eq!(servers[0].given_up(), 1, "by a reset, once it has arrived");
    });
}

#[test]
fn l12_a_call_that_is_dropped_frees_its_sockets_at_once() {
    let setup = Setup::new(hedged(6));
    setup.servers.iter().for_each(|server| server.becomes(Behaviour::Silent));
    let (channel, sockets, servers) = (setup.channel, setup.sockets, setup.servers.clone());
    setup.world.run(async move {
        for millis in 1..20 {
            let cut = embassy_time::with_timeout(embassy_time::Duration::from_millis(millis), channel.call(&GET)).await;
            assert!(cut.is_err());
            assert_eq!((channel.free_buffers(), sockets.free()), ALL_FREE, "after {millis} ms");
        }
        Timer::after_millis(5).await;
        let read: usize = servers.iter().map(|server| server.requests().len()).sum();
        let given_up: u32 = servers.iter().map(|server| server.given_up()).sum();
        assert_eq!(
            read, given_up as usize,
            "every server that has read a request has learned that the call was dropped"
        );
        assert!(read > 20, "{read}");
    });
}

#[test]
fn l12_a_signal_cancels_a_call() {
    let setup = Setup::new(hedged(6));
    setup.servers.iter().for_each(|server| server.becomes(Behaviour::Silent));
    let (channel, sockets) = (setup.channel, setup.sockets);
    setup.world.run(async move {
        let signal = CancelSignal::new();
        let options = CallOptions::new();
        let call = channel.call_judged(&GET, &options, &HttpRetryPolicy, &signal);
        let (result, ()) = join(call, async {
            Timer::after_millis(8).await;
            signal.cancel();
        })
        .await;
        let error = result.unwrap_err();
        assert_eq!((error.end(), now_ms()), (Some(End::Cancelled), 8));
        assert_eq!((channel.free_buffers(), sockets.free()), ALL_FREE);
        assert_eq!(error.to_string(), "cancelled after 8 ms: attempt 1 at server 1.0 had not answered");
    });
}

/// Counts the calls that have ended.
#[derive(Default)]
struct Ends {
    calls: Cell<u32>,
    attempts: Cell<usize>,
    cancelled: Cell<u32>,
}

impl BackupPolicy for Ends {
    fn ended(&self, call: &Ended<'_>) {
        self.calls.set(self.calls.get() + 1);
        self.attempts.set(self.attempts.get() + call.attempts.len());
        self.cancelled.set(self.cancelled.get() + u32::from(call.end == End::Cancelled));
    }
}

#[test]
fn b2_a_policy_next_to_the_limit_hears_of_every_calls_end() {
    type Memory = Resources<Choice<RoundRobin, (Limits, Ends), common::Mutex>, 4, SLOTS, BYTES>;
    let setup = Setup::new(hedged(6));
    setup.servers[0].becomes(Behaviour::Silent);
    let memory: &'static mut Memory = Box::leak(Box::default());
    let policy = (Limits::default(), Ends::default());
    let (balancer, health) = (RoundRobin::starting_at(0), Health::none());
    let (channel, _) = Channel::new(setup.sockets, memory, hedged(6), balancer, policy, health, 7);
    channel.set_servers(setup.servers.iter().map(|server| (server.address, ""))).unwrap();
    let (ends, servers) = (&channel.policy().1, setup.servers.clone());
    setup.world.run(async move {
        channel.call(&GET).await.unwrap();
        assert_eq!(
            (ends.calls.get(), ends.attempts.get(), ends.cancelled.get()),
            (1, 2, 0),
            "one call, and its backup"
        );
        servers.iter().for_each(|server| server.becomes(Behaviour::Silent));
        let cut = embassy_time::with_timeout(embassy_time::Duration::from_millis(5), channel.call(&GET)).await;
        assert!(cut.is_err());
        assert_eq!((ends.calls.get(), ends.attempts.get(), ends.cancelled.get()), (2, 3, 1), "a dropped call too");
        drop(channel.call(&GET));
        assert_eq!(ends.calls.get(), 2, "but not a call that was never polled");
    });
}

#[test]
fn l2_the_deadline_ends_a_call_and_frees_its_buffers_and_sockets() {
    let setup = Setup::new(hedged(6));
    setup.servers.iter().for_each(|server| server.becomes(Behaviour::Silent));
    let (channel, sockets) = (setup.channel, setup.sockets);
    setup.world.run(async move {
        let options = CallOptions { timeout: Some(Duration::from_millis(50).into()), ..CallOptions::new() };
        let error = channel.call_with(&GET, &options).await.unwrap_err();
        assert_eq!((error.end(), now_ms()), (Some(End::Deadline), 50));
        assert_eq!((channel.free_buffers(), sockets.free()), ALL_FREE);
    });
}

#[test]
fn r1_a_refused_connection_is_retried_even_if_the_request_may_not_be_sent_twice() {
    let setup = Setup::new(hedged(6));
    setup.servers[0].becomes(Behaviour::Closed);
    let channel = setup.channel;
    setup.world.run(async move {
        let reply = channel.call(&Request::post("/", b"once")).await.unwrap();
        assert_eq!(reply.body(), b"8002");
        let refused = Code::from(ErrorKind::Refused);
        assert_eq!(codes(reply.report()), [refused, Code::NONE]);
        assert_eq!(reply.report().not_hedged(), Some(NotHedged::NotIdempotent));
    });
}

#[test]
fn r1_a_connection_that_breaks_is_retried_unless_the_request_may_not_be_sent_twice() {
    let setup = Setup::new(ChannelOptions::brpc());
    let breaks = Behaviour::Answer { bytes: b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".to_vec(), work_ms: 0 };
    setup.servers[0].becomes(breaks);
    let channel = setup.channel;
    setup.world.run(async move {
        let reply = channel.call(&GET).await.unwrap();
        assert_eq!(codes(reply.report()), [ErrorKind::Broken.into(), Code::NONE]);
        let error = loop {
            if let Err(error) = channel.call(&Request::post("/", b"once")).await {
                break error;
            }
        };
        assert_eq!(error.last().unwrap().as_ref().unwrap_err(), &Error::Closed);
        assert_eq!(error.end(), Some(End::Failed));
    });
}

#[test]
fn garbage_and_a_response_larger_than_the_buffer_are_errors_that_say_so() {
    let setup = Setup::new(ChannelOptions::brpc());
    setup.servers[0].becomes(Behaviour::Answer { bytes: b"SSH-2.0-nonsense\r\n".to_vec(), work_ms: 0 });
    setup.servers[1].becomes(Behaviour::answers(200, "", &"x".repeat(BYTES)));
    let (channel, sockets) = (setup.channel, setup.sockets);
    setup.world.run(async move {
        let garbage = channel.call(&GET).await.unwrap_err();
        assert!(matches!(garbage.last(), Some(Err(Error::Protocol(_)))), "{garbage}");
        assert_eq!(garbage.to_string(), "failed after 4 ms: attempt 0 at server 0.0: response: malformed head");
        let large = channel.call(&GET).await.unwrap_err();
        assert_eq!(large.last().unwrap().as_ref().unwrap_err(), &Error::TooLarge { capacity: BYTES });
        assert_eq!(codes(large.report().unwrap()), [ErrorKind::TooLarge.into()]);
        let target = format!("/{}", "x".repeat(BYTES));
        let bad = channel.call(&Request::get(&target)).await.unwrap_err();
        assert!(matches!(bad.last(), Some(Err(Error::BadRequest(_)))), "{bad}");
        assert_eq!(bad.end(), Some(End::Fatal));
        assert_eq!((channel.free_buffers(), sockets.free()), ALL_FREE);
    });
}

#[test]
fn r1_a_failed_response_is_in_the_error_and_may_push_back() {
    let setup = Setup::new(hedged(6));
    setup.servers[0].becomes(Behaviour::answers(503, "retry-after: 1\r\n", "later"));
    let channel = setup.channel;
    setup.world.run(async move {
        let error = channel.call(&GET).await.unwrap_err();
        let response = error.last().unwrap().as_ref().unwrap();
        assert_eq!((response.status(), response.body()), (503, &b"later"[..]));
        assert_eq!(codes(error.report().unwrap()), [Code(503)]);
        assert_eq!(channel.free_buffers(), SLOTS - 1);
    });
}

#[test]
fn r2_an_own_retry_policy_retries_responses() {
    let setup = Setup::new(ChannelOptions::brpc());
    setup.servers[0].becomes(Behaviour::answers(429, "", "elsewhere"));
    let channel = setup.channel;
    setup.world.run(async move {
        let policy = |result: Result<&Response<'_, Memory>, &Error>| match result {
            Ok(response) if response.status() == 429 => Judgement::new(Verdict::Retry, Code(429)),
            Ok(_) => Verdict::Accept.into(),
            Err(_) => Verdict::Wait.into(),
        };
        let reply = channel.call_judged(&GET, &CallOptions::new(), &policy, NoCancel).await.unwrap();
        assert_eq!((reply.body(), codes(reply.report())), (&b"8002"[..], vec![Code(429), Code::NONE]));
    });
}

#[test]
fn calls_that_find_no_buffer_wait_for_one_in_their_order() {
    let setup = Setup::new(ChannelOptions::brpc());
    for server in &setup.servers {
        server.becomes(Behaviour::Answer { bytes: b"HTTP/1.1 204 X\r\n\r\n".to_vec(), work_ms: 30 });
    }
    let (channel, sockets) = (setup.channel, setup.sockets);
    let ended = Setup::signal::<Vec<(usize, u64)>>();
    let order = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    for call in 0..8 {
        let (order, ended) = (order.clone(), ended.clone());
        setup.world.spawn(async move {
            channel.call(&GET).await.unwrap();
            order.borrow_mut().push((call, now_ms()));
            if order.borrow().len() == 8 {
                ended.signal(order.take());
            }
        });
    }
    let ended = setup.world.run(async move { ended.wait().await });
    for (call, at) in ended {
        assert_eq!(at, if call < SLOTS { 34 } else { 68 }, "call {call}");
    }
    assert_eq!((channel.free_buffers(), sockets.free()), ALL_FREE);
}

#[test]
fn a_call_that_gets_no_buffer_in_time_blames_no_server() {
    let setup = Setup::new(ChannelOptions { max_retry: 0, ..ChannelOptions::brpc() });
    let (channel, mut checks) = (setup.channel, setup.checks);
    setup.world.spawn(async move { match checks.run().await {} });
    setup.world.run(async move {
        let kept =
            [channel.call(&GET).await, channel.call(&GET).await, channel.call(&GET).await, channel.call(&GET).await];
        assert_eq!(channel.free_buffers(), 0);
        let error = channel.call(&GET).await.unwrap_err();
        assert_eq!(error.last().unwrap().as_ref().unwrap_err(), &Error::NoBuffer);
        let (report, took) = (error.report().unwrap(), Duration::from_millis(200));
        assert_eq!((codes(report), report.elapsed()), (vec![ErrorKind::Local.into()], took));
        assert!(channel.usable(report.attempts()[0].server()));
        drop(kept);
        assert!(channel.call(&GET).await.is_ok());
    });
}

#[test]
fn l3_more_backups_than_can_be_in_flight_are_refused_before_anything_starts() {
    let setup = Setup::new(hedged(6));
    let channel = setup.channel;
    setup.world.run(async move {
        let options = CallOptions { max_backups: Some(2), ..CallOptions::new() };
        let error = channel.call_with(&GET, &options).await.unwrap_err();
        let expected = ConfigError::TooManyInFlight { max_backups: 2, slots: 2 };
        assert!(matches!(error, CallError::Config(error) if error == expected), "{error}");
    });
    assert!(setup.servers.iter().all(|server| server.requests().is_empty()));
}

#[test]
fn l20_the_list_changes_while_calls_run() {
    let setup = Setup::over(hedged(6), WIRE, Stall::USUAL);
    let (channel, servers) = (setup.channel, setup.servers.clone());
    let stop = Setup::signal::<()>();
    let stopped = stop.clone();
    setup.world.spawn(async move {
        for round in 0_usize.. {
            Timer::after_millis(3).await;
            let out = &servers[round % 3];
            let rest = servers.iter().filter(|server| server.address != out.address);
            assert_eq!(channel.set_servers(rest.map(|server| (server.address, ""))).unwrap().refused, 0);
            if stop.signaled() {
                break;
            }
        }
    });
    let addresses: Vec<_> = setup.servers.iter().map(|server| server.address).collect();
    setup.world.run(async move {
        for call in 0..300 {
            let reply = channel.call(&GET).await;
            assert!(reply.is_ok(), "call {call}: {reply:?}");
        }
        stopped.signal(());
        channel.set_servers(addresses.iter().map(|address| (*address, ""))).unwrap();
        Timer::after_millis(5).await;
        let idle = channel.with_servers(|servers| {
            let cluster = servers.cluster();
            cluster.iter().all(|(id, _)| cluster.in_flight(id) == 0)
        });
        assert!(idle, "no attempt is still counted");
        channel.set_servers([]).unwrap();
        assert_eq!(channel.call(&GET).await.unwrap_err().end(), Some(End::NoServer));
    });
    assert_eq!(setup.free(), ALL_FREE);
}

#[test]
fn over_a_wire_that_loses_frames_every_call_ends_once_and_nothing_leaks() {
    let run = || {
        let wire = Wire { lost_per_mille: 30, ..WIRE };
        let setup = Setup::over(hedged(8), wire, Stall::USUAL);
        let channel = setup.channel;
        let log = setup.world.run(async move {
            let mut log = Vec::new();
            for _ in 0..300 {
                let result = channel.call(&GET).await;
                log.push(line_of(report(&result)));
            }
            log
        });
        assert_eq!(setup.free(), ALL_FREE);
        log
    };
    let log = run();
    let accepted = log.iter().filter(|line| line.contains("Some(Accepted)")).count();
    assert!(accepted >= 270, "{accepted} of 300");
    assert!(log.iter().any(|line| line.contains(&format!("{:?}", Kind::Backup))));
    assert_eq!(run(), log, "the losses depend on the seed only");
}

/// The memory of a channel with `rr` and without limits, with buffers of 0 bytes.
type Bare<const SERVERS: usize, const SLOTS: usize> =
    Resources<Choice<RoundRobin, NoPolicy, common::Mutex>, SERVERS, SLOTS, 0>;

#[test]
fn memory_is_at_most_twice_what_the_docs_say_for_32_bits() {
    let empty = size_of::<Bare<0, 0>>();
    let server = (size_of::<Bare<8, 0>>() - empty).div_ceil(8);
    let slot = (size_of::<Bare<0, 4>>() - empty).div_ceil(4);
    let setup = Setup::new(hedged(6));
    let call = size_of_val(&setup.channel.call(&GET));
    let reply = size_of::<Reply<'_, Memory>>();
    for (what, bytes, documented) in [
        ("channel", empty, 312),
        ("server", server, 62),
        ("buffer", slot, 28),
        ("call", call, 648),
        ("reply", reply, 128),
    ] {
        println!("{what}: {bytes} bytes, {documented} on 32 bits");
        assert!(bytes <= 2 * documented, "{what}: {bytes}");
    }
}
