//! Calls whose results go to callbacks: on the pool, on the thread that drives the call, one that makes the next call, one
//! that is cancelled, and one that fails.
//! Run it: cargo run --release --example callback

use std::sync::mpsc;
use std::time::Duration;

use hedge_examples::replicas::{self, Answer, Replica};
use hedge_smol::blocking::{self, get};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let answer = || Answer::ok(Duration::from_millis(1));
    let replicas = [Replica::start(answer)?, Replica::start(answer)?];
    let channel = blocking::ways(blocking::builder(replicas::servers(&replicas)).load_balancer("rr").build()?);

    // Four calls at once. Their callbacks run on a pool of four threads, so they may block.
    let (sender, results) = mpsc::channel();
    for number in 0..4 {
        let sender = sender.clone();
        channel.call(get("/")?).callback(move |result| {
            let status = result.map(|reply| reply.status()).map_err(|error| error.to_string());
            // This fails only if the main thread has gone.
            let _ = sender.send((number, status));
        });
    }
    drop(sender);
    let mut results: Vec<_> = results.iter().collect();
    results.sort_by_key(|(number, _)| *number);
    for (number, status) in results {
        println!("on the pool: call {number}: {}", status?);
    }

    // An inline callback saves the wake of a thread. It must not block.
    let call = channel.call(get("/")?).callback_inline(|result| match result {
        Ok(reply) => println!("inline: {} after {:?} attempts", reply.status(), reply.report().attempts().len()),
        Err(error) => println!("inline: {error}"),
    });
    call.join()?;

    // A callback may make the next call and wait for it. `join` returns after the callback has returned.
    let next = channel.clone();
    let request = get("/second")?;
    let chain = channel.call(get("/first")?).callback(move |first| match first {
        Ok(_) => match next.call(request).wait() {
            Ok(second) => println!("the second call: {}", second.status()),
            Err(error) => println!("the second call: {error}"),
        },
        Err(error) => println!("the first call: {error}"),
    });
    println!("the chain: {:?}", chain.join()?);

    // A callback runs exactly once, also if its call is cancelled, and if its call fails at once.
    let call = channel.call(get("/")?);
    call.handle().cancel();
    call.callback(|result| println!("cancelled: {}", result.is_err())).join()?;
    let nobody = blocking::ways(blocking::builder("127.0.0.1:1").max_retry(0).build()?);
    let failed = nobody.call(get("/")?).callback(|result| {
        if let Err(error) = result {
            println!("failed: {error}");
        }
    });
    println!("call {}: {:?}", failed.id(), failed.join()?);
    Ok(())
}
