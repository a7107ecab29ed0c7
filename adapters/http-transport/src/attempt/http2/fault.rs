//! The meaning of an error of h2 for its request: [`Http2Fault`].

use std::io;

use h2::{Error, Reason};

use crate::break_error::BreakError;
use crate::error::{ProtocolError, Received};
use crate::outgoing::BodyProgress;

/// The reason why a request over HTTP/2 has no answer, or no complete answer.
pub(super) enum Http2Fault {
    /// The server said that it has not processed the request ([C3](hedge_core::rules#C3)).
    NotProcessed(BreakError),
    /// The connection broke. If the connection was reused, this may say nothing about the server.
    Broken(BreakError),
    /// An error whose meaning is the same on new and reused connections.
    Other(Received),
}

impl Http2Fault {
    /// Makes the fault for an error of h2. If the request's own body has failed, the fault is this failure, since it
    /// has reset the stream and so caused the error.
    pub(super) fn of(error: Error, body: Option<&BodyProgress>) -> Self {
        if let Some(failure) = body.and_then(BodyProgress::take_failure) {
            return Self::Other(Received::RequestBody(failure));
        }
        let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
        // Only the streams above the last stream of a GOAWAY get the GOAWAY as their error.
        if error.is_remote() && (error.is_go_away() || refused) {
            Self::NotProcessed(error.into())
        } else if error.is_remote() {
            Self::Other(Received::Reset(error.into()))
        } else if error.is_library() && error.is_reset() {
            Self::Other(Received::Protocol(ProtocolError::Malformed(error.into())))
        } else if error.is_library() {
            // The answer to one request may have broken the connection. This says nothing about the answers to the
            // other requests.
            Self::Other(Received::Broken(error.into()))
        } else {
            Self::Broken(error.into())
        }
    }

    /// Returns the meaning of the fault if the request has certainly left this client.
    pub(super) fn received(self) -> Received {
        match self {
            Self::NotProcessed(error) => Received::Reset(error),
            Self::Broken(error) if is_reset(&error) => Received::Reset(error),
            Self::Broken(error) => Received::Broken(error),
            Self::Other(received) => received,
        }
    }
}

/// Returns whether the connection was reset or aborted.
fn is_reset(error: &BreakError) -> bool {
    error
        .io()
        .is_some_and(|error| matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted))
}

impl From<Received> for Http2Fault {
    fn from(received: Received) -> Self {
        Self::Other(received)
    }
}
