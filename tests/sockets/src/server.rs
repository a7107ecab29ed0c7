//! A server on threads that does to each connection what a script says.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use socket2::SockRef;

use super::signal::Signal;

pub struct TestServer {
    pub address: SocketAddr,
    pub accepted: Signal,
    /// A connection was closed or reset by the client, as its script saw.
    pub closed: Signal,
    /// A whole request was read.
    pub requests: Signal,
}

/// One connection, as its script sees it.
pub struct Connection {
    stream: TcpStream,
    /// From 0, in the order in which they were accepted.
    pub number: usize,
    closed: Signal,
    requests: Signal,
}

/// A request, as text.
pub struct Seen {
    /// From 0, of the whole server.
    pub number: usize,
    pub head: String,
    pub body: String,
}

impl TestServer {
    /// Runs `script` on a thread for each connection.
    pub fn start(script: impl Fn(&mut Connection) + Send + Sync + 'static) -> Self {
        Self::at((Ipv4Addr::LOCALHOST, 0).into(), script)
    }

    /// The same at an address.
    pub fn at(address: SocketAddr, script: impl Fn(&mut Connection) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let (accepted, closed, requests) = (Signal::new(), Signal::new(), Signal::new());
        let server = Self { address, accepted: accepted.clone(), closed: closed.clone(), requests: requests.clone() };
        let script = Arc::new(script);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                stream.set_nodelay(true).unwrap();
                let number = accepted.raise();
                let mut connection = Connection { stream, number, closed: closed.clone(), requests: requests.clone() };
                let script = Arc::clone(&script);
                thread::spawn(move || script(&mut connection));
            }
        });
        server
    }

    /// Answers every request with what `answer` makes of it.
    pub fn answering(answer: impl Fn(&Seen) -> String + Send + Sync + 'static) -> Self {
        Self::start(move |connection| {
            while let Some(seen) = connection.request() {
                connection.send(&answer(&seen));
            }
        })
    }

    /// Takes requests and never answers them.
    pub fn stalling() -> Self {
        Self::start(|connection| while connection.request().is_some() {})
    }
}

impl Connection {
    /// The next request; `None` once the client has closed.
    pub fn request(&mut self) -> Option<Seen> {
        let head = self.head()?;
        let header = |name: &str| {
            let lines = head.lines().filter_map(|line| line.split_once(": "));
            lines.filter(|(there, _)| there.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
        };
        let mut body = Vec::new();
        if let Some(length) = header("content-length") {
            for _ in 0..length.parse().unwrap() {
                body.push(self.byte()?);
            }
        } else if header("transfer-encoding").is_some() {
            while !body.ends_with(b"0\r\n\r\n") {
                body.push(self.byte()?);
            }
        }
        Some(Seen { number: self.requests.raise(), head, body: String::from_utf8(body).unwrap() })
    }

    /// The head of the next request; `None` once the client has closed.
    pub fn head(&mut self) -> Option<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.byte()?);
        }
        Some(String::from_utf8(head).unwrap())
    }

    /// Whether that is what comes next.
    pub fn reads(&mut self, expected: &str) -> bool {
        expected.bytes().all(|byte| self.byte() == Some(byte))
    }

    fn byte(&mut self) -> Option<u8> {
        let mut byte = [0];
        self.read(&mut byte).map(|_| byte[0])
    }

    /// How much was read; `None` once the client has closed.
    fn read(&mut self, bytes: &mut [u8]) -> Option<usize> {
        match self.stream.read(bytes) {
            Ok(0) => {}
            Ok(read) => return Some(read),
            Err(error) => assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted)),
        }
        self.closed.raise();
        None
    }

    /// Waits for the client to close.
    pub fn until_closed(&mut self) {
        let mut bytes = [0; 64 * 1024];
        while self.read(&mut bytes).is_some() {}
    }

    /// Waits for the first byte of the next request, for which the connection is reset when its script ends: what has come
    /// and was not read does that. False once the client has closed.
    pub fn touched(&mut self) -> bool {
        self.byte().is_some()
    }

    /// Closes the connection from this side.
    pub fn hang_up(&mut self) {
        self.stream.shutdown(std::net::Shutdown::Both).unwrap();
    }

    /// Makes the end of the script reset the connection. What was sent before still arrives first.
    pub fn reset(&mut self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Sends no more, and goes on reading.
    pub fn half_close(&mut self) {
        self.stream.shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// Shakes hands as a TLS server, and runs a script behind that.
    pub fn secured(&self, config: Arc<rustls::ServerConfig>, script: impl FnOnce(&mut super::tls_server::Secured)) {
        let session = rustls::ServerConnection::new(config).unwrap();
        let mut stream = rustls::StreamOwned::new(session, self.stream.try_clone().unwrap());
        if stream.conn.complete_io(&mut stream.sock).is_ok() {
            script(&mut stream);
        }
    }

    /// False once the client has closed.
    pub fn send(&mut self, text: &str) -> bool {
        self.send_bytes(text.as_bytes())
    }

    /// The same with bytes that are no text.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> bool {
        let sent = self.stream.write_all(bytes).is_ok();
        if !sent {
            self.closed.raise();
        }
        sent
    }
}

pub fn ok(body: &str) -> String {
    status(200, body)
}

pub fn status(status: u16, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// Status 503, with this header.
pub fn busy(header: &str) -> String {
    format!("HTTP/1.1 503 X\r\n{header}\r\ncontent-length: 0\r\n\r\n")
}
