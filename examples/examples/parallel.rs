//! One call to three shards at once. Each shard answers a JSON array, and the arrays are joined. If a shard is down,
//! only its part fails. Run it: cargo run --release --example parallel

use std::error::Error;
use std::time::Duration;

use hedge_compose::hedge_fleet::{CallOptions, Caller, Outcome};
use hedge_compose::{JsonArrays, Parallel};
use hedge_net::Reply;
use hedge_net::http::{Body, RequestBody};
use hedge_tokio::Tokio;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let shards = [server("[1, 4]").await?, server("[2, 5]").await?, server("[3, 6]").await?];
    let parallel = |shards: &[String]| -> Result<_, Box<dyn Error>> {
        let mut builder = Parallel::builder(Tokio::new()).timeout(Duration::from_secs(1)).fail_limit(2);
        for (index, shard) in shards.iter().enumerate() {
            builder = builder.channel(format!("shard {index}"), hedge_tokio::builder(shard).max_retry(1).build()?);
        }
        Ok(builder.merger(JsonArrays::new(bytes)).build()?)
    };
    let request = http::Request::get("/numbers").body(RequestBody::from(()))?;

    let all = parallel(&shards)?;
    let reply = all.call_with(&request, &CallOptions::new()).await?;
    println!("joined: {}", serde_json::to_string(&**reply)?);
    println!("{}", reply.tree());

    // Nothing listens on port 1.
    let some = parallel(&[shards[0].clone(), "127.0.0.1:1".to_owned(), shards[2].clone()])?;
    let reply = some.call_with(&request, &CallOptions::new()).await?;
    println!("joined without shard 1: {}", serde_json::to_string(&**reply)?);
    for (index, error) in reply.parts().failures() {
        println!("shard {index}: {error}");
    }
    Ok(())
}

/// The bytes of a reply.
fn bytes(reply: &Reply<http::Response<Body>>) -> &[u8] {
    reply.body().bytes().map_or(&[], |bytes| &bytes[..])
}

/// Starts a server that answers every request with this text.
async fn server(text: &'static str) -> std::io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 1024];
                while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len());
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok(address)
}
