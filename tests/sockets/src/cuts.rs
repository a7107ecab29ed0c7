//! Answers that end anywhere, since a server or a proxy closed the connection; and redirects.

use std::io::Write as _;
use std::sync::{Arc, Mutex};

use hedge_core::policy::AttemptError as _;
use hedge_net::{Channel, ErrorKind, Runtime};

use super::server::{TestServer, ok};
use super::tls_server::{Authority, TlsServer, head};
use super::{HttpChannel, PATIENCE, assert_settled, get, list};

/// How the connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Close,
    Reset,
}

/// An answer as it is sent, and where its body begins if the close of the connection ends that.
struct Answer {
    wire: &'static str,
    body: &'static str,
    ends_by_close: bool,
}

const ANSWERS: [Answer; 5] = [
    Answer { wire: "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", body: "hello", ends_by_close: false },
    Answer {
        wire: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 x\r\n\r\nHTTP/1.1 103 x\r\nlink: </a>\r\n\r\nHTTP/1.1 204 x\r\n\r\n",
        body: "",
        ends_by_close: false,
    },
    Answer {
        wire: "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nx-sum: 5\r\n\r\n",
        body: "hello",
        ends_by_close: false,
    },
    Answer { wire: "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello", body: "hello", ends_by_close: true },
    Answer {
        wire: "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello",
        body: "hello",
        ends_by_close: false,
    },
];

impl Answer {
    /// What a caller sees if only the first bytes of the answer come, and then this end.
    fn seen(&self, length: usize, end: End) -> Result<&'static str, ErrorKind> {
        let error = match end {
            End::Close => ErrorKind::Broken,
            End::Reset => ErrorKind::Reset,
        };
        let rest = self.wire.len() - length;
        match self.ends_by_close {
            true if end == End::Close && rest <= self.body.len() => Ok(&self.body[..self.body.len() - rest]),
            false if rest == 0 => Ok(self.body),
            _ => Err(error),
        }
    }
}

/// What the server sends to the next request of `/cut`.
type Next = Arc<Mutex<Option<(&'static [u8], End)>>>;

/// A server that says only a part of an answer to `/cut`, and the path of every other request to that request. So a client
/// that took one answer for another would see it.
fn cutting(next: &Next) -> TestServer {
    let next = Arc::clone(next);
    TestServer::start(move |connection| {
        while let Some(seen) = connection.request() {
            let path = seen.head.split(' ').nth(1).unwrap().to_owned();
            let cut = next.lock().unwrap().take_if(|_| path == "/cut");
            if let Some((bytes, end)) = cut {
                if end == End::Reset {
                    connection.reset();
                }
                connection.send_bytes(bytes);
                return;
            }
            connection.send(&ok(&path));
        }
    })
}

/// A call of `/cut`, as its caller sees it.
async fn seen<R: Runtime>(channel: &HttpChannel<R>) -> Result<String, ErrorKind> {
    match channel.call(get("/cut")).await {
        Ok(reply) => Ok(reply.text().unwrap()),
        Err(error) => match error.last() {
            Some(Err(error)) => Err(error.kind()),
            _ => panic!("{error}"),
        },
    }
}

async fn answers_path<R: Runtime>(channel: &HttpChannel<R>, path: &str, name: &str) {
    let reply = channel.call(get(path)).await.unwrap();
    assert_eq!((reply.text().unwrap(), reply.report().attempts().len()), (path.to_owned(), 1), "{name}");
}

pub async fn t1_an_answer_that_is_cut_off_anywhere_is_whole_or_broken<R: Runtime>(runtime: R) {
    let next = Next::default();
    let there = cutting(&next);
    let channel = |group, idle| {
        let builder = list(&runtime, &[there.address]).max_retry(0).connection_group(group);
        builder.max_idle_per_server(idle).build().unwrap()
    };
    let (new, kept) = (channel("new", 0), channel("kept", 100));
    let mut calls = 0;
    for answer in &ANSWERS {
        for end in [End::Close, End::Reset] {
            for length in 0..=answer.wire.len() {
                let name = format!("{length} bytes of {:?}, {end:?}", answer.wire);
                let cut = || *next.lock().unwrap() = Some((&answer.wire.as_bytes()[..length], end));
                cut();
                assert_eq!(seen(&new).await, answer.seen(length, end).map(ToOwned::to_owned), "{name}");
                answers_path(&new, &format!("/{calls}"), &name).await;

                answers_path(&kept, "/first", &name).await;
                let resent = kept.transport().resent();
                cut();
                // C3: nothing has come, so the request goes once more, and this time it is answered.
                let lost = length == 0;
                let expected = if lost { Ok("/cut") } else { answer.seen(length, end) };
                assert_eq!(seen(&kept).await, expected.map(ToOwned::to_owned), "{name}, on a connection that was idle");
                assert_eq!(kept.transport().resent() - resent, u64::from(lost), "{name}");
                answers_path(&kept, &format!("/{calls}"), &name).await;
                calls += 1;
            }
        }
    }
    assert_settled(&new);
    assert_settled(&kept);
}

/// Over TLS, a body that ends with its connection is whole only if the server says so (`close_notify`).
pub async fn t1_an_answer_over_tls_that_is_cut_off_anywhere_is_whole_or_broken<R: Runtime>(runtime: R) {
    let authority = Authority::create();
    let next = Next::default();
    let cut = Arc::clone(&next);
    let there = TlsServer::start(authority.server(authority.sign("127.0.0.1", 1), false), move |stream| {
        while let Some(head) = head(stream) {
            let cut = cut.lock().unwrap().take_if(|_| head.starts_with("GET /cut "));
            if let Some((bytes, end)) = cut {
                stream.write_all(bytes).unwrap();
                if end == End::Close {
                    stream.conn.send_close_notify();
                }
                stream.flush().unwrap();
                return;
            }
            stream.write_all(ok(head.split(' ').nth(1).unwrap()).as_bytes()).unwrap();
        }
    });
    let builder = Channel::builder(runtime, there.address.to_string()).tls(authority.client().build().unwrap());
    let channel = builder.timeout(PATIENCE).connect_timeout(PATIENCE).max_retry(0).build().unwrap();
    for answer in &ANSWERS {
        // `Reset` stands for a close without `close_notify` here.
        for end in [End::Close, End::Reset] {
            for length in 1..=answer.wire.len() {
                let name = format!("{length} bytes of {:?}, {end:?}", answer.wire);
                *next.lock().unwrap() = Some((&answer.wire.as_bytes()[..length], end));
                let expected = answer.seen(length, end).map(ToOwned::to_owned).map_err(|_| ErrorKind::Broken);
                assert_eq!(seen(&channel).await, expected, "{name}");
                answers_path(&channel, &format!("/{length}"), &name).await;
            }
        }
    }
    assert_settled(&channel);
}

pub async fn a_redirect_is_an_answer<R: Runtime>(runtime: R) {
    let other = TestServer::answering(|_| ok("other"));
    for status in [301, 302, 303, 307, 308] {
        let location = format!("http://{}/other", other.address);
        let there = TestServer::answering(move |_| {
            format!("HTTP/1.1 {status} x\r\nlocation: {location}\r\ncontent-length: 4\r\n\r\nmove")
        });
        let channel = list(&runtime, &[there.address, other.address]).build().unwrap();
        channel.set_usable(&super::server(other.address), false);
        let reply = channel.call(get("/")).await.unwrap();
        assert_eq!((reply.status().as_u16(), reply.report().attempts().len()), (status, 1));
        assert_eq!(reply.text().unwrap(), "move");
        let location = format!("http://{}/other", other.address);
        assert_eq!(reply.into_inner().headers()["location"], *location);
        assert_eq!(there.requests.count(), 1);
    }
    assert_eq!(other.accepted.count(), 0);
}
