//! The set of gRPC codes that are retried: [`RetryCodes`].

use std::fmt;

use hedge_core::outcome::{Judgement, Verdict};
use http::{HeaderMap, Response};

use crate::grpc::{self, judge_grpc};

const FIRST: i32 = 1;
const LAST: i32 = 16;

/// The set of gRPC status codes that are retried, because another server may succeed. Most clients retry `UNAVAILABLE`
/// (14). If a service uses `RESOURCE_EXHAUSTED` (8) to say that one server is full, retry this code too.
///
/// `OK` is accepted. Every code that is not in the set ends its call at once ([`Verdict::Fatal`]), as in gRPC's A6:
/// attempts in flight are abandoned. If the server asks for a delay in `grpc-retry-pushback-ms`, the retry waits that
/// long ([R4](hedge_core::rules#R4)).
///
/// A code can be given as a number from 1 to 16, or as any type that converts into that number, such as `tonic::Code`.
///
/// ```
/// use hedge_core::outcome::Verdict;
/// use hedge_http::RetryCodes;
/// use http::Response;
/// use tonic::Code;
///
/// let codes = RetryCodes::new([Code::Unavailable, Code::ResourceExhausted])?;
/// assert_eq!(codes, RetryCodes::new([14, 8])?);
/// let busy = Response::builder().header("grpc-status", "14").body(())?;
/// assert_eq!(codes.judge(&busy).verdict, Verdict::Retry);
///
/// let error = RetryCodes::new([14, 17]).unwrap_err();
/// assert_eq!(error.to_string(), "retry code 17: must be in [1, 16]");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct RetryCodes(u32);

impl RetryCodes {
    /// The empty set: no code is retried.
    pub const NONE: Self = Self(0);

    /// Makes the set of these codes. Each code must be in \[1, 16\].
    ///
    /// # Errors
    /// Returns an error for the first code that is not in \[1, 16\].
    pub fn new<C: Into<i32>>(codes: impl IntoIterator<Item = C>) -> Result<Self, CodeError> {
        let mut set = Self::NONE;
        for code in codes {
            let code = code.into();
            set.0 |= bit(code).ok_or(CodeError { code })?;
        }
        Ok(set)
    }

    /// Returns whether a code is in the set.
    #[must_use]
    pub fn contains(self, code: i32) -> bool {
        bit(code).is_some_and(|bit| self.0 & bit != 0)
    }

    /// Judges a response by its head, as [`judge_grpc`] does.
    #[must_use]
    pub fn judge<B>(self, response: &Response<B>) -> Judgement {
        judge_grpc(response, |code| self.verdict(code))
    }

    /// Judges a gRPC status by its code and its metadata. The metadata may contain a [pushback](crate::pushback()). A
    /// code outside of \[0, 16\] counts as `UNKNOWN`.
    #[must_use]
    pub fn judge_status(self, code: i32, metadata: &HeaderMap) -> Judgement {
        let code = u64::try_from(code).ok().and_then(grpc::status_code).unwrap_or(grpc::UNKNOWN);
        grpc::judge_status(code, metadata, |code| self.verdict(code))
    }

    fn verdict(self, code: u8) -> Verdict {
        if self.contains(code.into()) { Verdict::Retry } else { Verdict::Fatal }
    }
}

impl fmt::Debug for RetryCodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries((FIRST..=LAST).filter(|code| self.contains(*code))).finish()
    }
}

fn bit(code: i32) -> Option<u32> {
    (FIRST..=LAST).contains(&code).then(|| 1 << code)
}

/// The error of a code that cannot be in a [`RetryCodes`], since it is not in \[1, 16\].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CodeError {
    /// The code that was given.
    pub code: i32,
}

impl fmt::Display for CodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "retry code {}: must be in [{FIRST}, {LAST}]", self.code)
    }
}

impl std::error::Error for CodeError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc_code;
    use hedge_core::outcome::Pushback;
    use hedge_core::time::Duration;

    #[test]
    fn l8_the_named_codes_are_retried_and_others_are_fatal() {
        for named in FIRST..=LAST {
            let codes = RetryCodes::new([named]).unwrap();
            for code in -1..=20 {
                let (status, judged) = match code {
                    0 => (Verdict::Accept, 0),
                    1..=16 => (if code == named { Verdict::Retry } else { Verdict::Fatal }, code),
                    _ => (if named == 2 { Verdict::Retry } else { Verdict::Fatal }, 2),
                };
                let response = Response::builder().header("grpc-status", code).body(()).unwrap();
                let judgement = codes.judge_status(code, &HeaderMap::new());
                assert_eq!(judgement, codes.judge(&response), "{code} of {codes:?}");
                assert_eq!(judgement.verdict, status, "{code} of {codes:?}");
                if status != Verdict::Accept {
                    assert_eq!(judgement.code, grpc_code(judged.try_into().unwrap()));
                }
            }
        }
        assert_eq!(format!("{:?}", RetryCodes::new([16, 1, 14]).unwrap()), "{1, 14, 16}");
    }

    #[test]
    fn a_code_that_is_no_failure_is_refused() {
        for code in [i32::MIN, -1, 0, 17, 32, 33, i32::MAX] {
            assert_eq!(RetryCodes::new([14, code]), Err(CodeError { code }));
        }
    }

    #[test]
    fn r4_a_status_pushes_back() {
        let headers = HeaderMap::from_iter([("grpc-retry-pushback-ms".parse().unwrap(), "250".parse().unwrap())]);
        for code in [14, 7] {
            let judgement = RetryCodes::new([14]).unwrap().judge_status(code, &headers);
            assert_eq!(judgement.pushback, Some(Pushback::after(Duration::from_millis(250))), "{code}");
        }
    }
}
