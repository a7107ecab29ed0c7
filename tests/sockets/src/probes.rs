//! Servers that are asked how busy they are, for the balancer `prequal`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use hedge_net::{Address, ProbeAnswer, Runtime};

use super::server::{TestServer, ok};
use super::signal::Signal;
use super::{assert_settled, get, list, server};

const CALLS: usize = 300;

fn answering() -> [TestServer; 4] {
    [(); 4].map(|()| TestServer::answering(|_| ok("")))
}

pub async fn prequal_sends_calls_where_probes_find_room<R: Runtime>(runtime: R) {
    let servers = answering();
    let quick: Address = servers[2].address.into();
    let probed = Signal::new();
    let asked = probed.clone();
    let channel = list(&runtime, &servers.each_ref().map(|server| server.address))
        .load_balancer("prequal")
        .probe_with(move |address| {
            let (in_flight, latency) = if address == quick { (1, 1) } else { (9, 400) };
            let answer = ProbeAnswer { in_flight, latency: hedge_core::time::Duration::from_millis(latency) };
            let asked = asked.clone();
            async move {
                asked.raise();
                Some(answer)
            }
        })
        .build()
        .unwrap();
    let mut there = 0;
    for number in 1..=CALLS {
        let reply = channel.call(get("/")).await.unwrap();
        there += usize::from(*reply.server().unwrap() == server(servers[2].address));
        // Three of four a call; their answers are for the calls to come.
        probed.reached(number * 3).await;
    }
    // By chance it would be a quarter; whenever its probe is the oldest it may be removed.
    assert!(there > CALLS * 2 / 5, "{there} of {CALLS}");
    assert_settled(&channel);
}

pub async fn no_other_balancer_asks_for_probes<R: Runtime>(runtime: R) {
    let servers = answering();
    let asked = Arc::new(AtomicUsize::new(0));
    for balancer in ["rr", "p2c", "la"] {
        let asked = Arc::clone(&asked);
        let channel = list(&runtime, &servers.each_ref().map(|server| server.address))
            .load_balancer(balancer)
            .probe_with(move |_| {
                asked.fetch_add(1, SeqCst);
                async { None }
            })
            .build()
            .unwrap();
        for _ in 0..5 {
            channel.call(get("/")).await.unwrap();
        }
    }
    assert_eq!(asked.load(SeqCst), 0);
}
