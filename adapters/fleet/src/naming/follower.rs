//! Follows a source of servers. [`Follower`] keeps the latest list of the source, and asks the source again after
//! errors ([N2](hedge_core::rules#N2)).

use std::collections::BTreeSet;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use hedge_core::bounded::SpanRange;
use hedge_core::drive::Timer;
use hedge_core::random::{Random, Seeds};
use hedge_core::time::{Duration, Instant};

use super::{BoxNaming, LineError, Naming as _, NamingError, NamingErrorKind, Update};
use crate::caught::caught_in;
use crate::server::Server;

/// The shortest pause after the first error of a source, and the longest pause after any error
/// ([N2](hedge_core::rules#N2)), both in \[1 ms, 1 h\].
pub type PauseRange = SpanRange<1, 3_600_000>;

/// A list that a source has given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct News {
    /// The whole list, in canonical order. Each server occurs once.
    pub servers: Vec<Server>,
    /// The lines that do not describe a server. Each has its number, counted from 1, and the reason.
    pub rejected: Vec<(usize, LineError)>,
}

/// Follows a source, and keeps the latest list of servers that the source has given.
///
/// After an error, the follower waits before it asks the source again. The wait after the first error is 0.5 s to 1 s.
/// Each further error in a row doubles both bounds, up to 5 s and 10 s. The wait is random within its bounds. So when a
/// source was down and comes back, its clients do not all ask it at the same time. [`with_pauses`](Self::with_pauses) sets
/// other bounds.
pub struct Follower {
    /// The name of the source in errors.
    name: Arc<str>,
    naming: BoxNaming,
    servers: BTreeSet<Server>,
    /// How many errors in a row the source has given.
    failures: u32,
    /// When the source may be asked again. `None` if it may be asked at once.
    retry_at: Option<Instant>,
    pauses: PauseRange,
    seeds: Seeds,
    random: Random,
}

impl Follower {
    /// The pauses after errors, unless others are set: 0.5 s to 10 s.
    pub const PAUSES: PauseRange = PauseRange::of_millis::<500, 10_000>();

    /// Makes a follower that has not asked its source yet. `name` is the name of the source in errors, usually its URL.
    /// The random pauses are determined by `seed`.
    pub fn new(name: impl Into<Arc<str>>, naming: BoxNaming, seed: u64) -> Self {
        let (name, seeds, random) = (name.into(), Seeds::new(seed), Random::unseeded());
        Self {
            name,
            naming,
            servers: BTreeSet::new(),
            failures: 0,
            retry_at: None,
            pauses: Self::PAUSES,
            seeds,
            random,
        }
    }

    /// Sets the pauses after errors. The pause after the first error is at least the shortest pause, and below twice
    /// that time. Each further error in a row doubles both bounds, until the upper bound is the longest pause, and the
    /// lower bound is half of it. Default: 0.5 s and 10 s.
    #[must_use]
    pub const fn with_pauses(mut self, pauses: PauseRange) -> Self {
        self.pauses = pauses;
        self
    }

    /// Waits for the next list. Before this method asks the source, it lets other tasks run once. So a source that
    /// always has an answer cannot block other tasks. The future may be dropped before it is ready. No list is lost
    /// then. If the last result was an error and its pause is not over, the next call of this method waits for the rest
    /// of the pause.
    ///
    /// # Errors
    /// Returns an error if the source has failed or panicked, or if the source gave a list in which no line describes a
    /// server. The last list stays in use. The next call of this method pauses before it asks the source again.
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

    /// Counts one more error, and returns the pause that follows.
    fn pause(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        // From the shortest to the longest pause that can be set, it takes 22 doublings.
        let doublings = self.failures.min(22);
        let (least, most) = (self.pauses.min().get(), self.pauses.max().get());
        let longest = (least * (1 << doublings)).min(most);
        let shortest = (longest / 2).max(least);
        let part = f64::from(self.random.next(&self.seeds)) / f64::from(u32::MAX);
        shortest + (longest - shortest).mul_f64(part)
    }

    fn error(&self, kind: NamingErrorKind) -> NamingError {
        NamingError::new(Arc::clone(&self.name), kind)
    }

    /// Returns the name of the source in errors.
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
