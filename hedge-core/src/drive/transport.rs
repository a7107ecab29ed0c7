//! The traits that a user of the driver implements: a [`Transport`] that sends attempts, and a [`Timer`].

use core::future::Future;
use core::pin::Pin;

use super::along::Along;
use crate::call::Start;
use crate::id::{AttemptId, ServerId};
use crate::outcome::Kind;
use crate::policy::Idempotency;
use crate::time::{Duration, Instant, Micros};

/// Facts about an attempt, for the transport that sends it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct AttemptInfo<A> {
    /// The attempt's number in its call.
    pub attempt: AttemptId,
    /// Whether it is a first attempt, a retry or a backup.
    pub kind: Kind,
    /// The id of the attempt's server in its list.
    pub server: ServerId,
    /// The address of the server.
    pub address: A,
    /// The latest instant at which the connection must be established. The transport enforces this limit. `None` means
    /// that there is no limit.
    pub connect_deadline: Option<Instant>,
    /// The instant at which the attempt was started.
    pub started: Instant,
    /// Whether the request may be sent twice. The call, the transport and the channel decide this
    /// ([L15](crate::rules#L15)). If this is true and a reused connection breaks, the transport may send the request
    /// again on a new connection ([C3](crate::rules#C3)).
    pub idempotent: bool,
    /// Whether the attempt wins as soon as the head of its reply has arrived. The caller then reads the body later
    /// ([T2](crate::rules#T2)).
    pub streaming: bool,
    remaining: Option<Micros>,
}

impl<A> AttemptInfo<A> {
    /// Returns the time from the attempt's start to the call's deadline ([L2](crate::rules#L2)), or `None` if the call
    /// has no deadline. The driver enforces the deadline. A transport may send this time to the server.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        self.remaining.map(Micros::to_duration)
    }

    pub(super) fn new(start: Start, address: A, started: Instant, (idempotent, streaming): (bool, bool)) -> Self {
        let Start { attempt, kind, server, remaining, connect_deadline } = start;
        Self { attempt, kind, server, address, remaining, connect_deadline, started, idempotent, streaming }
    }

    /// Returns the facts of an attempt that begins its work later by `by`, for a transport that delays the attempts of
    /// another transport. The limit of the connection moves with the start, at most to the call's deadline. The time to
    /// the deadline shrinks. So the time that was spent before does not count as time to connect
    /// ([H1](crate::rules#H1)), and a server is told no more time than there is ([L2](crate::rules#L2)).
    #[must_use]
    pub fn delayed(self, by: Duration) -> Self {
        let by = Micros::from_duration(by);
        let started = self.started + by;
        let deadline = self.remaining.map_or(Instant::NEVER, |remaining| self.started + remaining);
        Self {
            started,
            connect_deadline: self.connect_deadline.map(|until| (until + by).min(deadline)),
            remaining: self.remaining.map(|_| deadline.micros_since(started)),
            ..self
        }
    }

    /// Returns a copy of these facts without the address, for code that must not see the address.
    #[must_use]
    pub const fn without_address(&self) -> AttemptInfo<()> {
        let Self { attempt, kind, server, remaining, connect_deadline, started, idempotent, streaming, .. } = *self;
        AttemptInfo { attempt, kind, server, address: (), remaining, connect_deadline, started, idempotent, streaming }
    }
}

/// Defines a transport trait. There are two such traits. They differ only in whether their futures may move between
/// threads.
macro_rules! transport {
    ($(#[$doc:meta])* $name:ident $(+ $send:ident)?) => {
        $(#[$doc])*
        pub trait $name {
            /// The type of a server's address.
            type Address;
            /// The type of a request.
            type Request: ?Sized;
            /// The type of a server's reply.
            type Reply;
            /// The reason why an attempt got no reply.
            type Error;

            /// Starts one attempt. The returned future sends `request` to the attempt's server and waits for the reply.
            fn start(
                &self,
                request: &Self::Request,
                attempt: AttemptInfo<Self::Address>,
            ) -> impl Future<Output = Result<Self::Reply, Self::Error>> $(+ $send)?;

            /// Starts one attempt, as [`start`](Self::start) does. `along` is what goes along with the attempt
            /// ([W3](crate::rules#W3)): the ids and the key of its call, and for a backup the server of the first
            /// attempt. A channel of `hedge-net` calls this method. By default, `along` is dropped and `start` is
            /// called. So a transport needs no code if it has no room for these data on the wire.
            ///
            /// A transport that wraps another one should pass `along` on, and the answer of
            /// [`wants_key`](Self::wants_key) too.
            fn start_along(
                &self,
                request: &Self::Request,
                attempt: AttemptInfo<Self::Address>,
                along: Along<'_, Self::Address>,
            ) -> impl Future<Output = Result<Self::Reply, Self::Error>> $(+ $send)? {
                let _ = along;
                self.start(request, attempt)
            }

            /// Returns whether this transport sends the call's idempotency key. If so, the host draws a key for each
            /// call whose caller has set none. By default it does not.
            fn wants_key(&self) -> bool {
                false
            }

            /// Returns whether this request may be sent twice, if the transport knows ([L15](crate::rules#L15)). For
            /// example, an HTTP transport decides by the request's method. The function `drive` does not call this
            /// method. A host uses this answer if the call's own options are `Unset`.
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
    /// A request is borrowed and never consumed ([T3](crate::rules#T3)), since one call may send it several times.
    /// Dropping the future abandons the attempt. If attempts move between threads, implement [`SendTransport`] instead;
    /// every [`SendTransport`] is also a [`Transport`].
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

    fn start_along(
        &self,
        request: &S::Request,
        attempt: AttemptInfo<S::Address>,
        along: Along<'_, S::Address>,
    ) -> impl Future<Output = Result<S::Reply, S::Error>> {
        SendTransport::start_along(self, request, attempt, along)
    }

    fn wants_key(&self) -> bool {
        SendTransport::wants_key(self)
    }

    fn idempotency(&self, request: &S::Request) -> Idempotency {
        SendTransport::idempotency(self, request)
    }
}

/// A clock together with a way to wait until an instant on this clock.
pub trait Timer {
    /// The future of a wait. It may finish late. If it finishes too early, the driver waits again.
    type Sleep: Future<Output = ()>;

    /// Returns the present instant on this timer's clock. The clock never goes back.
    fn now(&self) -> Instant;

    /// Returns a future that waits until `at`.
    fn sleep_until(&self, at: Instant) -> Self::Sleep;

    /// Makes `sleep` wait until `at`, whether or not `sleep` has finished. By default, a new sleep replaces the old
    /// one.
    fn reset(&self, mut sleep: Pin<&mut Self::Sleep>, at: Instant) {
        sleep.set(self.sleep_until(at));
    }
}
