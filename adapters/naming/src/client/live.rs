//! One connection that speaks HTTP/1.1: [`Live`]. It has no task of its own: it moves only while somebody waits for it.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use hedge_core::time::Instant;
use hedge_link::{Connector, Dial, Endpoint, Runtime, RuntimeId, Stream, before};
use http::Response;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};

use super::ask::Ask;
use super::endpoints::Place;
use super::fault::Fault;
use super::options::HttpOptions;
use super::yielding::Yielding;

/// The most bytes of an answer's head.
const MAX_HEAD: usize = 64 * 1024;
/// The most headers of an answer.
const MAX_HEADERS: usize = 100;

type Running<R> = Connection<Yielding<Stream<<R as Dial>::Io>>, Payload>;

/// One connection. It is used only on the runtime that made it.
pub(super) struct Live<R: Runtime> {
    sender: SendRequest<Payload>,
    /// `None` once it has ended.
    connection: Option<Pin<Box<Running<R>>>>,
    runtime: RuntimeId,
    /// Whether what is sent cannot be read by others: it is encrypted, or stays on this machine.
    is_private: bool,
    /// Whether an answer has come on it, and been read whole.
    is_kept: bool,
}

impl<R: Runtime> Live<R> {
    pub(super) async fn open(runtime: &R, connector: &Connector<R>, place: &Place, by: Instant) -> Result<Self, Fault> {
        let connected = connector.connect(&place.address, Some(by)).await.map_err(Fault::Connect)?;
        let is_private = connector.is_tls() || is_local(&connected.info.remote);
        let mut builder = Builder::new();
        builder.max_buf_size(MAX_HEAD).max_headers(MAX_HEADERS);
        let handshake = before(runtime, Some(by), builder.handshake(Yielding::new(connected.io))).await;
        let (sender, connection) = handshake.ok_or(Fault::Late("the connection"))?.map_err(Fault::Broken)?;
        let connection = Some(Box::pin(connection));
        Ok(Self { sender, connection, runtime: runtime.id(), is_private, is_kept: false })
    }

    /// Whether another request may be sent.
    pub(super) fn is_usable(&self, runtime: &R) -> bool {
        self.is_kept && self.connection.is_some() && self.runtime == runtime.id() && !self.sender.is_closed()
    }

    /// Sends a request, and waits for the head of its answer.
    pub(super) async fn ask(
        &mut self,
        place: &Place,
        ask: &Ask,
        options: &HttpOptions,
    ) -> Result<Response<Incoming>, Fault> {
        if ask.is_confidential() && !self.is_private && !options.clear_text {
            return Err(Fault::ClearText);
        }
        let request = ask.request(place)?;
        self.is_kept = false;
        let Self { sender, connection, .. } = self;
        drive(connection, sender.ready()).await.map_err(Fault::Broken)?;
        drive(connection, sender.send_request(request)).await.map_err(Fault::Broken)
    }

    /// Reads a body to its end.
    pub(super) async fn whole(&mut self, body: &mut Incoming, limit: usize) -> Result<Bytes, Fault> {
        let announced = body.size_hint().lower();
        if usize::try_from(announced).map_or(true, |announced| announced > limit) {
            return Err(Fault::TooLarge("the answer", limit));
        }
        let mut whole = BytesMut::new();
        while let Some(data) = self.data(body).await? {
            if data.len() > limit - whole.len() {
                return Err(Fault::TooLarge("the answer", limit));
            }
            whole.extend_from_slice(&data);
        }
        self.is_kept = true;
        Ok(whole.freeze())
    }

    /// The next part of a body. `None` at its end.
    pub(super) async fn data(&mut self, body: &mut Incoming) -> Result<Option<Bytes>, Fault> {
        loop {
            let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx));
            match drive(&mut self.connection, frame).await {
                None => return Ok(None),
                Some(Err(error)) => return Err(Fault::Broken(error)),
                // What is not data is a trailer, which is the last frame.
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

/// Whether what is sent there stays on this machine.
fn is_local(remote: &Endpoint) -> bool {
    matches!(remote, Endpoint::Tcp(address) if address.ip().to_canonical().is_loopback())
}

/// Runs a future, and the connection that it needs.
async fn drive<C: Future, F: Future>(connection: &mut Option<Pin<Box<C>>>, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(output);
        }
        let Some(running) = connection else { return Poll::Pending };
        if running.as_mut().poll(cx).is_ready() {
            // Dropping it tells the future.
            *connection = None;
        }
        future.as_mut().poll(cx)
    })
    .await
}

/// The body of a request, which is sent at once.
pub(super) struct Payload(Option<Bytes>);

impl Payload {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n1_clear_text_stays_on_this_machine() {
        let is_local = |text: &str| is_local(&Endpoint::Tcp(text.parse().unwrap()));
        for text in ["127.0.0.1:1", "127.8.8.8:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(is_local(text), "{text}");
        }
        for text in ["10.0.0.1:1", "0.0.0.0:1", "[::]:1", "[fd00::1]:1", "[::ffff:10.0.0.1]:1", "128.0.0.1:1"] {
            assert!(!is_local(text), "{text}");
        }
    }
}
