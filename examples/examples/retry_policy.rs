//! The user's own retry policy: HTTP 403 is retried at another server, as in brpc's documentation.
//! Run it: cargo run --release --example retry_policy

use std::error::Error;
use std::time::Duration;

use hedge_examples::replicas::{self, Answer, Replica};
use hedge_tokio::http::{Body, HttpError, HttpRetryPolicy, Response, StatusCode, failure};
use hedge_tokio::{Judgement, RetryPolicy, Verdict};

/// 403 is one server's own opinion; everything else is judged as ever. When to retry, the server may say in `Retry-After`.
fn forbidden_is_retried(result: Result<&Response<Body>, &HttpError>) -> Judgement {
    match result {
        Ok(reply) if reply.status() == StatusCode::FORBIDDEN => failure(Verdict::Retry, reply),
        other => HttpRetryPolicy.judge(other),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = |status| Replica::start(move || Answer { after: Duration::ZERO, status });
    let servers = [server(403)?, server(200)?];
    let channel = hedge_tokio::builder(replicas::servers(&servers))
        .load_balancer("rr")
        .retry_policy(forbidden_is_retried)
        .build()?;
    for call in 0..4 {
        let reply = channel.get("/").await?;
        println!("call {call}: {} after {} retries", reply.status(), reply.report().retried_count());
    }
    Ok(())
}
