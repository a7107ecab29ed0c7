//! Makes a source cancel-safe: [`Resumed`].

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use hedge_fleet::{Naming, NamingError, Update};
use hedge_link::{Runtime, RuntimeId};

/// What a source has open: its connection, and what it knows. Its `next` need not be cancel-safe. The first update must
/// be a [`Update::Reset`].
pub(crate) trait Session: Send + 'static {
    /// Waits for the next update. After an error the session may be asked again.
    fn next(&mut self) -> impl Future<Output = Result<Update, NamingError>> + Send;
}

/// A source made from a session. The future of the session's step is kept here. So if the future of [`Naming::next`] is
/// dropped, the step goes on with the next call, and nothing is lost. On another runtime, and after a panic, a new session
/// begins.
pub(crate) struct Resumed<R, S, F> {
    runtime: R,
    make: F,
    state: State<S>,
    /// The runtime that the session began on.
    on: RuntimeId,
}

type Step<S> = Pin<Box<dyn Future<Output = (S, Result<Update, NamingError>)> + Send>>;

enum State<S> {
    None,
    Ready(S),
    Busy(Step<S>),
}

impl<R: Runtime, S: Session, F: Fn() -> S + Send + 'static> Resumed<R, S, F> {
    pub(crate) fn new(runtime: R, make: F) -> Self {
        Self { runtime, make, state: State::None, on: RuntimeId::default() }
    }

    /// The step that is under way, or the next one.
    fn step(&mut self) -> Step<S> {
        let here = self.runtime.id();
        let state = std::mem::replace(&mut self.state, State::None);
        let mut session = match state {
            State::Busy(step) if self.on == here => return step,
            State::Ready(session) if self.on == here => session,
            _ => (self.make)(),
        };
        self.on = here;
        Box::pin(async move {
            let update = session.next().await;
            (session, update)
        })
    }
}

impl<R: Runtime, S: Session, F: Fn() -> S + Send + 'static> Naming for Resumed<R, S, F> {
    async fn next(&mut self) -> Result<Update, NamingError> {
        poll_fn(|cx| {
            // It is taken out, so that it is not polled again after a panic.
            let mut step = self.step();
            match step.as_mut().poll(cx) {
                Poll::Pending => {
                    self.state = State::Busy(step);
                    Poll::Pending
                }
                Poll::Ready((session, update)) => {
                    self.state = State::Ready(session);
                    Poll::Ready(update)
                }
            }
        })
        .await
    }
}
