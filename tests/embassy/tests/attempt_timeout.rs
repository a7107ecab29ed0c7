//! Handles that limit each attempt (L21).

mod common;

use common::{ALL_FREE, SLOTS, Setup, WIRE, codes, hedged};
use embassy_time::Timer;
use hedge_core::balance::RoundRobin;
use hedge_core::bounded::Bounded;
use hedge_core::health::{ConsecutiveFailures, FailureOptions, Health, IsolationLimit};
use hedge_core::outcome::{Code, End, ErrorKind};
use hedge_core::policy::{ChannelOptions, ConfigError, NoPolicy};
use hedge_core::time::{Duration, Timeout};
use hedge_embassy::{Channel, Choice, Request, Resources, SocketBuffers, Sockets};
use hedge_embassy_tests::{Behaviour, Network, Server, Stall, World, now_ms};

const GET: Request<'_> = Request::get("/");
const LATE: Code = Code(ErrorKind::AttemptTimeout as u16);
const LIMIT: Duration = Duration::from_millis(30);

type Limited = Channel<'static, common::Stack, common::Memory, Timeout>;

#[test]
fn l21_a_hung_server_is_passed_over_within_the_attempt_timeout() {
    let setup = Setup::new(ChannelOptions::brpc());
    setup.servers[0].becomes(Behaviour::Silent);
    let (channel, sockets, server) = (setup.channel, setup.sockets, setup.servers[0].clone());
    setup.world.run(async move {
        let limited: Limited = channel.with_attempt_timeout(LIMIT).unwrap();
        let reply = limited.call(&GET).await.unwrap();
        assert_eq!((reply.body(), now_ms()), (&b"8002"[..], 34), "30 ms, and 4 ms for the other server");
        assert_eq!(codes(reply.report()), [LATE, Code::NONE]);
        assert_eq!(reply.report().attempts()[0].ended(), Some(LIMIT));
        drop(reply);
        assert_eq!((channel.free_buffers(), sockets.free()), ALL_FREE);
        Timer::after_millis(2).await;
        assert_eq!(server.given_up(), 1, "the server learns of it by a reset");
        // Other handles of the same channel are not limited.
        let without = loop {
            let call = channel.call(&GET).await;
            if let Err(error) = call {
                break error;
            }
        };
        assert_eq!(without.end(), Some(End::Deadline));
    });
}

#[test]
fn l21_a_call_that_may_not_be_sent_twice_ends_with_its_attempt() {
    let setup = Setup::new(hedged(6));
    setup.servers[0].becomes(Behaviour::Silent);
    let channel = setup.channel.with_attempt_timeout(LIMIT).unwrap();
    setup.world.run(async move {
        let error = channel.call(&Request::post("/", b"once")).await.unwrap_err();
        assert_eq!((error.end(), now_ms()), (Some(End::Failed), 30));
        assert_eq!(error.to_string(), "failed after 30 ms: attempt 0 at server 0.0: attempt timeout");
        assert!(error.last().is_none());
    });
    assert_eq!(setup.free(), ALL_FREE);
}

#[test]
fn l21_the_attempt_counts_as_the_servers_failure() {
    type Memory = Resources<Choice<RoundRobin, NoPolicy, common::Mutex, ConsecutiveFailures>, 4, 4, 512>;
    let world = World::new();
    let network = Network::new(&world, WIRE);
    let buffers: &'static mut SocketBuffers<4, 512, 512> = Box::leak(Box::default());
    let sockets: &'static _ = Box::leak(Box::new(Sockets::new(network.near, buffers)));
    let memory: &'static mut Memory = Box::leak(Box::default());
    let breaker = ConsecutiveFailures::new(FailureOptions { failures: Bounded::of::<2>(), ..FailureOptions::DEFAULT });
    let health = Health::new(breaker, IsolationLimit::DEFAULT);
    let (options, balancer) = (ChannelOptions::brpc(), RoundRobin::starting_at(0));
    let (channel, _) = Channel::new(sockets, memory, options, balancer, NoPolicy, health, 7);
    let channel = channel.with_attempt_timeout(LIMIT).unwrap();
    let servers = [8001, 8002, 8003].map(|port| Server::new(&world, network.far, port, Stall::NONE, 4));
    channel.set_servers(servers.iter().map(|server| (server.address, ""))).unwrap();
    servers[1].becomes(Behaviour::Silent);
    let late = world.run(async move {
        let mut late = 0;
        for _ in 0..12 {
            let reply = channel.call(&GET).await.unwrap();
            late += codes(reply.report()).iter().filter(|code| **code == LATE).count();
        }
        late
    });
    assert_eq!(late, 2, "the breaker isolates the server after two failures");
}

#[test]
fn l21_s7_an_attempt_that_gets_no_buffer_in_its_time_blames_no_server() {
    let setup = Setup::new(ChannelOptions { max_retry: 0, ..ChannelOptions::brpc() });
    let channel = setup.channel.with_attempt_timeout(LIMIT).unwrap();
    setup.world.run(async move {
        let mut kept = Vec::new();
        for _ in 0..SLOTS {
            kept.push(channel.call(&GET).await.unwrap());
        }
        let error = channel.call(&GET).await.unwrap_err();
        assert_eq!(codes(error.report().unwrap()), [ErrorKind::Local.into()]);
        assert_eq!(error.report().unwrap().elapsed(), LIMIT, "and not the connect timeout of 200 ms");
    });
}

#[test]
fn a_limit_of_0_is_an_error() {
    let setup = Setup::new(ChannelOptions::brpc());
    let error = setup.channel.with_attempt_timeout(Duration::ZERO).unwrap_err();
    assert_eq!(error, ConfigError::NoTime { field: "attempt_timeout" });
}

#[test]
fn a_handle_without_a_limit_takes_no_memory_for_it() {
    let setup = Setup::new(ChannelOptions::brpc());
    let limited = setup.channel.with_attempt_timeout(LIMIT).unwrap();
    assert_eq!(size_of_val(&setup.channel), 3 * size_of::<usize>());
    let (without, with) = (size_of_val(&setup.channel.call(&GET)), size_of_val(&limited.call(&GET)));
    println!("a call: {without} bytes without a limit, {with} with one");
    assert!(without < with);
}
