//! Requests and replies over hyper's connection, which runs in a task of its own: [`Exchange`].

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use ::http::{Request, Response};
use futures_channel::oneshot;
use hedge_link::Runtime;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};

use super::conn_state::ConnState;
use super::counters::OpenConnection;
use super::outgoing::SendBody;

/// The error that hyper gives for a request. It is boxed, because it may hold the request.
pub(super) type SendFailure = Box<TrySendError<Request<SendBody>>>;

/// The result that hyper gives for a request.
type HyperReply = Result<Response<Incoming>, TrySendError<Request<SendBody>>>;

type Sender = http1::SendRequest<SendBody>;

/// hyper's sender of requests, and the future of the reply that is awaited, without their types. Dropping it ends the
/// connection's task, and that closes the socket.
///
/// A connection has a task although one attempt at a time uses it: the task writes after all callers that are ready have
/// handed over their requests. With 64 callers on a thread this costs less processor time than attempts that write
/// themselves, because the server gets the requests in bursts.
pub(super) trait Exchange: Send {
    /// Hands a request over.
    fn send(&mut self, request: Request<SendBody>);

    /// Ready when there is a reply or an error. The reply is put into `reply`. After an error, the connection must be
    /// dropped.
    fn poll_reply(
        &mut self,
        cx: &mut Context<'_>,
        reply: &mut Option<Response<Incoming>>,
    ) -> Poll<Result<(), SendFailure>>;

    /// Ready when the next request may be sent. False if the connection will never take another one.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<bool>;

    /// Whether the connection has been closed.
    fn is_closed(&self) -> bool;
}

struct HyperExchange<F> {
    /// `None` once the connection has ended. Dropping it brings back a request that was never taken out of its channel.
    sender: Option<Sender>,
    send: fn(&mut Sender, Request<SendBody>) -> F,
    /// The future of the reply, which cannot be moved. Its place is made once and serves all requests.
    reply: Pin<Box<Option<F>>>,
    /// Dropping this ends the connection's task. It also shows whether the task has ended.
    open: oneshot::Sender<Infallible>,
}

/// Starts the task of a connection. `counted` counts the connection as open.
pub(super) fn run<R: Runtime>(
    runtime: &R,
    sender: Sender,
    connection: impl Future<Output = hyper::Result<()>> + Send + 'static,
    state: Arc<ConnState>,
    counted: Option<OpenConnection>,
) -> Box<dyn Exchange> {
    let (open, mut closed) = oneshot::channel();
    runtime.spawn(async move {
        let _counted = counted;
        let mut connection = pin!(connection);
        poll_fn(|cx| {
            if Pin::new(&mut closed).poll(cx).is_ready() {
                return Poll::Ready(());
            }
            state.poll_bytes.begin_poll();
            // The sender of a request is told of its error, and an error on an idle connection concerns no request. So
            // the error is dropped here.
            connection.as_mut().poll(cx).map(drop)
        })
        .await;
    });
    // The type of hyper's future of a reply has no name, so a closure brings it.
    let send = |sender: &mut Sender, request| sender.try_send_request(request);
    Box::new(HyperExchange { sender: Some(sender), send, reply: Box::pin(None), open })
}

impl<F: Future<Output = HyperReply>> HyperExchange<F> {
    fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut Option<Response<Incoming>>,
    ) -> Poll<Result<(), SendFailure>> {
        let Some(reply) = self.reply.as_mut().as_pin_mut() else { return Poll::Pending };
        match ready!(reply.poll(cx)) {
            Ok(response) => {
                *to = Some(response);
                Poll::Ready(Ok(()))
            }
            Err(error) => Poll::Ready(Err(Box::new(error))),
        }
    }
}

impl<F: Future<Output = HyperReply> + Send> Exchange for HyperExchange<F> {
    fn send(&mut self, request: Request<SendBody>) {
        match &mut self.sender {
            Some(sender) => self.reply.set(Some((self.send)(sender, request))),
            None => self.reply.set(None),
        }
    }

    fn poll_reply(
        &mut self,
        cx: &mut Context<'_>,
        reply: &mut Option<Response<Incoming>>,
    ) -> Poll<Result<(), SendFailure>> {
        let mut polled = self.poll_answer(cx, reply);
        if polled.is_pending() && self.open.poll_canceled(cx).is_ready() {
            // The task ended while the request was put into its channel, so it never took the request out. Dropping the
            // sender closes the channel, and then the request comes back.
            self.sender = None;
            polled = self.poll_answer(cx, reply);
        }
        if polled.is_ready() {
            self.reply.set(None);
        }
        polled
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        match &mut self.sender {
            Some(sender) => sender.poll_ready(cx).map(|ready| ready.is_ok()),
            None => Poll::Ready(false),
        }
    }

    fn is_closed(&self) -> bool {
        self.sender.as_ref().is_none_or(Sender::is_closed)
    }
}
