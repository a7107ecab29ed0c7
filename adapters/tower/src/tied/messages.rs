//! Sends messages to other servers: [`Tell`].

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use hedge_core::time::Duration;
use hedge_fleet::{Spawn, caught_in};
use http::{Request, StatusCode};

use super::headers::Word;
use super::layer::Shared;
use super::queue::{Answer, CopyId, Effect};

/// Sends messages to other servers. The program implements this trait with its HTTP client, or passes a closure.
///
/// A channel of hedge is one such client. The message's URI is a path, and the call names its server
/// ([S8](hedge_core::rules#S8)):
///
/// ```
/// use std::net::SocketAddr;
///
/// use hedge_tokio::hedge_net::CallOptions;
/// use http::{Request, StatusCode};
/// # fn client() -> Result<impl hedge_tower::tied::Tell, Box<dyn std::error::Error>> {
/// let channel = hedge_tokio::builder("list://10.0.0.2:80,10.0.0.3:80").load_balancer("rr").max_retry(0).build()?;
/// let tell = move |to: SocketAddr, message: Request<()>| {
///     let channel = channel.clone();
///     async move {
///         let options = CallOptions { servers: Some(vec![to.into()]), ..CallOptions::new() };
///         let (head, ()) = message.into_parts();
///         let mut request = channel.request(head.method, head.uri.path()).options(options);
///         for (name, value) in &head.headers {
///             request = request.header(name, value.clone());
///         }
///         request.await.ok().map(|reply| reply.status())
///     }
/// };
/// # Ok(tell)
/// # }
/// ```
pub trait Tell: Send + Sync + 'static {
    /// Sends the message to the server and returns the status of its answer. Returns `None` if there is no answer. The
    /// layer drops the future if it takes too long.
    fn tell(&self, to: SocketAddr, message: Request<()>) -> impl Future<Output = Option<StatusCode>> + Send;
}

impl<F, Sent> Tell for F
where
    F: Fn(SocketAddr, Request<()>) -> Sent + Send + Sync + 'static,
    Sent: Future<Output = Option<StatusCode>> + Send,
{
    fn tell(&self, to: SocketAddr, message: Request<()>) -> impl Future<Output = Option<StatusCode>> + Send {
        self(to, message)
    }
}

/// How many messages are in flight, and how many may be.
#[derive(Debug)]
pub(super) struct InFlight {
    now: AtomicUsize,
    max: usize,
}

impl InFlight {
    pub(super) const fn new(max: usize) -> Self {
        Self { now: AtomicUsize::new(0), max }
    }

    fn enter(&self) -> bool {
        self.now.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| (now < self.max).then_some(now + 1)).is_ok()
    }

    fn leave(&self) {
        self.now.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A message on its way. When this value is dropped without an answer, the copy is no longer held.
struct Sending<T: Spawn, C: Tell> {
    shared: Arc<Shared<T, C>>,
    copy: Option<CopyId>,
    answered: bool,
}

impl<T: Spawn, C: Tell> Sending<T, C> {
    fn release(&self) {
        if let Some(copy) = self.copy {
            self.shared.change(|queue| queue.release(copy));
        }
    }
}

impl<T: Spawn, C: Tell> Drop for Sending<T, C> {
    fn drop(&mut self) {
        let counters = &self.shared.counters;
        self.shared.in_flight.leave();
        if self.answered {
            counters.told.add_one();
        } else {
            counters.unanswered.add_one();
            self.release();
        }
    }
}

/// Sends the message of an effect, if not too many are in flight.
pub(super) fn send<T: Spawn, C: Tell>(shared: &Arc<Shared<T, C>>, effect: Effect<SocketAddr>) {
    let (to, key, copy) = match effect {
        Effect::Changed(_) => return,
        Effect::Ask { to, key, copy } => (to, key, Some(copy)),
        Effect::Tell { to, key } => (to, key, None),
    };
    if !shared.in_flight.enter() {
        shared.counters.unanswered.add_one();
        if let Some(copy) = copy {
            shared.change(|queue| queue.release(copy));
        }
        return;
    }
    let message = shared.peers.write(key, if copy.is_some() { Word::Ask } else { Word::Begun });
    let sending = Sending { shared: Arc::clone(shared), copy, answered: false };
    shared.runtime.try_spawn(run(sending, to, message));
}

async fn run<T: Spawn, C: Tell>(mut sending: Sending<T, C>, to: SocketAddr, message: Request<()>) {
    let shared = Arc::clone(&sending.shared);
    let tell = &shared.tell;
    let mut answer = pin!(caught_in(async move { tell.tell(to, message).await }));
    let mut early = None;
    if sending.copy.is_some() {
        early = within(&shared.runtime, shared.ask_timeout, answer.as_mut()).await;
        if early.is_none() {
            sending.release();
        }
    }
    let answer = match early {
        Some(answer) => answer,
        None => within(&shared.runtime, shared.tell_timeout, answer).await.flatten(),
    };
    let Some(status) = answer.flatten() else { return };
    sending.answered = true;
    if let Some(copy) = sending.copy {
        let answer = if status == StatusCode::CONFLICT { Answer::Begun } else { Answer::NotBegun };
        shared.change(|queue| queue.answered(copy, answer));
    }
}

/// The output of a future, or `None` if it takes longer.
async fn within<T: Spawn, F: Future>(runtime: &T, time: Duration, mut future: Pin<&mut F>) -> Option<F::Output> {
    let mut sleep = pin!(runtime.sleep_until(runtime.now() + time));
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => sleep.as_mut().poll(cx).map(|()| None),
    })
    .await
}
