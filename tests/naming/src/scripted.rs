//! A server of HTTP/1.1 that does what a test says: [`Scripted`].

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

pub struct Scripted {
    pub address: SocketAddr,
    heads: Arc<Mutex<Vec<Request>>>,
    connections: Arc<Mutex<usize>>,
}

/// The head of a request.
#[derive(Clone, Debug)]
pub struct Request(pub String);

impl Request {
    /// The path and the query.
    pub fn path(&self) -> &str {
        self.0.split(' ').nth(1).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.0.lines().filter_map(|line| line.split_once(": "));
        headers.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// What becomes of the connection after an answer.
#[derive(PartialEq, Eq)]
pub enum Then {
    Keep,
    Close,
}

impl Scripted {
    /// Runs `script` for each request.
    pub fn plain(script: impl Fn(&Request, &mut dyn Write) -> Then + Send + Sync + 'static) -> Self {
        Self::start(None, script)
    }

    /// The same behind TLS.
    pub fn tls(
        config: ServerConfig,
        script: impl Fn(&Request, &mut dyn Write) -> Then + Send + Sync + 'static,
    ) -> Self {
        Self::start(Some(Arc::new(config)), script)
    }

    fn start(
        config: Option<Arc<ServerConfig>>,
        script: impl Fn(&Request, &mut dyn Write) -> Then + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let server =
            Self { address: listener.local_addr().unwrap(), heads: Arc::default(), connections: Arc::default() };
        let (heads, connections, script) =
            (Arc::clone(&server.heads), Arc::clone(&server.connections), Arc::new(script));
        thread::spawn(move || {
            for stream in listener.incoming() {
                *connections.lock().unwrap() += 1;
                let (heads, script, config) = (Arc::clone(&heads), Arc::clone(&script), config.clone());
                thread::spawn(move || {
                    let stream = stream.unwrap();
                    match config {
                        None => serve(stream, &heads, &*script),
                        Some(config) => {
                            serve(StreamOwned::new(ServerConnection::new(config).unwrap(), stream), &heads, &*script);
                        }
                    }
                });
            }
        });
        server
    }

    /// The requests that have come.
    pub fn requests(&self) -> Vec<Request> {
        self.heads.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

fn serve(
    mut stream: impl Read + Write,
    heads: &Mutex<Vec<Request>>,
    script: &(impl Fn(&Request, &mut dyn Write) -> Then + ?Sized),
) {
    while let Some(request) = request(&mut stream) {
        heads.lock().unwrap().push(request.clone());
        if script(&request, &mut stream) == Then::Close {
            return;
        }
        let _ = stream.flush();
    }
}

/// The next request. Its body is thrown away.
fn request(stream: &mut impl Read) -> Option<Request> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if !stream.read(&mut byte).is_ok_and(|read| read == 1) {
            return None;
        }
        head.push(byte[0]);
    }
    let request = Request(String::from_utf8(head).unwrap());
    let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    stream.read_exact(&mut vec![0; length]).ok()?;
    Some(request)
}

/// Writes an answer with more headers, each with its end of line.
pub fn answer(out: &mut dyn Write, status: &str, headers: &str, body: &str) -> Then {
    let length = body.len();
    // The client may have left.
    let _ = write!(out, "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}");
    Then::Keep
}

/// The lines of an answer that does not end.
#[derive(Clone)]
pub struct Lines(Arc<Mutex<Receiver<String>>>);

impl Lines {
    pub fn new() -> (Sender<String>, Self) {
        let (sender, lines) = channel();
        (sender, Self(Arc::new(Mutex::new(lines))))
    }

    /// Writes the lines as they come. An empty one ends the answer, and so does the end of the sender.
    pub fn write(&self, out: &mut dyn Write) -> Then {
        let _ =
            out.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n");
        let _ = out.flush();
        while let Some(line) = self.0.lock().unwrap().recv().ok().filter(|line| !line.is_empty()) {
            if write!(out, "{:x}\r\n{line}\n\r\n", line.len() + 1).and_then(|()| out.flush()).is_err() {
                return Then::Close;
            }
        }
        let _ = out.write_all(b"0\r\n\r\n");
        let _ = out.flush();
        Then::Keep
    }
}
