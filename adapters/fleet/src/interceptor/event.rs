//! The events that an interceptor sees: [`BeforeCall`], [`BeforeAttempt`], [`AfterAttempt`] and [`AfterCall`].

use std::error::Error as StdError;
use std::fmt;

use hedge_core::drive::AttemptInfo;

use super::changed::Changed;
use crate::end::CallEnd;
use crate::observer::ServerRef;
use crate::options::CallOptions;

/// A call that is about to start.
pub struct BeforeCall<'a, Request> {
    pub(super) request: Changed<'a, Request>,
    pub(super) options: Changed<'a, CallOptions>,
}

impl<Request> BeforeCall<'_, Request> {
    /// Returns the request, with the changes of the interceptors that were asked before.
    #[must_use]
    pub fn request(&self) -> &Request {
        self.request.get()
    }

    /// Returns the options, with the changes of the interceptors that were asked before. For an option that is `None`,
    /// the channel's value is used.
    #[must_use]
    pub fn options(&self) -> &CallOptions {
        self.options.get()
    }

    /// Returns the options so that they can be changed. The first change of a call copies them.
    ///
    /// A timeout counts from the start of the call, which is before the first interceptor.
    pub fn options_mut(&mut self) -> &mut CallOptions {
        self.options.get_mut()
    }
}

impl<Request: Clone> BeforeCall<'_, Request> {
    /// Returns the request so that it can be changed. The first change of a call copies it; the caller's own request
    /// stays unchanged.
    ///
    /// All parts of the request may be changed. The changed request is checked like a request of the caller. Whether it
    /// may be sent twice is judged after the change ([L15](hedge_core::rules#L15)).
    pub fn request_mut(&mut self) -> &mut Request {
        self.request.get_mut()
    }
}

impl<Request> fmt::Debug for BeforeCall<'_, Request> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BeforeCall").field("options", self.options()).finish_non_exhaustive()
    }
}

/// An attempt that is about to be sent.
pub struct BeforeAttempt<'a, Request> {
    pub(super) info: AttemptInfo<()>,
    pub(super) server: ServerRef<'a>,
    pub(super) request: Changed<'a, Request>,
}

impl<'a, Request> BeforeAttempt<'a, Request> {
    /// Returns facts about the attempt: its number in its call, its kind, and the time that is left.
    #[must_use]
    pub const fn info(&self) -> &AttemptInfo<()> {
        &self.info
    }

    /// Returns the server that the attempt goes to.
    #[must_use]
    pub const fn server(&self) -> ServerRef<'a> {
        self.server
    }

    /// Returns the request, with the changes of the interceptors that were asked before.
    #[must_use]
    pub fn request(&self) -> &Request {
        self.request.get()
    }
}

impl<Request: Clone> BeforeAttempt<'_, Request> {
    /// Returns the request so that it can be changed for this attempt alone. The first change of an attempt copies it.
    ///
    /// Use this to change headers. Whether the request may be sent twice was judged earlier
    /// ([L15](hedge_core::rules#L15)). Therefore HTTP ignores all other changes. With another transport, do not change
    /// anything that affects what the server does.
    pub fn request_mut(&mut self) -> &mut Request {
        self.request.get_mut()
    }
}

impl<Request> fmt::Debug for BeforeAttempt<'_, Request> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BeforeAttempt").field("info", &self.info).field("server", &self.server).finish_non_exhaustive()
    }
}

/// An attempt that has ended.
pub struct AfterAttempt<'a, Request, Reply, Error> {
    pub(super) info: AttemptInfo<()>,
    pub(super) server: ServerRef<'a>,
    pub(super) request: &'a Request,
    pub(super) result: Option<Result<&'a Reply, &'a Error>>,
}

impl<'a, Request, Reply, Error> AfterAttempt<'a, Request, Reply, Error> {
    /// Returns facts about the attempt, as they were at its start.
    #[must_use]
    pub const fn info(&self) -> &AttemptInfo<()> {
        &self.info
    }

    /// Returns the server that the attempt went to.
    #[must_use]
    pub const fn server(&self) -> ServerRef<'a> {
        self.server
    }

    /// Returns the request in the form in which it was sent.
    #[must_use]
    pub const fn request(&self) -> &'a Request {
        self.request
    }

    /// Returns the transport's result. Returns `None` in two cases. First, the attempt was abandoned: another attempt
    /// decided the call, the attempt's time was up ([L21](hedge_core::rules#L21)), the deadline passed, or the call was
    /// cancelled or dropped. Second, an inner interceptor, which comes later in the order, refused the attempt.
    #[must_use]
    pub const fn result(&self) -> Option<Result<&'a Reply, &'a Error>> {
        self.result
    }
}

impl<Request, Reply, Error> fmt::Debug for AfterAttempt<'_, Request, Reply, Error> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AfterAttempt").field("info", &self.info).field("server", &self.server).finish_non_exhaustive()
    }
}

/// How a call ended, for an interceptor that has let the call pass.
#[derive(Debug)]
#[non_exhaustive]
pub enum CallOutcome<'a, Reply, Error> {
    /// There is a reply. It comes from a server, or from an inner interceptor. The attempts in [`AfterCall::end`] show
    /// which of the two sent it.
    Replied(&'a Reply),
    /// There is no reply. [`AfterCall::end`] says why. The value is the last failure of an attempt. It is `None` if no
    /// attempt failed.
    Failed(Option<&'a Result<Reply, Error>>),
    /// An inner interceptor refused the call, or some interceptor refused one of the call's attempts.
    Refused(&'a (dyn StdError + Send + Sync)),
    /// The call's future was dropped. In this case [`AfterCall::end`] has no attempts; the earlier notices to
    /// `after_attempt` show them.
    Dropped,
}

impl<Reply, Error> Clone for CallOutcome<'_, Reply, Error> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Reply, Error> Copy for CallOutcome<'_, Reply, Error> {}

/// A call that has ended.
pub struct AfterCall<'a, Request, Reply, Error> {
    pub(super) request: &'a Request,
    pub(super) options: &'a CallOptions,
    pub(super) outcome: CallOutcome<'a, Reply, Error>,
    pub(super) end: CallEnd<'a>,
}

impl<'a, Request, Reply, Error> AfterCall<'a, Request, Reply, Error> {
    /// Returns the request, with the changes of the interceptors.
    #[must_use]
    pub const fn request(&self) -> &'a Request {
        self.request
    }

    /// Returns the options, with the changes of the interceptors.
    #[must_use]
    pub const fn options(&self) -> &'a CallOptions {
        self.options
    }

    /// Returns how the call ended.
    #[must_use]
    pub const fn outcome(&self) -> CallOutcome<'a, Reply, Error> {
        self.outcome
    }

    /// Returns the report of the call, and the servers that it tried. If the call was not started, its report has no
    /// end and no attempts.
    #[must_use]
    pub const fn end(&self) -> &CallEnd<'a> {
        &self.end
    }
}

impl<Request, Reply, Error> fmt::Debug for AfterCall<'_, Request, Reply, Error> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AfterCall").field("options", &self.options).field("end", &self.end).finish_non_exhaustive()
    }
}
