//! Where the body of an answer comes from: [`Source`].

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hedge_link::ConnectionInfo;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use super::drain::Abandoned;
#[cfg(feature = "http2")]
use super::http2::Http2Body;
use super::pool::PoolHandle;
use crate::connection::{Busy, Connection};
use crate::error::Received;
use crate::outgoing::BodyProgress;

/// The rest of an answer, and the connection or the stream that it comes on.
pub(crate) enum Source {
    Http1(Http1Body),
    #[cfg(feature = "http2")]
    Http2(Http2Body),
}

impl Source {
    /// The next frame. The end comes only when the connection is back in its pool.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Received>>> {
        match self {
            Self::Http1(body) => body.poll_frame(cx),
            #[cfg(feature = "http2")]
            Self::Http2(body) => body.poll_frame(cx),
        }
    }

    /// Whether the body has ended. Its connection may still have to go back.
    pub(crate) fn has_ended(&self) -> bool {
        match self {
            Self::Http1(body) => body.has_ended,
            #[cfg(feature = "http2")]
            Self::Http2(body) => body.has_ended(),
        }
    }

    /// Whether nothing is left to do: the body has ended, and its connection is back in its pool or closed.
    pub(crate) fn is_settled(&self) -> bool {
        match self {
            Self::Http1(body) => body.has_ended && body.connection.is_none(),
            #[cfg(feature = "http2")]
            Self::Http2(body) => body.has_ended(),
        }
    }

    /// Whether the body is known to be empty, or to have ended together with its head.
    pub(crate) fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.incoming.is_end_stream(),
            #[cfg(feature = "http2")]
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.incoming.size_hint(),
            #[cfg(feature = "http2")]
            Self::Http2(body) => body.size_hint(),
        }
    }

    /// Ends the answer here. Over HTTP/1.1 the connection is closed, over HTTP/2 the stream is reset.
    pub(crate) fn close(&mut self) {
        match self {
            Self::Http1(body) => body.close(),
            #[cfg(feature = "http2")]
            Self::Http2(body) => body.close(),
        }
    }

    /// The attempt is abandoned ([C2](hedge_core::rules#C2)).
    pub(crate) fn abandon(self) {
        match self {
            Self::Http1(body) => body.abandon(),
            // It resets its stream when it is dropped.
            #[cfg(feature = "http2")]
            Self::Http2(_) => {}
        }
    }

    /// The addresses of the connection.
    pub(crate) fn info(&self) -> &Arc<ConnectionInfo> {
        match self {
            Self::Http1(body) => &body.info,
            #[cfg(feature = "http2")]
            Self::Http2(body) => body.info(),
        }
    }
}

/// A body over HTTP/1.1.
pub(crate) struct Http1Body {
    incoming: Incoming,
    /// The connection and its pool, until the connection has gone back or is closed.
    connection: Option<(Connection, Arc<dyn PoolHandle>)>,
    /// The progress of the request's body, if that may be sent later than its head.
    sent: Option<BodyProgress>,
    info: Arc<ConnectionInfo>,
    has_ended: bool,
}

impl Http1Body {
    /// The body of the reply on a connection. At its end, the connection goes back to `pool_handle`.
    pub(crate) fn new(incoming: Incoming, on: Busy, pool_handle: Arc<dyn PoolHandle>) -> Self {
        let Busy { connection, sent, info } = on;
        Self { incoming, connection: Some((connection, pool_handle)), sent, info, has_ended: false }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Received>>> {
        if !self.has_ended {
            match ready!(Pin::new(&mut self.incoming).poll_frame(cx)) {
                Some(Ok(frame)) => return Poll::Ready(Some(Ok(frame))),
                Some(Err(error)) => {
                    self.close();
                    return Poll::Ready(Some(Err(Received::of(error, self.sent.as_ref()))));
                }
                None => {
                    self.has_ended = true;
                    // The server answered before it had the whole request, so it may never read the rest (T5): the
                    // connection is closed.
                    self.connection.take_if(|(connection, _)| !connection.is_free());
                }
            }
        }
        // The connection's task has read the end of the reply. It becomes ready for the next request or closes, so this
        // does not wait for the network.
        if let Some((connection, _)) = &mut self.connection {
            let ready = ready!(connection.poll_ready(cx));
            if let (true, Some((connection, pool_handle))) = (ready, self.connection.take()) {
                pool_handle.give_back(connection);
            }
        }
        Poll::Ready(None)
    }

    fn close(&mut self) {
        self.has_ended = true;
        self.connection = None;
    }

    fn abandon(self) {
        let Self { incoming, connection, .. } = self;
        if let Some((connection, pool_handle)) = connection {
            pool_handle.abandon(Abandoned { connection, body: Some(incoming), idle_since: None });
        }
    }
}
