//! Servers from DNS, whose records change while calls run: a rolling restart, as an orchestrator does it.
//! Run it: cargo run --release --example naming_dns
//!
//! The name server is a small one of this program's own, so the example needs no network. A program that uses the name
//! servers of its system needs no `schemes`: it writes the URL alone. `dns://host:port` is followed in the same way as
//! `srv://name`. It needs no SRV records, but all servers must have the same port.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::{Duration, Instant};

use hedge_examples::name_server::NameServer;
use hedge_examples::replicas::{Answer, Replica};
use hedge_net::hedge_naming::Sources;
use hedge_tokio::Tokio;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let start = || Replica::start(|| Answer::ok(Duration::from_millis(1)));
    let (one, two, three) = (start()?, start()?, start()?);
    let name_server = NameServer::start([one.address(), two.address()])?;

    // The first call looks the name up. It is looked up again when the time to live of its records is over, which is 1
    // s here. No call waits for that.
    let sources = Sources::new(Tokio::new()).name_servers([name_server.address()]);
    let channel = hedge_tokio::builder("srv://_users._tcp.example.test")
        .schemes(sources.schemes())
        .load_balancer("rr")
        .build()?;
    let mut calls: BTreeMap<String, u32> = BTreeMap::new();
    for (step, servers) in [("one, two", [&one, &two]), ("two, three", [&two, &three]), ("three, one", [&three, &one])]
    {
        name_server.set(servers.map(Replica::address));
        let mut wanted = servers.map(|replica| replica.address().to_string());
        wanted.sort();
        let begin = Instant::now();
        // Calls go on while the records change. None of them fails.
        while begin.elapsed() < Duration::from_secs(10) {
            let reply = channel.get("/").await?;
            *calls.entry(reply.answered_by().to_string()).or_default() += 1;
            // Only the addresses are compared. Each server also has a tag, with the weight and the priority of its
            // record.
            let mut listed: Vec<_> = channel.servers().iter().map(|server| server.address.to_string()).collect();
            listed.sort();
            if listed == wanted {
                println!("{step}: taken over after {:.1} s", begin.elapsed().as_secs_f64());
                break;
            }
        }
    }
    println!("{} calls at {} servers, none failed", calls.values().sum::<u32>(), calls.len());
    Ok(())
}
