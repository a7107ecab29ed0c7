//! Tries a channel's hedging: a tenth of the attempts take 200 ms longer, on purpose.
//! Run it: cargo run --release --example fault_injection

use std::time::{Duration, Instant};

use hedge_compose::{FaultOptions, Faults};
use hedge_core::bounded::Ratio;
use hedge_examples::replicas::{self, Answer, Replica};
use hedge_net::http::HttpError;
use hedge_smol::blocking::{self, Threaded, get};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let answer = || Answer::ok(Duration::from_millis(1));
    let replicas = [Replica::start(answer)?, Replica::start(answer)?];
    for backup in [None, Some(Duration::from_millis(10))] {
        let runtime = Threaded::new();
        let options = FaultOptions::new(7).with_delay(Ratio::of_percent::<10>(), Duration::from_millis(200));
        let aborted = || Err(HttpError::NoRoom);
        let mut builder = hedge_net::Channel::builder(runtime.clone(), replicas::servers(&replicas))
            .wrap(move |http| Faults::new(http, runtime, options, aborted))
            .load_balancer("rr");
        if let Some(delay) = backup {
            builder = builder.backup(delay);
        }
        let channel = blocking::ways(builder.build()?);
        let mut slow = 0;
        for _ in 0..100 {
            let begun = Instant::now();
            channel.call(get("/")?).wait()?;
            slow += u32::from(begun.elapsed() > Duration::from_millis(150));
        }
        println!("backup {backup:?}: {slow} of 100 calls were slow");
    }
    Ok(())
}
