//! Servers that cannot be connected to are isolated and checked, and take calls again (H1).

mod common;

use common::{ALL_FREE, Setup, WIRE, codes};
use embassy_futures::join::join;
use embassy_time::Timer;
use hedge_core::balance::RoundRobin;
use hedge_core::bounded::{Bounded, BoundedSpan};
use hedge_core::health::{CheckOptions, ConsecutiveFailures, FailureOptions, Health, IsolationLimit};
use hedge_core::outcome::{Code, End, ErrorKind};
use hedge_core::policy::{CallOptions, ChannelOptions, NoPolicy};
use hedge_core::time::Duration;
use hedge_embassy::{Channel, Choice, Request, Resources, SocketBuffers, Sockets};
use hedge_embassy_tests::{Behaviour, Network, Server, Stall, World, now_ms};

const GET: Request<'_> = Request::get("/");
const REFUSED: Code = Code(ErrorKind::Refused as u16);

#[test]
fn h1_a_server_that_refuses_is_isolated_and_checked_and_takes_calls_again() {
    let Setup { world, channel, mut checks, sockets, servers, .. } = Setup::new(ChannelOptions::brpc());
    world.spawn(async move { match checks.run().await {} });
    servers[0].becomes(Behaviour::Closed);
    world.run(async move {
        let report = channel.call(&GET).await.unwrap().report().clone();
        let closed = report.attempts()[0].server();
        assert_eq!(codes(&report), [REFUSED, Code::NONE]);
        assert!(!channel.usable(closed));
        for _ in 0..6 {
            let reply = channel.call(&GET).await.unwrap();
            assert_eq!(reply.report().attempts().len(), 1, "no call tries it any more");
        }
        Timer::after_secs(8).await;
        assert!(!channel.usable(closed), "it was checked several times and still refuses");
        servers[0].becomes(Behaviour::answers(200, "", "back"));
        let opened = now_ms();
        while !channel.usable(closed) {
            Timer::after_millis(1).await;
        }
        let waited = now_ms() - opened;
        assert!(waited <= 3_602, "the interval is 3 s, times 0.8 to 1.2: {waited} ms");
        let mut bodies = Vec::new();
        for _ in 0..3 {
            bodies.push(channel.call(&GET).await.unwrap().body().to_vec());
        }
        assert!(bodies.contains(&b"back".to_vec()), "{bodies:?}");
        assert_eq!((channel.free_buffers(), sockets.free()), ALL_FREE);
    });
}

#[test]
fn h1_a_server_that_does_not_answer_a_connection_is_isolated_too() {
    // No host has that address.
    let Setup { world, channel, mut checks, .. } = Setup::new(ChannelOptions::brpc());
    world.spawn(async move { match checks.run().await {} });
    world.run(async move {
        channel.set_servers([("10.0.0.77:80".parse().unwrap(), "")]).unwrap();
        let error = channel.call(&GET).await.unwrap_err();
        let timeout = Code::from(ErrorKind::ConnectTimeout);
        let report = error.report().unwrap();
        assert_eq!((codes(report), error.end()), (vec![timeout], Some(End::Failed)), "no server is left to retry at");
        assert!(!channel.usable(report.attempts()[0].server()));
        assert_eq!(channel.call(&GET).await.unwrap_err().end(), Some(End::AllDown));
        Timer::after_millis(110).await;
        let (one, other) = join(channel.call(&GET), channel.call(&GET)).await;
        let ends = [one.unwrap_err().end(), other.unwrap_err().end()];
        assert_eq!(ends, [Some(End::Failed), Some(End::AllDown)], "one call in 100 ms is let through (H5)");
    });
}

#[test]
fn h1_a_call_without_time_to_connect_isolates_no_server() {
    let Setup { world, channel, mut checks, .. } =
        Setup::new(ChannelOptions { timeout: Duration::from_millis(100).into(), ..ChannelOptions::brpc() });
    world.spawn(async move { match checks.run().await {} });
    world.run(async move {
        channel.set_servers([("10.0.0.77:80".parse().unwrap(), "")]).unwrap();
        let error = channel.call(&GET).await.unwrap_err();
        assert_eq!(error.end(), Some(End::Deadline));
        assert!(channel.usable(error.report().unwrap().attempts()[0].server()));
    });
}

#[test]
fn h1_a_call_with_a_shorter_connect_timeout_than_the_channels_isolates_no_server() {
    let Setup { world, channel, mut checks, .. } =
        Setup::new(ChannelOptions { max_retry: 0, ..ChannelOptions::brpc() });
    world.spawn(async move { match checks.run().await {} });
    world.run(async move {
        let hasty = CallOptions { connect_timeout: Some(Duration::from_micros(1).into()), ..CallOptions::new() };
        for _ in 0..6 {
            let error = channel.call_with(&GET, &hasty).await.unwrap_err();
            assert_eq!(codes(error.report().unwrap()), [ErrorKind::ConnectTimeout.into()]);
            assert!(channel.usable(error.report().unwrap().attempts()[0].server()));
        }
        channel.call(&GET).await.unwrap();
    });
}

#[test]
fn h5_after_its_own_link_was_down_a_device_does_not_wait_for_checks() {
    let Setup { world, channel, mut checks, network, sockets, .. } = Setup::new(ChannelOptions::brpc());
    world.spawn(async move { match checks.run().await {} });
    world.run(async move {
        let ids: Vec<_> = channel.with_servers(|servers| servers.cluster().iter().map(|(id, _)| id).collect());
        let usable = move || ids.iter().filter(|id| channel.usable(**id)).count();
        channel.call(&GET).await.unwrap();
        network.cut(true);
        let cut = now_ms();
        let (mut all_down, mut let_through) = (0, 0);
        while now_ms() < cut + 2_000 {
            let isolated = usable() == 0;
            let (one, other) = join(channel.call(&GET), channel.call(&GET)).await;
            for end in [one.unwrap_err().end(), other.unwrap_err().end()] {
                let counted = if end == Some(End::AllDown) { &mut all_down } else { &mut let_through };
                *counted += u32::from(isolated);
            }
            Timer::after_millis(10).await;
        }
        assert_eq!(usable(), 0);
        assert!(
            (4..=20).contains(&let_through) && all_down >= let_through,
            "{let_through} calls were let through, {all_down} were not"
        );
        network.cut(false);
        let mended = now_ms();
        while channel.call(&GET).await.is_err() {
            Timer::after_millis(10).await;
        }
        assert!(now_ms() <= mended + 120, "a call was answered after {} ms", now_ms() - mended);
        while usable() < 3 {
            Timer::after_millis(1).await;
        }
        assert!(now_ms() <= mended + 150, "all servers take calls after {} ms", now_ms() - mended);
        Timer::after_millis(10).await;
        assert_eq!((channel.free_buffers(), sockets.free()), ALL_FREE);
    });
}

#[test]
fn h1_without_a_runner_no_server_is_isolated_and_one_that_stops_ends_all_isolations() {
    let Setup { world, channel, checks, servers, .. } = Setup::new(ChannelOptions::brpc());
    servers[0].becomes(Behaviour::Closed);
    world.run(async move {
        let ids: Vec<_> = channel.with_servers(|servers| servers.cluster().iter().map(|(id, _)| id).collect());
        for _ in 0..3 {
            channel.call(&GET).await.unwrap();
        }
        assert!(channel.usable(ids[0]));
        let mut checks = checks;
        {
            let mut run = std::pin::pin!(checks.run());
            assert!(embassy_futures::poll_once(run.as_mut()).is_pending());
            for _ in 0..3 {
                channel.call(&GET).await.unwrap();
            }
            assert!(!channel.usable(ids[0]));
        }
        assert!(channel.usable(ids[0]));
    });
}

#[test]
fn h1_the_applications_check_must_succeed_too() {
    let Setup { world, channel, checks, servers, .. } = Setup::new(ChannelOptions::brpc());
    let buffer = Box::leak(Box::new([0; 128]));
    let mut checks = checks.with_application_check(Request::get("/health"), buffer);
    let options = CheckOptions { interval: BoundedSpan::of_millis::<100>(), ..CheckOptions::DEFAULT };
    checks.set_options(options);
    world.spawn(async move { match checks.run().await {} });
    servers[0].becomes(Behaviour::Closed);
    world.run(async move {
        let closed = channel.call(&GET).await.unwrap().report().attempts()[0].server();
        servers[0].becomes(Behaviour::answers(503, "", "warming up"));
        Timer::after_secs(1).await;
        assert!(!channel.usable(closed), "it accepts connections, but does not answer the check with 2xx");
        let asked = servers[0].requests();
        assert!(asked.len() >= 7 && asked.iter().all(|request| request.starts_with("GET /health ")), "{asked:?}");
        servers[0].becomes(Behaviour::answers(204, "", ""));
        Timer::after_millis(150).await;
        assert!(channel.usable(closed));
    });
}

#[test]
fn h1_the_interval_changes_while_it_runs_and_a_server_that_leaves_is_not_checked() {
    let Setup { world, channel, mut checks, servers, .. } = Setup::new(ChannelOptions::brpc());
    world.spawn(async move { match checks.run().await {} });
    servers[0].becomes(Behaviour::Closed);
    world.run(async move {
        let closed = channel.call(&GET).await.unwrap().report().attempts()[0].server();
        assert!(!channel.usable(closed));
        servers[0].becomes(Behaviour::answers(200, "", ""));
        channel.set_check_interval(BoundedSpan::of_millis::<50>());
        Timer::after_millis(70).await;
        assert!(channel.usable(closed));
        servers[0].becomes(Behaviour::Closed);
        for _ in 0..3 {
            channel.call(&GET).await.unwrap();
        }
        assert!(!channel.usable(closed));
        channel.remove(closed).unwrap();
        let back = channel.insert(servers[0].address, "").unwrap();
        assert!(channel.usable(back), "it is a new server");
        Timer::after_millis(200).await;
        assert!(channel.usable(back));
    });
}

#[test]
fn h2_a_breaker_isolates_a_server_whose_answers_fail() {
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
    let servers = [8001, 8002, 8003].map(|port| Server::new(&world, network.far, port, Stall::NONE, 4));
    channel.set_servers(servers.iter().map(|server| (server.address, ""))).unwrap();
    servers[1].becomes(Behaviour::answers(500, "", ""));
    let failed = world.run(async move {
        let mut failed = 0;
        for _ in 0..12 {
            failed += u32::from(channel.call(&GET).await.is_err());
        }
        failed
    });
    assert_eq!(failed, 2);
}
