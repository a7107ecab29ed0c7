//! A source that a test follows: [`Followed`].

use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use hedge_fleet::{BoxNaming, LineError, Naming, NamingError, ParsedName, Schemes, Server, Update};

/// A source, and the list that it has given.
pub struct Followed {
    naming: BoxNaming,
    servers: BTreeSet<Server>,
    pub rejected: Vec<(usize, LineError)>,
}

impl Followed {
    pub fn new(naming: BoxNaming) -> Self {
        Self { naming, servers: BTreeSet::new(), rejected: Vec::new() }
    }

    /// Opens a URL with one scheme.
    pub fn open(url: &str, open: impl Fn(&str) -> Result<BoxNaming, NamingError> + Send + Sync + 'static) -> Self {
        let scheme = url.split("://").next().unwrap();
        let schemes = Schemes::new().with(scheme, open).unwrap();
        match schemes.open(url).unwrap() {
            ParsedName::Followed(naming) => Self::new(naming),
            other => panic!("{other:?}"),
        }
    }

    /// The next list, as texts.
    pub async fn next(&mut self) -> Result<Vec<String>, NamingError> {
        match self.naming.next().await? {
            Update::Reset { servers, rejected } => {
                self.servers = servers.into_iter().collect();
                self.rejected = rejected;
            }
            Update::Change { insert, remove } => {
                for server in &remove {
                    self.servers.remove(server);
                }
                self.servers.extend(insert);
            }
        }
        Ok(self.servers.iter().map(ToString::to_string).collect())
    }

    /// The next list, which must come without an error.
    pub async fn list(&mut self) -> Vec<String> {
        self.next().await.unwrap()
    }

    /// Waits until the list is this one. There may be others and errors before.
    pub async fn becomes(&mut self, expected: &[&str]) {
        while self.next().await.map_or(true, |list| list != expected) {}
    }

    /// Waits for an error. There may be lists before.
    pub async fn fails(&mut self) -> NamingError {
        loop {
            if let Err(error) = self.next().await {
                return error;
            }
        }
    }

    /// Asks for the next list, and gives up after one poll. Returns whether the list had come.
    pub async fn give_up(&mut self) -> bool {
        let mut next = pin!(self.next());
        poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx).is_ready())).await
    }
}
