//! Retry policies by gRPC codes, in one line: [`Builder::retry_codes`] and [`Builder::retry_codes_of`].

use hedge_core::outcome::{Judgement, Verdict};
use hedge_core::policy::RetryPolicy;
use hedge_http::{CodeError, RetryCodes};
use http::{HeaderMap, Response};

use crate::Builder;

impl<T, R, C> Builder<T, R, C> {
    /// Retries errors with these gRPC codes ([`RetryCodes`]). This is for services whose errors are gRPC statuses, such
    /// as a generated tonic client. `read` gives the code of an error and its metadata, in which a server may push back
    /// ([R4](hedge_core::rules#R4)). An error with another code ends its call, and every response is accepted.
    ///
    /// ```
    /// use tonic::{Code, Status};
    ///
    /// let builder = hedge_tower::builder(hedge_tokio::Tokio::new())
    ///     .retry_codes_of([Code::Unavailable], |status: &Status| (status.code().into(), status.metadata().as_ref()))?;
    /// # Ok::<(), hedge_tower::hedge_http::CodeError>(())
    /// ```
    ///
    /// # Errors
    /// A code that is not in \[1, 16\], such as `OK`.
    pub fn retry_codes_of<E, F, Code: Into<i32>>(
        self,
        codes: impl IntoIterator<Item = Code>,
        read: F,
    ) -> Result<Builder<T, GrpcErrors<F>, C>, CodeError>
    where
        F: Fn(&E) -> (i32, &HeaderMap),
    {
        let codes = RetryCodes::new(codes)?;
        Ok(self.retry_policy(GrpcErrors { codes, read }))
    }

    /// Retries responses with these gRPC codes ([`RetryCodes`]). This is for services whose responses are those of
    /// HTTP, such as a tonic channel. The code is read from the head of the response: a server that fails before its
    /// first message puts it there ([`judge_grpc`](hedge_http::judge_grpc)). A response with another code ends its
    /// call, and every error is retried.
    ///
    /// ```
    /// use tonic::Code;
    ///
    /// let builder = hedge_tower::builder(hedge_tokio::Tokio::new())
    ///     .retry_codes([Code::Unavailable, Code::ResourceExhausted])?;
    /// # Ok::<(), hedge_tower::hedge_http::CodeError>(())
    /// ```
    ///
    /// # Errors
    /// A code that is not in \[1, 16\], such as `OK`.
    pub fn retry_codes<Code: Into<i32>>(
        self,
        codes: impl IntoIterator<Item = Code>,
    ) -> Result<Builder<T, GrpcResponses, C>, CodeError> {
        let codes = RetryCodes::new(codes)?;
        Ok(self.retry_policy(GrpcResponses(codes)))
    }
}

/// The retry policy of [`Builder::retry_codes`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GrpcResponses(RetryCodes);

impl<B, E> RetryPolicy<Response<B>, E> for GrpcResponses {
    fn judge(&self, result: Result<&Response<B>, &E>) -> Judgement {
        match result {
            Ok(response) => self.0.judge(response),
            Err(_) => Verdict::Retry.into(),
        }
    }
}

/// The retry policy of [`Builder::retry_codes_of`].
#[derive(Clone, Copy, Debug)]
pub struct GrpcErrors<F> {
    codes: RetryCodes,
    /// Reads the code and the metadata of an error.
    read: F,
}

impl<Reply, E, F> RetryPolicy<Reply, E> for GrpcErrors<F>
where
    F: Fn(&E) -> (i32, &HeaderMap),
{
    fn judge(&self, result: Result<&Reply, &E>) -> Judgement {
        match result {
            Ok(_) => Verdict::Accept.into(),
            Err(error) => {
                let (code, metadata) = (self.read)(error);
                self.codes.judge_status(code, metadata)
            }
        }
    }
}
