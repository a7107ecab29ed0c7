//! Follows a source: [`Follower`] keeps the list that the source says, and asks it again after errors
//! ([N2](hedge_core::rules#N2)).

use std::collections::BTreeSet;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use hedge_core::drive::Timer;
use hedge_core::random::{Random, Seeds};
use hedge_core::time::{Duration, Instant};

use super::{BoxNaming, LineError, Naming as _, NamingError, NamingErrorKind, Update};
use crate::caught::caught_in;
use crate::server::Server;

/// The pause after the first error, at least ([N2](hedge_core::rules#N2)).
const SHORTEST: Duration = Duration::from_millis(500);
/// The pause after any error, at most.
const LONGEST: Duration = Duration::from_secs(10);

/// A list as a source has said it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct News {
    /// The whole list, in canonical order, each server once.
    pub servers: Vec<Server>,
    /// The lines that are not servers, by their number from 1.
    pub rejected: Vec<(usize, LineError)>,
}

/// Follows a source, and keeps the latest list of servers that the source has given.
///
/// After an error, the follower pauses before it asks the source again. The pause after the first error is 0.5 s to
/// 1 s. Each further error in a row doubles both bounds, up to 5 s and 10 s. The pause is random within its bounds, so
/// that many clients of a source that was down do not all come back at once.
pub struct Follower {
    /// The name of the source in errors.
    name: Arc<str>,
    naming: BoxNaming,
    servers: BTreeSet<Server>,
    /// How many errors the source has answered in a row.
    failures: u32,
    /// When the source may be asked again.
    retry_at: Option<Instant>,
    seeds: Seeds,
    random: Random,
}

impl Follower {
    /// A follower that has not asked its source yet. `name` stands for the source in errors; it should be its URL.
    pub fn new(name: impl Into<Arc<str>>, naming: BoxNaming, seed: u64) -> Self {
        let (name, seeds, random) = (name.into(), Seeds::new(seed), Random::unseeded());
        Self { name, naming, servers: BTreeSet::new(), failures: 0, retry_at: None, seeds, random }
    }

    /// Waits for the next list. It lets other tasks run before it asks, so a source that always has an answer does not
    /// stop them. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The source has no new list. The last one holds, and the next call waits for some time before it asks again.
    pub async fn next<T: Timer>(&mut self, timer: &T) -> Result<News, NamingError> {
        pass().await;
        if let Some(at) = self.retry_at {
            while timer.now() < at {
                timer.sleep_until(at).await;
            }
            self.retry_at = None;
        }
        let naming = &mut self.naming;
        let answer = caught_in(async move { naming.next().await }).await;
        let answer = answer.unwrap_or_else(|| Err(self.error(NamingErrorKind::Panicked)));
        let news = answer.and_then(|update| self.take_in(update));
        match news {
            Ok(_) => self.failures = 0,
            Err(_) => self.retry_at = Some(timer.now() + self.pause()),
        }
        news
    }

    fn take_in(&mut self, update: Update) -> Result<News, NamingError> {
        let mut bad = Vec::new();
        match update {
            Update::Reset { servers, rejected } => {
                if let (true, Some((number, error))) = (servers.is_empty(), rejected.first()) {
                    let none = self.error(NamingErrorKind::NoValidLine);
                    return Err(none.at(format!("line {number}")).because(error.clone()));
                }
                self.servers = servers.into_iter().collect();
                bad = rejected;
            }
            Update::Change { insert, remove } => {
                for server in &remove {
                    self.servers.remove(server);
                }
                self.servers.extend(insert);
            }
        }
        Ok(News { servers: self.servers.iter().cloned().collect(), rejected: bad })
    }

    /// The pause after one more error.
    fn pause(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let doublings = self.failures.min(8);
        let longest = (SHORTEST * (1 << doublings)).min(LONGEST);
        let shortest = longest / 2;
        let part = f64::from(self.random.next(&self.seeds)) / f64::from(u32::MAX);
        shortest + (longest - shortest).mul_f64(part)
    }

    fn error(&self, kind: NamingErrorKind) -> NamingError {
        NamingError::new(Arc::clone(&self.name), kind)
    }

    /// The name of the source in errors.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }
}

/// Lets other tasks run once.
async fn pass() {
    let mut passed = false;
    poll_fn(|cx| {
        if passed {
            return Poll::Ready(());
        }
        passed = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower")
            .field("name", &self.name)
            .field("servers", &self.servers.len())
            .field("failures", &self.failures)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
