//! What the driver needs from outside: a [`Transport`] that sends attempts, and a [`Timer`].

use core::future::Future;
use core::pin::Pin;

use crate::call::Start;
use crate::id::{AttemptId, ServerId};
use crate::outcome::Kind;
use crate::policy::Idempotency;
use crate::time::{Duration, Instant, Micros};

/// What a transport is told about the attempt that it should make.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct AttemptInfo<A> {
    /// The attempt's number in its call.
    pub attempt: AttemptId,
    /// Why it is made.
    pub kind: Kind,
    /// The server.
    pub server: ServerId,
    /// Where the server is.
    pub address: A,
    /// When the connection must be established at the latest; the transport enforces it. `None`: no limit.
    pub connect_deadline: Option<Instant>,
    /// When it was started.
    pub started: Instant,
    /// Whether the request may be sent twice, as the call, the transport and the channel say ([L15](crate::rules#L15)).
    /// If so, a request that a broken connection has lost may be sent again on another one ([C3](crate::rules#C3)).
    pub idempotent: bool,
    /// Whether the attempt wins at its head, and the caller reads the body ([T2](crate::rules#T2)).
    pub streaming: bool,
    remaining: Option<Micros>,
}

impl<A> AttemptInfo<A> {
    /// The time that was left until the call's deadline when the attempt started ([L2](crate::rules#L2)); `None`
    /// without a deadline. The driver enforces the deadline; this is what a transport may tell the server.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        self.remaining.map(Micros::to_duration)
    }

    pub(super) fn new(start: Start, address: A, started: Instant, (idempotent, streaming): (bool, bool)) -> Self {
        let Start { attempt, kind, server, remaining, connect_deadline } = start;
        Self { attempt, kind, server, address, remaining, connect_deadline, started, idempotent, streaming }
    }

    /// The same without the address, for what is not to know it.
    #[must_use]
    pub const fn without_address(&self) -> AttemptInfo<()> {
        let Self { attempt, kind, server, remaining, connect_deadline, started, idempotent, streaming, .. } = *self;
        AttemptInfo { attempt, kind, server, address: (), remaining, connect_deadline, started, idempotent, streaming }
    }
}

/// The two traits of transports, which differ in whether their futures may move between threads.
macro_rules! transport {
    ($(#[$doc:meta])* $name:ident $(+ $send:ident)?) => {
        $(#[$doc])*
        pub trait $name {
            /// What an attempt is sent to.
            type Address;
            /// What is sent.
            type Request: ?Sized;
            /// What a server answers.
            type Reply;
            /// Why there is no answer.
            type Error;

            /// Starts one attempt.
            fn start(
                &self,
                request: &Self::Request,
                attempt: AttemptInfo<Self::Address>,
            ) -> impl Future<Output = Result<Self::Reply, Self::Error>> $(+ $send)?;

            /// Whether this request may be sent twice, where the transport can tell ([L15](crate::rules#L15)): HTTP
            /// goes by the method.
            fn idempotency(&self, request: &Self::Request) -> Idempotency {
                let _ = request;
                Idempotency::Unset
            }
        }
    };
}

transport! {
    /// Sends one attempt of a call and returns its result.
    ///
    /// A request is borrowed, never consumed ([T3](crate::rules#T3)): one call may send it several times. Dropping the
    /// future abandons the attempt. If attempts move between threads, implement [`SendTransport`] instead: every
    /// [`SendTransport`] is a [`Transport`] too.
    Transport
}

transport! {
    /// A [`Transport`] whose attempts may move between threads.
    SendTransport + Send
}

impl<S: SendTransport> Transport for S {
    type Address = S::Address;
    type Request = S::Request;
    type Reply = S::Reply;
    type Error = S::Error;

    fn start(
        &self,
        request: &S::Request,
        attempt: AttemptInfo<S::Address>,
    ) -> impl Future<Output = Result<S::Reply, S::Error>> {
        SendTransport::start(self, request, attempt)
    }

    fn idempotency(&self, request: &S::Request) -> Idempotency {
        SendTransport::idempotency(self, request)
    }
}

/// A clock, and a way to wait until an instant of it.
pub trait Timer {
    /// A future that waits. It may be late. If it is early, the driver waits again.
    type Sleep: Future<Output = ()>;

    /// The time on this timer's clock; never goes back.
    fn now(&self) -> Instant;

    /// Waits until `at`.
    fn sleep_until(&self, at: Instant) -> Self::Sleep;

    /// Makes `sleep`, finished or not, wait until `at` instead. The default makes a new one in its place.
    fn reset(&self, mut sleep: Pin<&mut Self::Sleep>, at: Instant) {
        sleep.set(self.sleep_until(at));
    }
}
