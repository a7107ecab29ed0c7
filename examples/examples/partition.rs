//! Partitions of one name: the tags `0/2` and `1/2` say which half of the data a server holds. A call asks both halves,
//! and each has two replicas. For a server with a wrong tag, the program prints a warning. Run it: cargo run --release
//! --example partition

use std::error::Error;
use std::time::Duration;

use hedge_compose::hedge_fleet::{CallOptions, Caller, parse_servers};
use hedge_compose::{Parallel, Partition};
use hedge_net::http::RequestBody;
use hedge_tokio::Tokio;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let partition = Partition::<Parallel<hedge_tokio::Channel, Tokio>>::builder(Tokio::new())
        .timeout(Duration::from_secs(1))
        .fail_limit(1)
        .partitions(2, |list| {
            let name = format!("partition {}", list.partition());
            hedge_tokio::builder(name).naming(list).load_balancer("rr").backup(Duration::from_millis(20)).build()
        })?;

    // In a program, a task follows a source: tokio::spawn(partition.follow(Tokio::new(), "users", naming)).
    let list = format!(
        "list://{} 0/2,{} 0/2,{} 1/2,{} 1/2,127.0.0.1:1 2/2",
        server("left a").await?,
        server("left b").await?,
        server("right a").await?,
        server("right b").await?
    );
    for warning in partition.set_servers(parse_servers(&list)?).warnings {
        println!("warning: {warning}");
    }

    let request = http::Request::get("/half").body(RequestBody::from(()))?;
    for call in 1..=3 {
        let reply = partition.call_with(&request, &CallOptions::new()).await?;
        let halves: Result<Vec<_>, _> = reply.parts().replies().map(|(_, half)| half.text()).collect();
        println!("call {call}: {}", halves?.join(" and "));
    }
    Ok(())
}

/// Starts a server that answers every request with its name.
async fn server(name: &'static str) -> std::io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 1024];
                while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
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
