//! The retry policy of gRPC channels: [`RetryCodes`], and the codes of one method.

use ::http::Response;
use hedge_core::outcome::Judgement;
use hedge_core::policy::{DefaultRetryPolicy, RetryPolicy};
use hedge_http::RetryCodes;

use super::body::Body;
use super::error::HttpError;

/// The codes that a method of a service config retries. The channel puts them into the extensions of the request, and the
/// transport copies them into those of the response, since a policy sees only the response.
#[derive(Clone, Copy, Debug)]
pub struct MethodCodes(pub RetryCodes);

/// Retries the gRPC codes of the set, or those that a service config names for the method of the call, as
/// [`RetryCodes::judge`] says. Errors are judged by their kind.
impl RetryPolicy<Response<Body>, HttpError> for RetryCodes {
    fn judge(&self, result: Result<&Response<Body>, &HttpError>) -> Judgement {
        match result {
            Ok(response) => {
                let codes = response.extensions().get().map_or(*self, |MethodCodes(codes)| *codes);
                codes.judge(response)
            }
            error => DefaultRetryPolicy.judge(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hedge_core::outcome::{Pushback, Verdict};
    use std::time::Duration;

    #[test]
    fn l8_the_codes_of_a_method_replace_those_of_the_channel() {
        let channel = RetryCodes::new([14]).unwrap();
        for (code, method, expected) in [
            (0, None, Verdict::Accept),
            (14, None, Verdict::Retry),
            (8, None, Verdict::Fatal),
            (8, Some(8), Verdict::Retry),
            (14, Some(8), Verdict::Fatal),
        ] {
            let mut response = Response::new(Body::new(""));
            response.headers_mut().insert("grpc-status", code.into());
            response.headers_mut().insert("grpc-retry-pushback-ms", 20.into());
            if let Some(method) = method {
                response.extensions_mut().insert(MethodCodes(RetryCodes::new([method]).unwrap()));
            }
            let judgement = RetryPolicy::<_, HttpError>::judge(&channel, Ok(&response));
            assert_eq!(judgement.verdict, expected, "{code} with {method:?}");
            let later = Some(Pushback::after(Duration::from_millis(20))).filter(|_| code != 0);
            assert_eq!(judgement.pushback, later, "R4");
        }
        let response = Response::new(Body::new(""));
        let judgement = RetryPolicy::<_, HttpError>::judge(&channel, Ok(&response));
        assert_eq!(judgement, Verdict::Accept.into(), "without a status in the head, the server has begun to answer");
        let judgement = RetryPolicy::<Response<Body>, _>::judge(&channel, Err(&HttpError::BodyUsed));
        assert_eq!(judgement.verdict, Verdict::Wait);
    }
}
