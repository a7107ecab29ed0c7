//! A whole channel from one file, and what an operator sees of it after some calls.
//! Run it: cargo run --release --example channel_file

use std::error::Error;
use std::time::Duration;

use hedge_examples::replicas::{Answer, Replica};
use hedge_net::ServersConfig;
use hedge_tokio::{ChannelConfig, Inspect as _};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut config: ChannelConfig = serde_json::from_str(include_str!("../channel.json"))?;
    // The file names servers of another network; these three run here. The third is slow.
    let replicas: Vec<_> = [1, 1, 40]
        .into_iter()
        .map(|millis| Replica::start(move || Answer::ok(Duration::from_millis(millis))))
        .collect::<Result<_, _>>()?;
    let servers = replicas.iter().map(|replica| replica.address().to_string().into());
    config.servers = Some(ServersConfig::Lines(servers.collect()));

    let builder = hedge_tokio::builder("").config(&config).name("users");
    for warning in builder.warnings() {
        eprintln!("warning: {warning}");
    }
    let channel = builder.build()?;
    for id in 0..200 {
        channel.get(&format!("/users/{id}")).await?;
    }
    println!("{}", channel.inspect());
    Ok(())
}
