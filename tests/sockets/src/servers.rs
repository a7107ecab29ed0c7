//! Lists of servers: changed under calls, and brought by calls.

use hedge_net::{CallOptions, Channel, Idempotency, RefusedServer, Runtime, Server, WeightError, hash};

use super::server::{TestServer, ok};
use super::signal::Signal;
use super::{PATIENCE, assert_settled, both, get, list, post, refused, server};

/// A server that answers once the signal was raised.
fn gated(gate: &Signal) -> TestServer {
    let gate = gate.clone();
    TestServer::answering(move |_| {
        gate.block_until(1);
        ok("late")
    })
}

pub async fn l20_a_call_at_a_removed_server_goes_on<R: Runtime>(runtime: R) {
    let gate = Signal::new();
    let (old, new) = (gated(&gate), TestServer::answering(|_| ok("new")));
    let channel = list(&runtime, &[old.address]).build().unwrap();
    let change = async {
        old.requests.reached(1).await;
        assert_eq!(channel.in_flight(&server(old.address)), 1);
        let update = channel.set_servers(vec![server(new.address), server(new.address)]).unwrap();
        assert_eq!((update.servers, update.inserted, update.removed), (1, 1, 1));
        assert_eq!(channel.servers(), [server(new.address)]);
        assert_eq!(channel.in_flight(&server(old.address)), 0);
        let reply = channel.call(get("/")).await.unwrap();
        assert_eq!(*reply.server().unwrap(), server(new.address));
        // Back again, it is another server: what comes of the call is not its own.
        channel.set_servers(vec![server(new.address), server(old.address)]).unwrap();
        gate.raise();
    };
    let (reply, ()) = both(channel.call(get("/")), change).await;
    let reply = reply.unwrap();
    assert_eq!(*reply.server().unwrap(), server(old.address));
    assert_eq!(reply.body().bytes().unwrap(), "late");
    assert_settled(&channel);
}

pub async fn s8_a_call_names_its_own_servers<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|_| ok("mine"));
    let channel = list(&runtime, &[refused()]).build().unwrap();
    let servers = vec![server(refused()), server(refused()), "127.0.0.1:0 x".parse().unwrap(), server(there.address)];
    let options = CallOptions { servers: Some(servers.clone()), ..CallOptions::new() };
    for _ in 0..3 {
        let reply = channel.call_with(get("/"), &options).await.unwrap();
        let trace = reply.trace();
        let went: Vec<_> = trace.attempts().iter().map(|attempt| attempt.server()).collect();
        assert_eq!(went.len(), 4, "in the order given");
        assert_eq!(*reply.server().unwrap(), servers[3]);
    }
    let nobody = CallOptions { servers: Some(Vec::new()), ..CallOptions::new() };
    assert_eq!(channel.call_with(get("/"), &nobody).await.unwrap_err().kind(), "no_server");
    assert_settled(&channel);
}

pub async fn s8_named_servers_of_the_list_share_its_counts<R: Runtime>(runtime: R) {
    let gate = Signal::new();
    let there = gated(&gate);
    let channel = list(&runtime, &[refused(), there.address]).build().unwrap();
    let options = CallOptions { servers: Some(vec![server(there.address)]), ..CallOptions::new() };
    let look = async {
        there.requests.reached(1).await;
        assert_eq!(channel.in_flight(&server(there.address)), 1);
        gate.raise();
    };
    let (reply, ()) = both(channel.call_with(get("/"), &options), look).await;
    assert_eq!(reply.unwrap().report().attempts().len(), 1);
    assert_settled(&channel);
    channel.set_usable(&server(there.address), false);
    assert_eq!(channel.call_with(get("/"), &options).await.unwrap_err().kind(), "all_down");
}

pub async fn l15_a_call_may_say_that_it_is_idempotent<R: Runtime>(runtime: R) {
    let there = TestServer::start(|connection| {
        while let Some(seen) = connection.request() {
            if seen.number == 0 {
                return;
            }
            connection.send(&ok("twice"));
        }
    });
    let channel = list(&runtime, &[there.address]).build().unwrap();
    let options = CallOptions { idempotency: Idempotency::Idempotent, ..CallOptions::new() };
    let reply = channel.call_with(post("/"), &options).await.unwrap();
    assert_eq!(reply.report().attempts().len(), 2);
    assert_settled(&channel);
}

pub async fn n3_a_filter_keeps_servers_out<R: Runtime>(runtime: R) {
    let (old, new) = (TestServer::answering(|_| ok("old")), TestServer::answering(|_| ok("new")));
    let canary = Server::new(new.address, "canary");
    let channel = Channel::builder(runtime, format!("list://{},{canary}", old.address))
        .load_balancer("rr")
        .timeout(PATIENCE)
        .connect_timeout(PATIENCE)
        .filter(|server| &*server.tag != "canary")
        .build()
        .unwrap();
    assert_eq!(channel.servers(), [server(old.address)]);
    let update = channel.set_servers(vec![canary.clone(), server(new.address)]).unwrap();
    assert_eq!((update.servers, update.inserted, update.removed), (1, 1, 1));
    assert_eq!(update.refused, [(canary, RefusedServer::FilteredOut)]);
    assert_eq!(channel.call(get("/")).await.unwrap().body().bytes().unwrap(), "new");
}

pub async fn s2_a_new_list_says_whose_weights_are_none<R: Runtime>(runtime: R) {
    let (heavy, light) = (TestServer::answering(|_| ok("")), TestServer::answering(|_| ok("")));
    let [heavy_one, light_one] = [Server::new(heavy.address, "3"), Server::new(light.address, "1")];
    let builder = Channel::builder(runtime, format!("list://{heavy_one}")).load_balancer("wrr");
    let channel = builder.timeout(PATIENCE).connect_timeout(PATIENCE).build().unwrap();
    let tagless = server(refused());
    let update = channel.set_servers(vec![heavy_one, tagless.clone(), light_one]).unwrap();
    assert_eq!((update.servers, update.inserted, update.removed), (2, 1, 0));
    assert_eq!(update.refused, [(tagless, RefusedServer::Weight(WeightError::Missing))]);
    for _ in 0..40 {
        channel.call(get("/")).await.unwrap();
    }
    assert_eq!([heavy.requests.count(), light.requests.count()], [30, 10]);
}

pub async fn s5_a_call_without_a_request_code_is_not_sent<R: Runtime>(runtime: R) {
    let there = [TestServer::answering(|_| ok("")), TestServer::answering(|_| ok(""))];
    let addresses = [there[0].address, there[1].address];
    let channel = list(&runtime, &addresses).load_balancer("c_murmurhash").build().unwrap();
    let error = channel.call(get("/")).await.unwrap_err();
    assert_eq!(error.to_string(), "config: request_code: missing; the load balancer hashes it");
    assert_eq!((error.kind(), there[0].accepted.count() + there[1].accepted.count()), ("config", 0));
    let coded = CallOptions { request_code: Some(hash::murmur3_32(b"user-7")), ..CallOptions::new() };
    let first = channel.call_with(get("/"), &coded).await.unwrap().server().unwrap().clone();
    for _ in 0..5 {
        assert_eq!(*channel.call_with(get("/"), &coded).await.unwrap().server().unwrap(), first);
    }
    channel.set_usable(&first, false);
    assert_ne!(
        *channel.call_with(get("/"), &coded).await.unwrap().server().unwrap(),
        first,
        "the next one on the ring"
    );
    let named = CallOptions { servers: Some(vec![server(addresses[0])]), ..CallOptions::new() };
    channel.set_usable(&first, true);
    assert_eq!(
        *channel.call_with(get("/"), &named).await.unwrap().server().unwrap(),
        server(addresses[0]),
        "it needs none (S8)"
    );
}

pub async fn s8_a_server_of_the_calls_own_is_never_isolated<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|_| ok(""));
    let channel = list(&runtime, &[there.address]).build().unwrap();
    let own = CallOptions { servers: Some(vec![server(refused())]), ..CallOptions::new() };
    for _ in 0..3 {
        assert_eq!(channel.call_with(get("/"), &own).await.unwrap_err().report().attempts().len(), 4);
    }
    assert_eq!(channel.call(get("/")).await.unwrap().report().attempts().len(), 1);
}
