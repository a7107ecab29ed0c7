//! The body of a reply: [`GrpcBody`].

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::error::GrpcError;
use super::status;
use crate::http::{Body, BodyError};

/// The body of a reply. The body is received while it is read. If receiving fails, the body ends with trailers that
/// contain a gRPC status, such as `DEADLINE_EXCEEDED` at the call's deadline. Reading returns an error only if the body
/// of the request has failed.
#[derive(Debug)]
pub struct GrpcBody {
    body: Body,
    has_failed: bool,
}

impl GrpcBody {
    pub(super) const fn new(body: Body) -> Self {
        Self { body, has_failed: false }
    }

    /// Returns the body of the transport. If receiving fails, this body returns a [`BodyError`], not trailers.
    #[must_use]
    pub fn into_inner(self) -> Body {
        self.body
    }
}

/// The default is an empty body. The interceptors of tonic use it for their answers.
impl Default for GrpcBody {
    fn default() -> Self {
        Self::new(Body::new(""))
    }
}

impl http_body::Body for GrpcBody {
    type Data = Bytes;
    type Error = GrpcError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, GrpcError>>> {
        if self.has_failed {
            return Poll::Ready(None);
        }
        Pin::new(&mut self.body).poll_frame(cx).map(|frame| {
            let error = match frame? {
                Ok(frame) => return Some(Ok(frame)),
                Err(error) => error,
            };
            self.has_failed = true;
            Some(match error {
                BodyError::RequestBody(error) => Err(GrpcError::RequestBody(error)),
                error => Ok(Frame::trailers(status::of_body(&error))),
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.has_failed || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
