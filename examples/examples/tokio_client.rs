//! The shortest client on tokio: a list of servers, a balancer, a backup after 2 ms.
//! Run it: cargo run --release --example tokio_client

use std::time::Duration;

use hedge_examples::replicas::{self, Answer, Replica};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let answer = || Answer::ok(Duration::from_millis(1));
    let replicas = [Replica::start(answer)?, Replica::start(answer)?];

    let builder = hedge_tokio::builder(replicas::servers(&replicas));
    let channel = builder.load_balancer("rr").backup(Duration::from_millis(2)).build()?;
    let reply = channel.get("/").await?;
    println!("{} from {} by attempt {:?}", reply.status(), reply.answered_by(), reply.report().winner());
    Ok(())
}
