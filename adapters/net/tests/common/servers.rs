//! Lists of servers: changed under calls, and brought by calls.

use hedge_net::{CallOptions, Idempotency, Runtime};

use super::server::{TestServer, ok};
use super::signal::Signal;
use super::{assert_settled, both, get, list, post, refused, server};

/// A server that answers once the signal was raised.
fn gated(gate: &Signal) -> TestServer {
    let gate = gate.clone();
    TestServer::answering(move |_| {
        gate.block_until(1);
        ok("late")
    })
}

pub(crate) async fn l20_a_call_at_a_removed_server_goes_on<R: Runtime>(runtime: R) {
    let gate = Signal::new();
    let (old, new) = (gated(&gate), TestServer::answering(|_| ok("new")));
    let channel = list(&runtime, &[old.address]).build().unwrap();
    let change = async {
        old.requests.reached(1).await;
        assert_eq!(channel.in_flight(&server(old.address)), 1);
        assert_eq!(channel.set_servers(vec![server(new.address), server(new.address)]), 1);
        assert_eq!(channel.servers(), [server(new.address)]);
        assert_eq!(channel.in_flight(&server(old.address)), 0);
        let reply = channel.call(get("/")).await.unwrap();
        assert_eq!(*reply.server(), server(new.address));
        // Back again, it is another server: what comes of the call is not its own.
        channel.set_servers(vec![server(new.address), server(old.address)]);
        gate.raise();
    };
    let (reply, ()) = both(channel.call(get("/")), change).await;
    let reply = reply.unwrap();
    assert_eq!(*reply.server(), server(old.address));
    assert_eq!(reply.body().bytes().unwrap(), "late");
    assert_settled(&channel);
}

pub(crate) async fn s8_a_call_names_its_own_servers<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|_| ok("mine"));
    let channel = list(&runtime, &[refused()]).build().unwrap();
    let servers = vec![server(refused()), server(refused()), "127.0.0.1:0 x".parse().unwrap(), server(there.address)];
    let options = CallOptions { servers: Some(servers.clone()), ..CallOptions::new() };
    for _ in 0..3 {
        let reply = channel.call_with(get("/"), &options).await.unwrap();
        let trace = reply.trace();
        let went: Vec<_> = trace.attempts().iter().map(|attempt| attempt.server()).collect();
        assert_eq!(went.len(), 4, "in the order given");
        assert_eq!(*reply.server(), servers[3]);
    }
    let nobody = CallOptions { servers: Some(Vec::new()), ..CallOptions::new() };
    assert_eq!(channel.call_with(get("/"), &nobody).await.unwrap_err().kind(), "no_server");
    assert_settled(&channel);
}

pub(crate) async fn s8_named_servers_of_the_list_share_its_counts<R: Runtime>(runtime: R) {
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

pub(crate) async fn l15_a_call_may_say_that_it_is_idempotent<R: Runtime>(runtime: R) {
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
