//! The user's own transport: a line protocol over raw TCP ("GET key", one line back), hedged like everything else.
//! Run it: cargo run --release --example line_protocol

use std::io::{self, BufRead, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};
use std::{error, fmt, thread};

use hedge_tokio::hedge_net::{AttemptError, AttemptInfo, ErrorKind, SendTransport};
use hedge_tokio::{Address, Channel, Tokio};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// One connection an attempt; dropping the attempt closes it.
struct Lines;

impl SendTransport for Lines {
    type Address = Address;
    type Request = String;
    type Reply = String;
    type Error = Broken;

    async fn start(&self, key: &String, attempt: AttemptInfo<Address>) -> Result<String, Broken> {
        get(key, &attempt.address).await.map_err(Broken)
    }
}

async fn get(key: &str, server: &Address) -> io::Result<String> {
    let mut connection = BufReader::new(TcpStream::connect(server.to_string()).await?);
    connection.write_all(format!("GET {key}\n").as_bytes()).await?;
    let line = connection.lines().next_line().await?;
    line.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

#[derive(Debug)]
struct Broken(io::Error);

impl AttemptError for Broken {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Broken // which the default retry policy tries at another server
    }
}

impl error::Error for Broken {}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Starts a server that answers a line with itself after `delay`, and closes; a thread a connection.
fn server(name: &'static str, delay: Duration) -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    let serve = move |connection: std::net::TcpStream| -> io::Result<()> {
        let line = io::BufReader::new(&connection).lines().next().unwrap_or_else(|| Ok(String::new()))?;
        thread::sleep(delay);
        (&connection).write_all(format!("{line} from the {name} server\n").as_bytes())
    };
    thread::spawn(move || {
        listener.incoming().flatten().for_each(|connection| drop(thread::spawn(move || serve(connection))));
    });
    Ok(address)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn error::Error>> {
    let (slow, fast) = (server("slow", Duration::from_millis(50))?, server("fast", Duration::ZERO)?);
    let builder = Channel::with_transport(Tokio::new(), Lines, format!("list://{slow},{fast}"));
    let channel = builder.load_balancer("rr").backup(Duration::from_millis(5)).build()?;
    for key in ["one", "two", "three", "four"] {
        let begin = Instant::now();
        let reply = channel.call(key.to_owned()).await?;
        println!("{}, {} ms, {} backups", *reply, begin.elapsed().as_millis(), reply.report().backups());
    }
    Ok(())
}
