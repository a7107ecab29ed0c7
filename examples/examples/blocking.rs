//! Calls from plain threads: one that waits, several that are joined, and one with a callback.
//! Run it: cargo run --release --example blocking

use std::time::Duration;

use hedge_examples::replicas::{self, Answer, Replica};
use hedge_smol::blocking::{self, get, join_all};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let answer = || Answer::ok(Duration::from_millis(1));
    let replicas = [Replica::start(answer)?, Replica::start(answer)?];

    let channel = blocking::ways(blocking::builder(replicas::servers(&replicas)).load_balancer("rr").build()?);
    let reply = channel.call(get("/")?).wait()?;
    println!("waited: {} from {}", reply.status(), reply.answered_by());

    let calls = [channel.call(get("/a")?).start(), channel.call(get("/b")?).start()];
    for reply in join_all(calls) {
        println!("joined: {}", reply?.status());
    }

    // The handle exists before the call starts. Any thread may cancel or join it.
    let call = channel.call(get("/")?);
    let handle = call.handle();
    call.callback(|result| match result {
        Ok(reply) => println!("callback: {}", reply.status()),
        Err(error) => println!("callback: {error}"),
    });
    println!("call {} ended: {:?}", handle.id(), handle.join()?);
    Ok(())
}
