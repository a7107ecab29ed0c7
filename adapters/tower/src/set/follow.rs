//! A set that follows a stream of changes: [`Following`].

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use hedge_core::drive::Timer;
use tower_service::Service;

use super::{Change, HedgeSet};
use crate::{BoxError, Error, Plain, RetryErrors};

/// How many changes one poll takes from the stream. After that, other tasks can run.
const CHANGES_A_POLL: usize = 1024;

/// A [`HedgeSet`] that applies changes from a stream whenever it is polled for readiness.
///
/// The service is not ready while the set is empty and the stream has not ended. When the stream ends, the set stays as
/// it is. `poll_ready` returns an error of the stream once, and polls the stream again the next time. If the balancer
/// cannot arrange the list that the changes of one poll make, `poll_ready` returns a
/// [`ClusterError`](hedge_core::cluster::ClusterError) once, and these changes are dropped.
///
/// A `Following` owns its stream, so it cannot be cloned. The set that [`Following::set`] returns can be cloned, and
/// has the same servers.
pub struct Following<D, K, S, T, R = RetryErrors, C = Plain> {
    set: HedgeSet<K, S, T, R, C>,
    /// The stream of changes; `None` once it has ended.
    changes: Option<Pin<Box<D>>>,
    /// Changes from the stream that are not applied yet. Between two polls there are none, except after a panic of the
    /// stream.
    taken: Vec<Change<K, S>>,
}

impl<D, K, S, T, R, C> Following<D, K, S, T, R, C> {
    pub(super) fn new(set: HedgeSet<K, S, T, R, C>, changes: D) -> Self {
        Self { set, changes: Some(Box::pin(changes)), taken: Vec::new() }
    }

    /// The set that the changes are applied to.
    pub const fn set(&self) -> &HedgeSet<K, S, T, R, C> {
        &self.set
    }

    /// Applies the changes that the stream has ready now.
    fn poll_changes<E>(&mut self, cx: &mut Context<'_>) -> Result<(), BoxError>
    where
        D: Stream<Item = Result<Change<K, S>, E>>,
        E: Into<BoxError>,
        K: Ord + fmt::Display + 'static,
        T: Timer,
    {
        let Some(changes) = &mut self.changes else { return Ok(()) };
        let mut ended = false;
        let mut result = Ok(());
        while self.taken.len() < CHANGES_A_POLL {
            match changes.as_mut().poll_next(cx) {
                Poll::Ready(Some(Ok(change))) => self.taken.push(change),
                Poll::Ready(Some(Err(error))) => {
                    result = Err(error.into());
                    break;
                }
                Poll::Ready(None) => {
                    ended = true;
                    break;
                }
                Poll::Pending => break,
            }
        }
        if self.taken.len() == CHANGES_A_POLL {
            cx.waker().wake_by_ref();
        }
        if ended {
            self.changes = None;
        }
        if !self.taken.is_empty() {
            self.set.apply(std::mem::take(&mut self.taken))?;
        }
        result
    }
}

impl<D, E, K, S, T, R, C, Request> Service<Request> for Following<D, K, S, T, R, C>
where
    D: Stream<Item = Result<Change<K, S>, E>>,
    E: Into<BoxError>,
    K: Ord + fmt::Display + 'static,
    S: Service<Request>,
    T: Timer,
    HedgeSet<K, S, T, R, C>: Service<Request, Error = Error<S::Error>>,
{
    type Response = <HedgeSet<K, S, T, R, C> as Service<Request>>::Response;
    type Error = Error<S::Error>;
    type Future = <HedgeSet<K, S, T, R, C> as Service<Request>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.poll_changes(cx).map_err(Error::Discover)?;
        if self.set.is_empty() && self.changes.is_some() {
            return Poll::Pending;
        }
        self.set.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        self.set.call(request)
    }
}

impl<D, K: fmt::Debug, S, T, R, C> fmt::Debug for Following<D, K, S, T, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Following").field("set", &self.set).field("ended", &self.changes.is_none()).finish()
    }
}
