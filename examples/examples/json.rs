//! A service that speaks JSON: one line a call, a backup that is limited, and a log line that says which server answered.
//! Run it: cargo run --release --example json

use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use hedge_core::bounded::Ratio;
use hedge_tokio::{LimitOptions, RatioOptions};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct User {
    id: u32,
    name: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let (slow, fast) = (server(Duration::from_millis(300))?, server(Duration::ZERO)?);
    // Backups for at most a fifth of the calls.
    let ratio = RatioOptions { max_backup_ratio: Ratio::of_percent::<20>(), ..RatioOptions::DEFAULT };
    let channel = hedge_tokio::builder(format!("list://{slow},{fast}"))
        .load_balancer("rr")
        .backup(Duration::from_millis(50))
        .limits(LimitOptions { ratio: Some(ratio), ..LimitOptions::SAFE })
        .build()?;

    for id in 1..=4 {
        let user = User { id, name: format!("user {id}") };
        let reply = channel.put(&format!("/users/{id}")).json(&user).await?.error_for_status()?;
        let saved: User = reply.json()?;
        let hedged = match reply.report().not_hedged() {
            None => "hedged".to_owned(),
            Some(reason) => format!("not hedged: {reason}"),
        };
        println!("saved {} at {} in {:?}, {hedged}", saved.name, reply.answered_by(), reply.report().elapsed());
    }
    Ok(())
}

/// Starts a server that answers each request with its own body after `delay`; a thread a connection.
fn server(delay: Duration) -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    thread::spawn(move || {
        listener.incoming().flatten().for_each(|connection| drop(thread::spawn(move || serve(&connection, delay))));
    });
    Ok(address)
}

fn serve(connection: &TcpStream, delay: Duration) -> io::Result<()> {
    let mut requests = BufReader::new(connection);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if requests.read_line(&mut line)? == 0 {
                return Ok(());
            }
            match line.trim_end().split_once(": ") {
                Some(("content-length", digits)) => length = digits.parse().map_err(io::Error::other)?,
                None if line == "\r\n" => break,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        requests.read_exact(&mut body)?;
        thread::sleep(delay);
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
        let mut output = connection;
        output.write_all(&[head.as_bytes(), &body].concat())?;
    }
}
