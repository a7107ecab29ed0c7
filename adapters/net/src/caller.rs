//! A channel as one caller among others: [`Caller`].

use std::future::Future;

use hedge_core::drive::SendTransport;
use hedge_core::outcome::Verdict;
use hedge_core::policy::Idempotency;
use hedge_fleet::{Address, CallOptions, Caller, Outcome, Trace};
use hedge_link::Runtime;

use crate::channel::{CallResult, Channel};
use crate::error::CallError;
use crate::reply::Reply;

impl<R, T> Caller<T::Request> for Channel<R, T>
where
    R: Runtime,
    T: SendTransport<Address = Address, Request: Sized + Send + Sync> + Send + Sync + 'static,
    T::Reply: Send,
    T::Error: Send,
{
    type Reply = Reply<T::Reply>;
    type Error = CallError<T::Reply, T::Error>;

    fn call_with(&self, request: &T::Request, options: &CallOptions) -> impl Future<Output = CallResult<T>> + Send {
        self.call_borrowed(request, options)
    }

    fn has_usable_server(&self) -> bool {
        self.any_usable()
    }

    fn idempotency(&self, request: &T::Request) -> Idempotency {
        let settings = &self.inner().settings;
        match self.transport().idempotency(request) {
            Idempotency::Unset => settings.inherited(&settings.hold()).idempotency,
            known => known,
        }
    }

    fn wants_key(&self) -> bool {
        self.transport().wants_key()
    }
}

impl<B> Outcome for Reply<B> {
    fn trace(&self) -> &Trace {
        self.trace()
    }

    fn verdict(&self) -> Verdict {
        Verdict::Accept
    }

    fn never_left(&self) -> bool {
        false
    }

    fn all_down(&self) -> bool {
        false
    }
}

/// If no server of this channel could serve the call, another channel may have one that can, so the verdict is `Retry`.
/// After the deadline, no other channel has time left. A refusal of an interceptor is meant for the call.
impl<B, E> Outcome for CallError<B, E> {
    fn trace(&self) -> &Trace {
        self.trace()
    }

    fn verdict(&self) -> Verdict {
        match self {
            Self::Failed { .. } | Self::NoServer { .. } | Self::AllDown { .. } | Self::AllFull { .. } => Verdict::Retry,
            Self::Deadline { .. } | Self::NoList { .. } => Verdict::Wait,
            Self::Fatal { .. } | Self::Cancelled { .. } | Self::Refused { .. } | Self::Config { .. } => Verdict::Fatal,
        }
    }

    fn never_left(&self) -> bool {
        self.trace().never_left()
    }

    fn all_down(&self) -> bool {
        matches!(self, Self::NoServer { .. } | Self::NoList { .. } | Self::AllDown { .. })
    }
}
