//! A backup between two clusters. Each cluster is a channel with its own servers, retries and limits. The first cluster
//! is slow, so a call goes to the other one too, and the first answer wins. Run it: cargo run --release --example
//! selective

use std::error::Error;
use std::time::Duration;

use hedge_compose::Selective;
use hedge_compose::hedge_fleet::{CallOptions, Caller, Outcome};
use hedge_net::http::RequestBody;
use hedge_tokio::Tokio;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let cluster = |one: String, other: String| {
        hedge_tokio::builder(format!("list://{one},{other}")).load_balancer("rr").max_retry(1).build()
    };
    let slow = Duration::from_millis(300);
    let eu = cluster(server("eu 1", slow).await?, server("eu 2", slow).await?)?;
    let us = cluster(server("us 1", Duration::ZERO).await?, server("us 2", Duration::ZERO).await?)?;

    let selective = Selective::builder(Tokio::new())
        .timeout(Duration::from_secs(2))
        .backup(Duration::from_millis(20))
        .channel("eu", eu)
        .channel("us", us)
        .build()?;

    let request = http::Request::get("/work").body(RequestBody::from(()))?;
    for call in 1..=4 {
        let reply = selective.call_with(&request, &CallOptions::new()).await?;
        let cluster = reply.channel().map_or("", |name| name);
        println!("call {call}: {} from the cluster {cluster}", reply.text()?);
        println!("{}", reply.tree());
    }
    println!("{} calls, {} backups", selective.counters().calls(), selective.counters().backups);
    Ok(())
}

/// Starts a server that answers every request with its name, after a time.
async fn server(name: &'static str, after: Duration) -> std::io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 1024];
                while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                    tokio::time::sleep(after).await;
                    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}", name.len());
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok(address)
}
