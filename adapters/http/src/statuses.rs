//! The set of HTTP statuses that are retried: [`RetryStatuses`].

use std::fmt;

use hedge_core::outcome::{Judgement, Verdict};
use http::{Response, StatusCode};

use crate::along::DroppedCopy;
use crate::{failure, judge};

const FIRST: u16 = 400;
const LAST: u16 = 599;

/// The set of HTTP statuses that are retried, because another server may succeed ([R1](hedge_core::rules#R1)). By
/// default the set is empty.
///
/// If the headers of a retried response contain a pushback, it is used ([R4](hedge_core::rules#R4)). A `Retry-After`
/// applies only to the server that sent it, so another server is tried at once.
///
/// ```
/// use hedge_core::outcome::Verdict;
/// use hedge_http::RetryStatuses;
/// use http::Response;
///
/// let statuses = RetryStatuses::new([429, 502, 503, 504])?;
/// let busy = Response::builder().status(503).body(())?;
/// assert_eq!(statuses.judge(&busy).verdict, Verdict::Retry);
///
/// let error = RetryStatuses::new([503, 200]).unwrap_err();
/// assert_eq!(error.to_string(), "retry status 200: must be in [400, 599]");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct RetryStatuses([u64; 4]);

impl RetryStatuses {
    /// The empty set: no status is retried.
    pub const NONE: Self = Self([0; 4]);

    /// Makes the set of these statuses. Each status must be in \[400, 599\].
    ///
    /// # Errors
    /// Returns an error for the first status that is not in \[400, 599\].
    pub fn new(statuses: impl IntoIterator<Item = u16>) -> Result<Self, StatusError> {
        let mut set = Self::NONE;
        for status in statuses {
            let (word, bit) = place(status).ok_or(StatusError { status })?;
            if let Some(word) = set.0.get_mut(word) {
                *word |= bit;
            }
        }
        Ok(set)
    }

    /// Returns whether a status is in the set.
    #[must_use]
    pub fn contains(&self, status: StatusCode) -> bool {
        place(status.as_u16()).is_some_and(|(word, bit)| self.0.get(word).is_some_and(|word| word & bit != 0))
    }

    /// Judges a response like [`judge`], except that the verdict on a status in the set is [`Verdict::Retry`].
    /// The answer for a [dropped copy](DroppedCopy) is not retried.
    #[must_use]
    pub fn judge<B>(&self, response: &Response<B>) -> Judgement {
        if !self.contains(response.status()) {
            return judge(response);
        }
        DroppedCopy::judge(response).unwrap_or_else(|| failure(Verdict::Retry, response))
    }
}

impl fmt::Debug for RetryStatuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = (FIRST..=LAST).filter_map(|status| StatusCode::from_u16(status).ok());
        f.debug_set().entries(all.filter(|status| self.contains(*status)).map(|status| status.as_u16())).finish()
    }
}

/// Returns the place of a status in the set: the index of its word, and its bit in this word. Returns `None` if the
/// status is not in \[400, 599\].
fn place(status: u16) -> Option<(usize, u64)> {
    let offset = status.checked_sub(FIRST).filter(|_| status <= LAST)?;
    Some((usize::from(offset / 64), 1 << (offset % 64)))
}

/// The error of a status that cannot be in a [`RetryStatuses`], since it is not in \[400, 599\].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StatusError {
    /// The status that was given.
    pub status: u16,
}

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "retry status {}: must be in [{FIRST}, {LAST}]", self.status)
    }
}

impl std::error::Error for StatusError {}

#[cfg(test)]
mod tests {
    use super::*;
    use hedge_core::outcome::{Code, Pushback};
    use hedge_core::time::Duration;

    #[test]
    fn r1_the_named_statuses_are_retried_and_no_others() {
        for named in FIRST..=LAST {
            let statuses = RetryStatuses::new([named]).unwrap();
            for status in 100..=999 {
                let judgement = statuses.judge(&Response::builder().status(status).body(()).unwrap());
                let expected = match status {
                    _ if status == named => Verdict::Retry,
                    ..500 => Verdict::Accept,
                    _ => Verdict::Wait,
                };
                assert_eq!(judgement.verdict, expected, "{status} of {statuses:?}");
            }
        }
        assert_eq!(format!("{:?}", RetryStatuses::new([599, 400, 503]).unwrap()), "{400, 503, 599}");
    }

    #[test]
    fn r1_a_status_that_is_no_failure_is_refused() {
        for status in [0, 99, 200, 399, 600, u16::MAX] {
            assert_eq!(RetryStatuses::new([503, status]), Err(StatusError { status }));
        }
    }

    #[test]
    fn r4_a_retried_status_pushes_back() {
        let response = Response::builder().status(429).header("retry-after", "2").body(()).unwrap();
        let judgement = RetryStatuses::new([429]).unwrap().judge(&response);
        assert_eq!(judgement.pushback, Some(Pushback::after(Duration::from_secs(2)).for_server()));
        assert_eq!((judgement.verdict, judgement.code), (Verdict::Retry, Code(429)));
    }
}
