//! A whole channel from one file, what an operator sees of it after some calls, and the file once it has changed.
//! Run it: cargo run --release --example channel_file

use std::error::Error;
use std::time::Duration;

use hedge_examples::replicas::{Answer, Replica};
use hedge_net::ServersConfig;
use hedge_tokio::{ChannelFile, Inspect as _};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut config: ChannelFile = serde_json::from_str(include_str!("../channel.json"))?;
    // The file names servers of another network; these three run here. The third is slow.
    let replicas: Vec<_> = [1, 1, 40]
        .into_iter()
        .map(|millis| Replica::start(move || Answer::ok(Duration::from_millis(millis))))
        .collect::<Result<_, _>>()?;
    let servers = replicas.iter().map(|replica| replica.address().to_string().into());
    config.channel.servers = Some(ServersConfig::Lines(servers.collect()));

    let builder = hedge_tokio::builder("").channel_file(&config);
    for warning in builder.warnings() {
        eprintln!("warning: {warning}");
    }
    let channel = builder.build()?;
    for id in 0..200 {
        channel.get(&format!("/users/{id}")).await?;
    }
    println!("{}", channel.inspect());

    // The file has changed: another timeout, only two servers, and another balancer, which a running channel cannot take over.
    let mut changed = config;
    changed.channel.timeout = Some(Duration::from_millis(300).into());
    changed.channel.load_balancer = Some("rr".parse()?);
    if let Some(ServersConfig::Lines(servers)) = &mut changed.channel.servers {
        servers.pop();
    }
    let applied = channel.set_channel_file(&changed)?;
    println!("now {} servers, and calls may take {:?}", channel.servers().len(), channel.options().channel.timeout);
    for setting in applied.needs_new_channel {
        println!("needs a new channel: {setting}");
    }
    Ok(())
}
