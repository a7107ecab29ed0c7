//! HTTP servers, each of which stalls on some requests, and three faulty servers: one refuses connections, one never
//! answers, and one answers nonsense.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use fastrand::Rng;

/// How long a stalled request waits.
const STALL: Duration = Duration::from_millis(20);
/// One request in so many stalls.
const STALL_EVERY: u32 = 20;
/// The prefix of a path that asks how many requests for the rest of the path all servers have had.
const COUNT: &str = "/count";

/// The ports of all servers. They run until the process ends.
#[derive(Debug)]
pub(crate) struct Servers {
    good: Vec<u16>,
    closed: u16,
    silent: u16,
    garbage: u16,
}

impl Servers {
    /// Starts `count` servers that answer, and the faulty ones.
    pub(crate) fn start(count: usize, seed: u64) -> io::Result<Self> {
        let counts = Arc::new(Mutex::new(HashMap::new()));
        let mut seeds = Rng::with_seed(seed);
        let good = (0..count).map(|_| {
            let server = Server { counts: Arc::clone(&counts), rng: Arc::new(Mutex::new(seeds.fork())) };
            listen(move |connection| server.serve(connection))
        });
        Ok(Self {
            good: good.collect::<io::Result<_>>()?,
            closed: closed()?,
            silent: listen(silence)?,
            garbage: listen(noise)?,
        })
    }

    /// The arguments that tell the firmware of the servers.
    pub(crate) fn arguments(&self, seed: u64) -> Vec<String> {
        let good: Vec<_> = self.good.iter().map(u16::to_string).collect();
        vec![
            "firmware".to_owned(),
            format!("seed={seed}"),
            format!("servers={}", good.join("+")),
            format!("closed={}", self.closed),
            format!("silent={}", self.silent),
            format!("garbage={}", self.garbage),
        ]
    }
}

/// Listens on a free port, with a thread for each connection. A connection that breaks is ignored.
fn listen(serve: impl Fn(TcpStream) -> io::Result<()> + Clone + Send + 'static) -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(connection));
        }
    });
    Ok(port)
}

/// A port that refuses connections. It is below the ports that clients get: a client on such a port could be connected to
/// itself.
fn closed() -> io::Result<u16> {
    let refuses = |port: &u16| {
        TcpStream::connect((Ipv4Addr::LOCALHOST, *port))
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    };
    (1..1024).find(refuses).ok_or_else(|| io::Error::other("no closed port"))
}

/// Reads everything and never answers.
fn silence(mut connection: TcpStream) -> io::Result<()> {
    io::copy(&mut connection, &mut io::sink()).map(drop)
}

/// Answers with something that is not HTTP.
fn noise(mut connection: TcpStream) -> io::Result<()> {
    let _ = connection.read(&mut [0; 1024])?;
    connection.write_all(b"\x16\x03\x01\x02\x00 220 not what you asked for\r\n\r\n")
}

/// One server.
#[derive(Clone)]
struct Server {
    /// How many requests all servers have had for each path.
    counts: Arc<Mutex<HashMap<String, u32>>>,
    rng: Arc<Mutex<Rng>>,
}

impl Server {
    fn serve(&self, connection: TcpStream) -> io::Result<()> {
        connection.set_nodelay(true)?;
        let mut requests = BufReader::new(connection.try_clone()?);
        let mut connection = connection;
        while let Some((path, keep_alive)) = request(&mut requests)? {
            let body = match path.strip_prefix(COUNT) {
                Some(counted) => self.count(counted).to_string(),
                None => self.answer(&path),
            };
            let alive = if keep_alive { "keep-alive" } else { "close" };
            let length = body.len();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\nconnection: {alive}\r\n\r\n"
            );
            connection.write_all((head + &body).as_bytes())?;
            if !keep_alive {
                break;
            }
        }
        Ok(())
    }

    fn count(&self, path: &str) -> u32 {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).get(path).copied().unwrap_or(0)
    }

    fn answer(&self, path: &str) -> String {
        let stalls = self.rng.lock().unwrap_or_else(PoisonError::into_inner).u32(..STALL_EVERY) == 0;
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner).entry(path.to_owned()).or_default() += 1;
        if stalls {
            thread::sleep(STALL);
        }
        "a small page\n".to_owned()
    }
}

/// Reads a request. Returns its path, and whether another request may follow; `None` at the end of the connection.
fn request(requests: &mut impl BufRead) -> io::Result<Option<(String, bool)>> {
    let mut line = String::new();
    if requests.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut keep_alive = true;
    loop {
        line.clear();
        if requests.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let header = line.trim().to_ascii_lowercase();
        if header.is_empty() {
            return Ok(Some((path, keep_alive)));
        }
        if header.strip_prefix("connection:").is_some_and(|value| value.trim() == "close") {
            keep_alive = false;
        }
    }
}
