//! The reason why a gRPC call could not be made: [`GrpcError`].

use std::error::Error;
use std::fmt;

use hedge_fleet::Refusal;
use hedge_http::GrpcTimeoutError;

use crate::http::RequestBodyError;

/// The reason why a gRPC call could not be made. The cause is always on the caller's side: its body, its headers or an
/// interceptor. All other failures of a call become replies with a gRPC status.
///
/// If the caller's code returned an error, the [source](Error::source) of this error is that error. So the clients of
/// tonic find a `tonic::Status` in it.
#[derive(Debug)]
#[non_exhaustive]
pub enum GrpcError {
    /// The body of the request failed.
    RequestBody(RequestBodyError),
    /// The header `grpc-timeout` of the request is not valid, or comes twice.
    Timeout(GrpcTimeoutError),
    /// An interceptor of the channel refused the call ([I1](hedge_core::rules#I1)).
    Refused(Refusal),
}

impl fmt::Display for GrpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RequestBody(error @ RequestBodyError::Failed(_)) => write!(f, "request body failed: {error}"),
            Self::RequestBody(error) => write!(f, "request body {error}"),
            Self::Timeout(error) => error.fmt(f),
            Self::Refused(error) => write!(f, "refused by an interceptor: {error}"),
        }
    }
}

impl Error for GrpcError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            // The source is the error of the caller's code, although the message already includes its text. The reason
            // is that callers look for the type of this error.
            Self::RequestBody(RequestBodyError::Failed(error)) | Self::Refused(error) => Some(&**error),
            Self::RequestBody(_) | Self::Timeout(_) => None,
        }
    }
}
