//! Sources that are asked again and again: [`Polled`].

use std::future::Future;
use std::sync::Arc;

use hedge_core::time::{Duration, Instant};
use hedge_fleet::{Naming, NamingError, NamingErrorKind, Server, Update};
use hedge_link::{Runtime, before};

/// How long one look-up may take, unless the look-up says something else.
const LONGEST_LOOKUP: Duration = Duration::from_secs(10);

/// A look-up that gives the whole list.
pub(crate) trait Lookup: Send + 'static {
    /// The name of the source in errors: its URL.
    fn url(&self) -> &Arc<str>;

    /// How long one look-up may take.
    fn timeout(&self) -> Duration {
        LONGEST_LOOKUP
    }

    /// Looks the list up. It is dropped once its time is over.
    fn look(&mut self) -> impl Future<Output = Result<Found, NamingError>> + Send;
}

/// What a look-up has found.
pub(crate) struct Found {
    pub(crate) servers: Vec<Server>,
    /// After how long the list is looked up again. `None`: it never changes.
    pub(crate) again: Option<Duration>,
}

/// Looks a list up again and again, and gives it when it has changed.
#[derive(Debug)]
pub(crate) struct Polled<R, L> {
    runtime: R,
    lookup: L,
    /// The last list, sorted. `None` at the start and after an error, so that the next list is given in any case.
    last: Option<Vec<Server>>,
    /// When to look again.
    look_at: Option<Instant>,
    /// The list never changes.
    is_fixed: bool,
}

impl<R: Runtime, L: Lookup> Polled<R, L> {
    pub(crate) const fn new(runtime: R, lookup: L) -> Self {
        Self { runtime, lookup, last: None, look_at: None, is_fixed: false }
    }

    pub(crate) const fn lookup_mut(&mut self) -> &mut L {
        &mut self.lookup
    }

    async fn look(&mut self) -> Result<Option<Update>, NamingError> {
        let deadline = self.runtime.now() + self.lookup.timeout();
        let found = before(&self.runtime, Some(deadline), self.lookup.look()).await;
        let late = || NamingError::new(Arc::clone(self.lookup.url()), NamingErrorKind::TimedOut);
        let Found { mut servers, again } = found.ok_or_else(late)??;
        servers.sort_unstable();
        servers.dedup();
        self.look_at = again.map(|again| self.runtime.now() + again);
        self.is_fixed = again.is_none();
        if self.last.as_ref() == Some(&servers) {
            return Ok(None);
        }
        self.last = Some(servers.clone());
        Ok(Some(Update::Reset { servers, rejected: Vec::new() }))
    }
}

impl<R: Runtime, L: Lookup> Naming for Polled<R, L> {
    async fn next(&mut self) -> Result<Update, NamingError> {
        loop {
            if self.is_fixed {
                return std::future::pending().await;
            }
            while let Some(at) = self.look_at
                && self.runtime.now() < at
            {
                self.runtime.sleep_until(at).await;
            }
            match self.look().await {
                Ok(None) => {}
                Ok(Some(update)) => return Ok(update),
                Err(error) => {
                    (self.last, self.look_at) = (None, None);
                    return Err(error);
                }
            }
        }
    }
}
