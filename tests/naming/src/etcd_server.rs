//! A real etcd, which a test starts and stops: [`EtcdServer`].

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

pub struct EtcdServer {
    child: Child,
    folder: PathBuf,
    pub address: SocketAddr,
    peers: SocketAddr,
    /// What its JSON gateway asks for, once it has users.
    token: Option<String>,
}

impl EtcdServer {
    /// Starts an empty one, on ports that are free.
    pub fn start() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("hedge-etcd-{}-{number}", std::process::id()));
        loop {
            let (address, peers) = (free(), free());
            std::fs::create_dir_all(&folder).unwrap();
            // Another process may have taken a port meanwhile.
            if let Some(child) = run(&folder, address, peers) {
                return Self { child, folder, address, peers, token: None };
            }
            std::fs::remove_dir_all(&folder).unwrap();
        }
    }

    /// Ends it at once, without a word.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again, after a kill, with the same data. Another process may have taken one of its ports for some time.
    pub fn restart(&mut self) {
        let again = (0..200).find_map(|attempt| {
            if attempt > 0 {
                thread::sleep(Duration::from_millis(100));
            }
            run(&self.folder, self.address, self.peers)
        });
        self.child = again.expect("etcd starts again");
    }

    /// Stops it from running, without ending it.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").arg(format!("-{signal}")).arg(self.child.id().to_string()).status();
        assert!(status.unwrap().success());
    }

    pub fn put(&self, key: &str, value: &str) {
        self.post("/v3/kv/put", &json!({ "key": STANDARD.encode(key), "value": STANDARD.encode(value) }));
    }

    pub fn delete(&self, key: &str) {
        self.post("/v3/kv/deleterange", &json!({ "key": STANDARD.encode(key) }));
    }

    /// Puts many keys with one request.
    pub fn put_all(&self, pairs: &[(String, String)]) {
        // A transaction has at most 128 operations.
        for pairs in pairs.chunks(128) {
            let put = |(key, value): &(String, String)| json!({ "request_put": { "key": STANDARD.encode(key), "value": STANDARD.encode(value) } });
            self.post("/v3/kv/txn", &json!({ "success": pairs.iter().map(put).collect::<Vec<_>>() }));
        }
    }

    /// Forgets all revisions before the present one.
    pub fn compact(&self) {
        let range = self.post("/v3/kv/range", &json!({ "key": STANDARD.encode("x") }));
        let revision = range["header"]["revision"].as_str().unwrap();
        self.post("/v3/kv/compaction", &json!({ "revision": revision, "physical": true }));
    }

    /// From now on, every request needs a user.
    pub fn ask_for_users(&mut self, password: &str) {
        self.post("/v3/auth/user/add", &json!({ "name": "root", "password": password }));
        self.post("/v3/auth/role/add", &json!({ "name": "root" }));
        self.post("/v3/auth/user/grant", &json!({ "user": "root", "role": "root" }));
        self.post("/v3/auth/enable", &json!({}));
        self.log_in(password);
    }

    pub fn log_in(&mut self, password: &str) {
        self.token = None;
        let answer = self.post("/v3/auth/authenticate", &json!({ "name": "root", "password": password }));
        self.token = Some(answer["token"].as_str().unwrap().to_owned());
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let (body, token) = (body.to_string(), self.token.as_deref());
        let token = token.map(|token| format!("authorization: {token}\r\n")).unwrap_or_default();
        write!(stream, "POST {path} HTTP/1.0\r\n{token}content-length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.0 200"), "{path}: {answer}");
        serde_json::from_str(body).unwrap()
    }
}

impl Drop for EtcdServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Starts etcd, and waits until it serves clients. `None` if it ends before.
fn run(folder: &std::path::Path, address: SocketAddr, peers: SocketAddr) -> Option<Child> {
    let (client, peer) = (format!("http://{address}"), format!("http://{peers}"));
    let mut child = Command::new("etcd")
        .args(["--name", "one", "--data-dir"])
        .arg(folder.join("data"))
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("one={peer}"), "--unsafe-no-fsync"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("etcd is installed: ci/install does that");
    let log = BufReader::new(child.stderr.take().unwrap());
    let (ready, is_ready) = mpsc::channel();
    thread::spawn(move || {
        // It must be read to its end, since etcd would wait otherwise.
        for line in log.lines().map_while(Result::ok) {
            if line.contains("ready to serve client requests") {
                let _ = ready.send(());
            }
        }
    });
    if is_ready.recv().is_ok() {
        return Some(child);
    }
    child.wait().unwrap();
    None
}

/// A port that nobody else takes while etcd is down: below those that clients are given, and where each process has an
/// address of its own, as all of 127.0.0.0/8 is this machine, on that.
fn free() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let own = if cfg!(target_os = "linux") { Ipv4Addr::new(127, 128 | high, middle, low) } else { Ipv4Addr::LOCALHOST };
    loop {
        let offset = (std::process::id() * 131 + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        let port = u16::try_from(12_000 + offset).unwrap();
        if let Ok(listener) = TcpListener::bind((own, port)) {
            return listener.local_addr().unwrap();
        }
    }
}
