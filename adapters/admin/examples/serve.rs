//! Serves the pages of two simulated channels on loopback, with the standard library alone.
//!
//! `cargo run -p hedge-admin --example serve` prints the address. A server of a program does the same four things: it
//! refuses other methods than GET, refuses a `Host` that is not local, makes the page, and sends it with the headers.
#![allow(clippy::unwrap_used, reason = "an example fails by it")]

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use hedge_admin::{Page, Registry, Request, SampleOptions, is_local_host};
use hedge_core::outcome::ErrorKind::Refused;

use world::Channel;

#[path = "../tests/pages/world.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod world;

fn main() -> io::Result<()> {
    let registry = Registry::with_samples(SampleOptions { one_in: 10, ..SampleOptions::default() });
    for (number, name) in [(1, "search"), (2, "users")] {
        let registry = registry.clone();
        thread::spawn(move || simulate(&registry, name, number));
    }
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    println!("http://{}/", listener.local_addr()?);
    for connection in listener.incoming() {
        let registry = registry.clone();
        // A client that goes away or sends nothing is no fault of the program.
        thread::spawn(move || connection.and_then(|connection| serve(&connection, &registry)));
    }
    Ok(())
}

/// Answers one request, and closes the connection.
fn serve(mut connection: &TcpStream, registry: &Registry) -> io::Result<()> {
    connection.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut head = BufReader::new(connection.take(16 << 10)).lines();
    let first = head.next().transpose()?.unwrap_or_default();
    let mut words = first.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (mut host, mut accept) = (String::new(), String::new());
    for line in head {
        let line = line?;
        match line.split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("host") => host = value.trim().to_owned(),
            Some((name, value)) if name.eq_ignore_ascii_case("accept") => accept = value.trim().to_owned(),
            Some(_) => {}
            None => break,
        }
    }
    if method != "GET" || !is_local_host(&host) {
        return connection.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
    let page = hedge_admin::page(Request::new(target).accept(&accept), registry);
    let Page { status, content_type, body, .. } = &page;
    let mut answer =
        format!("HTTP/1.1 {status} \r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in Page::HEADERS {
        let _ = write!(answer, "{name}: {value}\r\n");
    }
    answer.push_str("Connection: close\r\n\r\n");
    connection.write_all((answer + body).as_bytes())
}

/// Makes calls whose latencies have a long tail, and times a function of the program.
fn simulate(registry: &Registry, name: &str, factor: u64) {
    let watch = registry.watch(name).unwrap();
    let servers = world::servers(["10.0.0.1:80 eu", "10.0.0.2:80 eu", "10.0.0.3:80 us"]);
    let channel = Channel::new(&servers, |setup| setup.observers.add(Arc::new(watch.clone())));
    let _shown = registry.add_watched(watch, channel.clone()).unwrap();
    let (recorder, _recorded) = registry.recorder(&format!("{name}_function")).unwrap();
    let mut rng = fastrand::Rng::with_seed(factor);
    loop {
        let started = Instant::now();
        let mut answer = || match rng.u32(..100) {
            0 => (1, Err(Refused)),
            1..=4 => (rng.u64(15..60), Ok(())),
            _ => (factor * rng.u64(1..5), Ok(())),
        };
        channel.call(&[answer(), answer(), answer(), answer()]);
        thread::sleep(Duration::from_millis(rng.u64(1..4)));
        recorder.record_since(started);
    }
}
