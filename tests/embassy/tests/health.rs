//! Servers that cannot be connected to: isolated, checked, back (H1).

mod common;

use common::{ALL_FREE, Setup, WIRE, codes};
use embassy_futures::join::join;
use embassy_time::Timer;
use hedge_core::balance::RoundRobin;
use hedge_core::health::{CheckOptions, ConsecutiveFailures, FailureOptions, Health, IsolationLimit};
use hedge_core::outcome::{Code, End, ErrorKind};
use hedge_core::policy::{CallOptions, ChannelOptions, NoPolicy};
use hedge_core::time::Duration;
use hedge_embassy::{Channel, Choice, Request, Resources, SocketBuffers, Sockets};
use hedge_embassy_tests::{Behaviour, Network, Server, Stall, World, now_ms};

const GET: Request<'_> = Request::get("/");
const REFUSED: Code = Code(ErrorKind::Refused as u16);

#[test]
fn h1_a_server_that_refuses_is_isolated_checked_and_back() {
    let Setup { world, line, mut checks, sockets, servers, .. } = Setup::new(ChannelOptions::brpc());
    world.spawn(async move { match checks.run().await {} });
    servers[0].becomes(Behaviour::Closed);
    world.run(async move {
        let report = line.call(&GET).await.unwrap().report().clone();
        let closed = report.attempts()[0].server();
        assert_eq!(codes(&report), [REFUSED, Code::NONE]);
        assert!(!line.usable(closed));
        for _ in 0..6 {
            let reply = line.call(&GET).await.unwrap();
            assert_eq!(reply.report().attempts().len(), 1, "nobody asks it any more");
        }
        Timer::after_secs(8).await;
        assert!(!line.usable(closed), "checked several times by now, and still closed");
        servers[0].becomes(Behaviour::answers(200, "", "back"));
        let opened = now_ms();
        while !line.usable(closed) {
            Timer::after_millis(1).await;
        }
        let waited = now_ms() - opened;
        assert!(waited <= 3_602, "an interval of 3 s, times 0.8 to 1.2: {waited} ms");
        let mut bodies = Vec::new();
        for _ in 0..3 {
            bodies.push(line.call(&GET).await.unwrap().body().to_vec());
        }
        assert!(bodies.contains(&b"back".to_vec()), "{bodies:?}");
        assert_eq!((line.free_buffers(), sockets.free()), ALL_FREE);
    });
}

#[test]
fn h1_a_server_that_does_not_answer_a_connection_is_isolated_too() {
    // Nobody is at that address at all.
    let Setup { world, line, mut checks, .. } = Setup::new(ChannelOptions::brpc());
    world.spawn(async move { match checks.run().await {} });
    world.run(async move {
        line.set_servers([("10.0.0.77:80".parse().unwrap(), "")]).unwrap();
        let error = line.call(&GET).await.unwrap_err();
        let timeout = Code::from(ErrorKind::ConnectTimeout);
        let report = error.report().unwrap();
        assert_eq!((codes(report), error.end()), (vec![timeout], Some(End::Failed)), "nobody is left to retry at");
        assert!(!line.usable(report.attempts()[0].server()));
        assert_eq!(line.call(&GET).await.unwrap_err().end(), Some(End::AllDown));
        Timer::after_millis(110).await;
        let (one, other) = join(line.call(&GET), line.call(&GET)).await;
        let ends = [one.unwrap_err().end(), other.unwrap_err().end()];
        assert_eq!(ends, [Some(End::Failed), Some(End::AllDown)], "one call in 100 ms tries it all the same (H5)");
    });
}

#[test]
fn h1_a_call_without_time_to_connect_says_nothing_of_the_server() {
    let Setup { world, line, mut checks, .. } =
        Setup::new(ChannelOptions { timeout: Duration::from_millis(100).into(), ..ChannelOptions::brpc() });
    world.spawn(async move { match checks.run().await {} });
    world.run(async move {
        line.set_servers([("10.0.0.77:80".parse().unwrap(), "")]).unwrap();
        let error = line.call(&GET).await.unwrap_err();
        assert_eq!(error.end(), Some(End::Deadline));
        assert!(line.usable(error.report().unwrap().attempts()[0].server()));
    });
}

#[test]
fn h1_a_call_with_a_shorter_connect_timeout_than_the_channels_isolates_nobody() {
    let Setup { world, line, mut checks, .. } = Setup::new(ChannelOptions { max_retry: 0, ..ChannelOptions::brpc() });
    world.spawn(async move { match checks.run().await {} });
    world.run(async move {
        let hasty = CallOptions { connect_timeout: Some(Duration::from_micros(1).into()), ..CallOptions::new() };
        for _ in 0..6 {
            let error = line.call_with(&GET, &hasty).await.unwrap_err();
            assert_eq!(codes(error.report().unwrap()), [ErrorKind::ConnectTimeout.into()]);
            assert!(line.usable(error.report().unwrap().attempts()[0].server()));
        }
        line.call(&GET).await.unwrap();
    });
}

#[test]
fn h5_after_its_own_link_was_down_a_device_does_not_wait_for_checks() {
    let Setup { world, line, mut checks, network, sockets, .. } = Setup::new(ChannelOptions::brpc());
    world.spawn(async move { match checks.run().await {} });
    world.run(async move {
        let ids: Vec<_> = line.with_servers(|servers| servers.cluster().iter().map(|(id, _)| id).collect());
        let usable = move || ids.iter().filter(|id| line.usable(**id)).count();
        line.call(&GET).await.unwrap();
        network.cut(true);
        let cut = now_ms();
        let (mut all_down, mut let_through) = (0, 0);
        while now_ms() < cut + 2_000 {
            let isolated = usable() == 0;
            let (one, other) = join(line.call(&GET), line.call(&GET)).await;
            for end in [one.unwrap_err().end(), other.unwrap_err().end()] {
                let counted = if end == Some(End::AllDown) { &mut all_down } else { &mut let_through };
                *counted += u32::from(isolated);
            }
            Timer::after_millis(10).await;
        }
        assert_eq!(usable(), 0);
        assert!(
            (4..=20).contains(&let_through) && all_down >= let_through,
            "{let_through} let through, {all_down} not"
        );
        network.cut(false);
        let mended = now_ms();
        while line.call(&GET).await.is_err() {
            Timer::after_millis(10).await;
        }
        assert!(now_ms() <= mended + 120, "answered after {} ms", now_ms() - mended);
        while usable() < 3 {
            Timer::after_millis(1).await;
        }
        assert!(now_ms() <= mended + 150, "all are back after {} ms", now_ms() - mended);
        Timer::after_millis(10).await;
        assert_eq!((line.free_buffers(), sockets.free()), ALL_FREE);
    });
}

#[test]
fn h1_without_a_runner_nobody_is_isolated_and_one_that_stops_lets_everybody_in() {
    let Setup { world, line, checks, servers, .. } = Setup::new(ChannelOptions::brpc());
    servers[0].becomes(Behaviour::Closed);
    world.run(async move {
        let ids: Vec<_> = line.with_servers(|servers| servers.cluster().iter().map(|(id, _)| id).collect());
        for _ in 0..3 {
            line.call(&GET).await.unwrap();
        }
        assert!(line.usable(ids[0]));
        let mut checks = checks;
        {
            let mut run = std::pin::pin!(checks.run());
            assert!(embassy_futures::poll_once(run.as_mut()).is_pending());
            for _ in 0..3 {
                line.call(&GET).await.unwrap();
            }
            assert!(!line.usable(ids[0]));
        }
        assert!(line.usable(ids[0]));
    });
}

#[test]
fn h1_the_applications_check_must_pass_too() {
    let Setup { world, line, checks, servers, .. } = Setup::new(ChannelOptions::brpc());
    let buffer = Box::leak(Box::new([0; 128]));
    let mut checks = checks.with_application_check(Request::get("/health"), buffer);
    let options = CheckOptions { interval: Duration::from_millis(100), ..CheckOptions::DEFAULT };
    checks.set_options(options).unwrap();
    world.spawn(async move { match checks.run().await {} });
    servers[0].becomes(Behaviour::Closed);
    world.run(async move {
        let closed = line.call(&GET).await.unwrap().report().attempts()[0].server();
        servers[0].becomes(Behaviour::answers(503, "", "warming up"));
        Timer::after_secs(1).await;
        assert!(!line.usable(closed), "it takes connections, and is not well");
        let asked = servers[0].requests();
        assert!(asked.len() >= 7 && asked.iter().all(|request| request.starts_with("GET /health ")), "{asked:?}");
        servers[0].becomes(Behaviour::answers(204, "", ""));
        Timer::after_millis(150).await;
        assert!(line.usable(closed));
    });
}

#[test]
fn h1_the_interval_changes_while_it_runs_and_a_server_that_leaves_is_not_checked() {
    let Setup { world, line, mut checks, servers, .. } = Setup::new(ChannelOptions::brpc());
    world.spawn(async move { match checks.run().await {} });
    servers[0].becomes(Behaviour::Closed);
    world.run(async move {
        let closed = line.call(&GET).await.unwrap().report().attempts()[0].server();
        assert!(!line.usable(closed));
        servers[0].becomes(Behaviour::answers(200, "", ""));
        assert!(line.set_check_interval(Duration::from_millis(1)).is_err());
        line.set_check_interval(Duration::from_millis(50)).unwrap();
        Timer::after_millis(70).await;
        assert!(line.usable(closed));
        servers[0].becomes(Behaviour::Closed);
        for _ in 0..3 {
            line.call(&GET).await.unwrap();
        }
        assert!(!line.usable(closed));
        line.remove(closed).unwrap();
        let back = line.insert(servers[0].address, "").unwrap();
        assert!(line.usable(back), "it has come anew");
        Timer::after_millis(200).await;
        assert!(line.usable(back));
    });
}

#[test]
fn h2_a_breaker_isolates_a_server_that_answers_badly() {
    type Memory = Resources<Choice<RoundRobin, NoPolicy, common::Mutex, ConsecutiveFailures>, 4, 4, 512>;
    let world = World::new();
    let network = Network::new(&world, WIRE);
    let buffers: &'static mut SocketBuffers<4, 512, 512> = Box::leak(Box::default());
    let sockets: &'static _ = Box::leak(Box::new(Sockets::new(network.near, buffers)));
    let memory: &'static mut Memory = Box::leak(Box::default());
    let breaker = ConsecutiveFailures::new(FailureOptions { failures: 2, ..FailureOptions::DEFAULT }).unwrap();
    let health = Health::new(breaker, IsolationLimit::DEFAULT).unwrap();
    let (options, balancer) = (ChannelOptions::brpc(), RoundRobin::starting_at(0));
    let (line, _) = Channel::new(sockets, memory, options, balancer, NoPolicy, health, 7).unwrap();
    let servers = [8001, 8002, 8003].map(|port| Server::new(&world, network.far, port, Stall::NONE, 4));
    line.set_servers(servers.iter().map(|server| (server.address, ""))).unwrap();
    servers[1].becomes(Behaviour::answers(500, "", ""));
    let failed = world.run(async move {
        let mut failed = 0;
        for _ in 0..12 {
            failed += u32::from(line.call(&GET).await.is_err());
        }
        failed
    });
    assert_eq!(failed, 2);
}
