//! Builds a parallel channel: [`ParallelBuilder`].

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use hedge_core::drive::Timer;
use hedge_core::time::Timeout;
use hedge_fleet::{CallEnd, Observer, Setup};

use super::mapper::{MapFn, Mapped, Unmapped};
use super::merger::Unmerged;
use super::{Inner, Parallel};
use crate::build_error::BuildError;
use crate::machine::{Change, Machine};

/// Makes a [`Parallel`]. The default timeout is brpc's, 500 ms.
#[must_use = "it is not built yet"]
pub struct ParallelBuilder<C, T, M = Unmapped, G = Unmerged> {
    timer: T,
    setup: Setup,
    name: Arc<str>,
    channels: Vec<(Arc<str>, C)>,
    mapper: M,
    merger: G,
    fail_limit: Option<usize>,
    success_limit: Option<usize>,
}

impl<C, T> ParallelBuilder<C, T> {
    pub(super) fn new(timer: T) -> Self {
        let mut setup = Setup::new();
        // A parallel call is one attempt.
        setup.options.max_retry = 0;
        let (channels, name) = (Vec::new(), "parallel".into());
        let (mapper, merger) = (Unmapped, Unmerged);
        Self { timer, setup, name, channels, mapper, merger, fail_limit: None, success_limit: None }
    }
}

impl<C, T, M, G> ParallelBuilder<C, T, M, G> {
    /// Sets the name of the channel, for reports. Default: `parallel`.
    pub fn name(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    /// Adds a sub-channel under a name. Its index is the number of sub-channels that were added before.
    pub fn channel(mut self, name: impl Into<Arc<str>>, channel: C) -> Self {
        self.channels.push((name.into(), channel));
        self
    }

    /// Sets how long a call may take from its start to its end. Default: 500 ms. The value 0 gives
    /// [`BuildError::Options`].
    pub fn timeout(self, timeout: Duration) -> Self {
        self.with_timeout(Timeout::after(timeout))
    }

    /// Lets calls take as long as their parts take: a call has no deadline, unless its own options set one.
    pub fn no_timeout(self) -> Self {
        self.with_timeout(Timeout::NEVER)
    }

    fn with_timeout(mut self, timeout: Timeout) -> Self {
        self.setup.options.timeout = timeout;
        self
    }

    /// Sets how many parts must fail for the call to fail. If fewer parts are sent, it fails when all of them have
    /// failed. Default: all parts that are sent. The value 0 gives [`BuildError::ZeroLimit`].
    pub const fn fail_limit(mut self, parts: usize) -> Self {
        self.fail_limit = Some(parts);
        self
    }

    /// Sets how many parts must succeed for the call to succeed before all parts have ended. Default: the call waits
    /// for all parts. If this number cannot be reached any more, only `fail_limit` decides whether the call fails. The
    /// value 0 gives [`BuildError::ZeroLimit`].
    pub const fn success_limit(mut self, parts: usize) -> Self {
        self.success_limit = Some(parts);
        self
    }

    /// Calls `on_end` at the end of every call that was not dropped. `on_end` gets the report of the call itself.
    pub fn on_end(mut self, on_end: impl Fn(&CallEnd<'_>) + Send + Sync + 'static) -> Self {
        self.setup.on_end = Some(Box::new(on_end));
        self
    }

    /// Adds an observer, which is notified of the start and the end of each call. A call is one attempt.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.setup.observers.add(observer);
        self
    }

    /// Sets the mapper, which makes the request of each part. Default: each part gets the whole request.
    pub fn mapper<Other>(self, mapper: Other) -> ParallelBuilder<C, T, Other, G> {
        let Self { timer, setup, name, channels, mapper: _, merger, fail_limit, success_limit } = self;
        ParallelBuilder { timer, setup, name, channels, mapper, merger, fail_limit, success_limit }
    }

    /// Sets a closure as the [mapper](Self::mapper). It gets the index of the sub-channel and the request.
    pub fn map<Request, Part, F>(self, map: F) -> ParallelBuilder<C, T, MapFn<F, Part>, G>
    where
        F: for<'r> Fn(usize, &'r Request) -> Mapped<'r, Part>,
    {
        self.mapper(MapFn::new(map))
    }

    /// Sets the merger, which joins the replies. Default: [`Unmerged`].
    pub fn merger<Other>(self, merger: Other) -> ParallelBuilder<C, T, M, Other> {
        let Self { timer, setup, name, channels, mapper, merger: _, fail_limit, success_limit } = self;
        ParallelBuilder { timer, setup, name, channels, mapper, merger, fail_limit, success_limit }
    }

    /// Builds the channel.
    ///
    /// # Errors
    /// The first setting that is invalid; see [`BuildError`].
    pub fn build(self) -> Result<Parallel<C, T, M, G>, BuildError>
    where
        T: Timer,
    {
        let Self { timer, setup, name, channels, mapper, merger, fail_limit, success_limit } = self;
        let limit = |limit: Option<usize>, name| match limit {
            None => Ok(None),
            Some(parts) => NonZeroUsize::new(parts).map(Some).ok_or(BuildError::ZeroLimit { limit: name }),
        };
        let (fail_limit, success_limit) = (limit(fail_limit, "fail_limit")?, limit(success_limit, "success_limit")?);
        let machine = Machine::new(setup, timer, "rr")?;
        machine.insert(Change::Insert(name, (), None))?;
        let channels = channels.into_boxed_slice();
        let inner = Inner { machine, channels, mapper, merger, fail_limit, success_limit };
        Ok(Parallel { inner: Arc::new(inner) })
    }
}

impl<C, T, M, G> fmt::Debug for ParallelBuilder<C, T, M, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.channels.iter().map(|(name, _)| name).collect();
        f.debug_struct("ParallelBuilder").field("channels", &names).field("setup", &self.setup).finish_non_exhaustive()
    }
}
