//! Why a call in one line has no reply: [`SendError`].

use std::error::Error;
use std::fmt;

use ::http::Response;
use hedge_core::call::Report;

use crate::error::CallError;
use hedge_fleet::MAX_ATTEMPTS;
use hedge_http_transport::{Body, HttpError, RequestError};

/// Why a [`RequestBuilder`](super::RequestBuilder) has no reply.
#[derive(Debug)]
#[non_exhaustive]
pub enum SendError {
    /// The request could not be built. Nothing was sent.
    Request(RequestError),
    /// The call was made, and has no reply.
    Call(CallError<Response<Body>, HttpError>),
}

impl SendError {
    /// The error as a word, for metrics: `request`, or [`CallError::kind`].
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Request(_) => "request",
            Self::Call(error) => error.kind(),
        }
    }

    /// What happened in the call; `None` if there was none.
    #[must_use]
    pub fn report(&self) -> Option<&Report<MAX_ATTEMPTS>> {
        match self {
            Self::Request(_) => None,
            Self::Call(error) => Some(error.report()),
        }
    }

    /// The last response, if the call failed because its retry policy did not accept it. By default that is a response
    /// with a status of 500 or more.
    #[must_use]
    pub const fn response(&self) -> Option<&Response<Body>> {
        match self {
            Self::Call(error) => match error.last() {
                Some(Ok(response)) => Some(response),
                _ => None,
            },
            Self::Request(_) => None,
        }
    }
}

impl From<RequestError> for SendError {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl From<CallError<Response<Body>, HttpError>> for SendError {
    fn from(error: CallError<Response<Body>, HttpError>) -> Self {
        Self::Call(error)
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(error) => error.fmt(f),
            Self::Call(error) => error.fmt(f),
        }
    }
}

impl Error for SendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Request(error) => error.source(),
            Self::Call(error) => error.source(),
        }
    }
}
