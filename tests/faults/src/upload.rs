//! What is sent: [`Requests`].

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hedge_net::Runtime;
use hedge_net::http::{BoxError, RequestBody};
use http::{Method, Request};
use http_body::{Frame, SizeHint};

use crate::fault::Fault;

/// An upload comes from a slow source: so many pieces …
const PIECES: u64 = 4;
/// … of so many bytes …
const PIECE: usize = 64 << 10;
/// … and so long between them. An early answer is there before the second.
const PAUSE: Duration = Duration::from_millis(1);

/// One upload in so many is in memory and as large as this: more than sockets buffer (4 MB by Linux's defaults), so that it
/// cannot be written where the server does not read.
const LARGE_EVERY: u64 = 20;
const LARGE: usize = 6 << 20;

/// The requests of a run.
#[derive(Clone, Debug)]
pub(crate) enum Requests {
    /// Without a body.
    Gets,
    /// PUTs from a slow source, and some large ones.
    Uploads { piece: Bytes, large: Bytes },
}

impl Requests {
    /// What a fault shows with.
    pub(crate) fn new(fault: Fault) -> Self {
        if fault.takes_uploads() {
            Self::Uploads { piece: vec![b'x'; PIECE].into(), large: vec![b'x'; LARGE].into() }
        } else {
            Self::Gets
        }
    }

    /// The request of one call.
    pub(crate) fn make<R: Runtime + Unpin>(&self, number: u64, runtime: &R) -> Request<RequestBody> {
        let Self::Uploads { piece, large } = self else { return request(Method::GET, RequestBody::Empty) };
        if number % LARGE_EVERY == LARGE_EVERY - 1 {
            return request(Method::PUT, large.clone().into());
        }
        let (runtime, piece) = (runtime.clone(), piece.clone());
        let source = move || Source { runtime: runtime.clone(), piece: piece.clone(), left: PIECES, pause: None };
        request(Method::PUT, RequestBody::factory(source))
    }
}

fn request(method: Method, body: RequestBody) -> Request<RequestBody> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    request
}

/// A body that comes piece by piece.
struct Source<R: Runtime> {
    runtime: R,
    piece: Bytes,
    left: u64,
    pause: Option<Pin<Box<R::Sleep>>>,
}

impl<R: Runtime + Unpin> http_body::Body for Source<R> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        if self.left > 0 {
            let until = self.runtime.now() + PAUSE;
            self.pause = Some(Box::pin(self.runtime.sleep_until(until)));
        }
        Poll::Ready(Some(Ok(Frame::data(self.piece.clone()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left * self.piece.len() as u64)
    }
}
