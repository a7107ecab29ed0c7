//! The service of a layer: [`Tied`].

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hedge_fleet::Spawn;
use hedge_http::along::{DROPPED, TIED};
use http::header::HeaderValue;
use http::{Request, Response, StatusCode};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::headers::{Refusal, Word};
use super::layer::Shared;
use super::messages::Tell;
use super::queue::{Answer, CopyId, CopyState, QueueFull};

/// A service behind a bounded queue; see [`TiedLayer`](super::TiedLayer). It is always ready, since the queue refuses
/// the requests that are too many. A clone of the inner service works on each request.
///
/// A request that the layer answers itself has an empty body in its response.
pub struct Tied<S, T, C> {
    service: S,
    shared: Arc<Shared<T, C>>,
}

impl<S, T, C> Tied<S, T, C> {
    pub(super) const fn new(service: S, shared: Arc<Shared<T, C>>) -> Self {
        Self { service, shared }
    }
}

impl<S, T: Spawn, C: Tell, Body, ResponseBody> Service<Request<Body>> for Tied<S, T, C>
where
    S: Service<Request<Body>, Response = Response<ResponseBody>> + Clone,
    ResponseBody: Default,
{
    type Response = Response<ResponseBody>;
    type Error = S::Error;
    type Future = TiedFuture<S, T, C, Body>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let stage = if self.shared.peers.is_message(&request) {
            Stage::Answered { status: self.shared.answer(&request), dropped: None }
        } else {
            let (key, first) = self.shared.peers.tie_of(request.headers());
            let hold = !self.shared.ask_timeout.is_zero();
            let arrived = self.shared.change(|queue| {
                let id = queue.arrive(key, first)?;
                if !hold {
                    queue.release(id);
                }
                Ok::<_, QueueFull>(id)
            });
            match arrived {
                Ok(id) => {
                    let service = self.service.clone();
                    let copy = InQueue { id: Some(id), shared: Arc::clone(&self.shared) };
                    Stage::Waiting { copy, service, request: Some(request) }
                }
                Err(QueueFull) => {
                    self.shared.counters.full.add_one();
                    Stage::unavailable("full")
                }
            }
        };
        TiedFuture { stage }
    }
}

impl<S: Clone, T, C> Clone for Tied<S, T, C> {
    fn clone(&self) -> Self {
        Self { service: self.service.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<S, T: Spawn, C: Tell, Body> fmt::Debug for TiedFuture<S, T, C, Body>
where
    S: Service<Request<Body>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TiedFuture").finish_non_exhaustive()
    }
}

impl<S: fmt::Debug, T, C> fmt::Debug for Tied<S, T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tied").field("service", &self.service).finish_non_exhaustive()
    }
}

impl<T: Spawn, C: Tell> Shared<T, C> {
    /// Obeys a message, if it comes from a peer. Returns the status of the answer.
    fn answer<Body>(self: &Arc<Self>, request: &Request<Body>) -> StatusCode {
        let message = match self.peers.read(request.headers(), request.extensions()) {
            Ok(message) => message,
            Err(refusal) => {
                self.counters.refused.add_one();
                return match refusal {
                    Refusal::NotAPeer => StatusCode::FORBIDDEN,
                    Refusal::Malformed => StatusCode::BAD_REQUEST,
                };
            }
        };
        let begun = self.change(|queue| match message.word {
            Word::Ask => queue.asked(message.from, message.key) == Answer::Begun,
            Word::Begun => {
                queue.told(message.key);
                false
            }
        });
        if begun { StatusCode::CONFLICT } else { StatusCode::NO_CONTENT }
    }
}

pin_project! {
    /// The future of a request. When it is dropped, the request leaves the queue.
    #[must_use = "futures do nothing unless polled"]
    pub struct TiedFuture<S, T, C, Body>
    where
        S: Service<Request<Body>>,
        T: Spawn,
        C: Tell,
    {
        #[pin]
        stage: Stage<S, T, C, Body>,
    }
}

pin_project! {
    #[project = StageNow]
    enum Stage<S, T, C, Body>
    where
        S: Service<Request<Body>>,
        T: Spawn,
        C: Tell,
    {
        Answered { status: StatusCode, dropped: Option<&'static str> },
        Waiting { copy: InQueue<T, C>, service: S, request: Option<Request<Body>> },
        AtWork { copy: InQueue<T, C>, #[pin] response: S::Future },
    }
}

impl<S, T, C, Body> Stage<S, T, C, Body>
where
    S: Service<Request<Body>>,
    T: Spawn,
    C: Tell,
{
    const fn unavailable(reason: &'static str) -> Self {
        Self::Answered { status: StatusCode::SERVICE_UNAVAILABLE, dropped: Some(reason) }
    }
}

impl<S, T: Spawn, C: Tell, Body, ResponseBody> Future for TiedFuture<S, T, C, Body>
where
    S: Service<Request<Body>, Response = Response<ResponseBody>>,
    ResponseBody: Default,
{
    type Output = Result<Response<ResponseBody>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut stage = self.project().stage;
        loop {
            let next = match stage.as_mut().project() {
                StageNow::Answered { status, dropped } => return Poll::Ready(Ok(answer(*status, *dropped))),
                StageNow::AtWork { copy, response } => {
                    let result = ready!(response.poll(cx));
                    // The future may be kept for longer, so the copy is given back now.
                    drop(copy.take());
                    return Poll::Ready(result);
                }
                StageNow::Waiting { copy, service, request } => {
                    if ready!(copy.poll_begun(cx)) {
                        if let Err(error) = ready!(service.poll_ready(cx)) {
                            // The future may be kept for longer, so the copy is given back now.
                            drop(copy.take());
                            return Poll::Ready(Err(error));
                        }
                        // The request is there until the copy is at work.
                        let Some(request) = request.take() else { return Poll::Pending };
                        copy.shared.counters.begun.add_one();
                        Stage::AtWork { copy: copy.take(), response: service.call(request) }
                    } else {
                        copy.shared.counters.dropped.add_one();
                        Stage::unavailable(TIED)
                    }
                }
            };
            stage.set(next);
        }
    }
}

/// The answer of the layer itself.
fn answer<Body: Default>(status: StatusCode, dropped: Option<&'static str>) -> Response<Body> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = status;
    if let Some(reason) = dropped {
        response.headers_mut().insert(DROPPED, HeaderValue::from_static(reason));
    }
    response
}

/// A copy in the queue, which leaves it when this is dropped.
struct InQueue<T: Spawn, C: Tell> {
    id: Option<CopyId>,
    shared: Arc<Shared<T, C>>,
}

impl<T: Spawn, C: Tell> InQueue<T, C> {
    /// Waits until the copy begins or is dropped. Returns whether it begins.
    fn poll_begun(&self, cx: &Context<'_>) -> Poll<bool> {
        match self.id {
            Some(id) => self.shared.poll_state(id, cx).map(|state| state == Some(CopyState::Begun)),
            None => Poll::Ready(false),
        }
    }

    /// Moves the copy out of this value.
    fn take(&mut self) -> Self {
        Self { id: self.id.take(), shared: Arc::clone(&self.shared) }
    }
}

impl<T: Spawn, C: Tell> Drop for InQueue<T, C> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.shared.leave(id);
        }
    }
}
