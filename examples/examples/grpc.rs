//! A gRPC client, as tonic generates it, over a channel that hedges as a service config says. There are three servers, and
//! one of them is slow: `cargo run --release -p hedge-examples --example grpc`.

mod hello;

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hello::greeter::greeter_client::GreeterClient;
use hello::greeter::greeter_server::{Greeter, GreeterServer};
use tonic::transport::{Server, server::TcpIncoming};
use tonic::{Request, Response, Status};

/// A call of this method may be sent to three servers, one every 20 ms, until one of them answers.
const SERVICE_CONFIG: &str = r#"{"methodConfig": [{
    "name": [{"service": "hello.Greeter", "method": "Greet"}],
    "timeout": "1s",
    "hedgingPolicy": {"maxAttempts": 3, "hedgingDelay": "0.02s", "nonFatalStatusCodes": ["UNAVAILABLE"]}
}]}"#;

/// A server that answers after this time.
struct Hello(Duration);

#[tonic::async_trait]
impl Greeter for Hello {
    async fn greet(&self, request: Request<String>) -> Result<Response<String>, Status> {
        tokio::time::sleep(self.0).await;
        Ok(Response::new(format!("hello, {}", request.get_ref())))
    }
}

fn serve(delay: Duration) -> Result<SocketAddr, Box<dyn Error + Send + Sync>> {
    let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into())?;
    let address = incoming.local_addr()?;
    tokio::spawn(Server::builder().serve_with_incoming(GreeterServer::new(Hello(delay)), incoming));
    Ok(address)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let (slow, quick) = (Duration::from_millis(300), Duration::from_millis(2));
    let servers = [serve(slow)?, serve(quick)?, serve(quick)?];
    let channel = hedge_tokio::builder(format!("list://{},{},{}", servers[0], servers[1], servers[2]))
        .load_balancer("rr")
        .grpc()
        .service_config(SERVICE_CONFIG)?
        .build()?;
    let mut client = GreeterClient::new(channel.clone());

    for caller in ["Ada", "Ben", "Cleo", "Dan", "Eve", "Finn"] {
        let reply = client.greet(caller.to_owned()).await?;
        // Every reply has the report of its call.
        let trace = reply.extensions().get::<Arc<hedge_tokio::Trace>>().ok_or("no report")?;
        let server = trace.winner().and_then(|winner| trace.server(winner)).ok_or("no server")?;
        println!("{}, from {server}, attempts: {}", reply.get_ref(), trace.attempts().len());
    }
    let counters = channel.channel().counters();
    println!("{} calls, {} backups, {} of them won", counters.calls(), counters.backups, counters.backups_won);
    Ok(())
}
