//! HTTP responses: [`Response`], and [`HttpRetryPolicy`], which judges them by default.

use core::fmt;

use hedge_core::outcome::{Code, Judgement, Pushback, Verdict};
use hedge_core::policy::{DefaultRetryPolicy, RetryPolicy};
use hedge_core::time::Micros;
use hedge_wire::http1::{Headers, Layout};

use crate::error::Error;
use crate::resources::Memory;

/// A complete response, in the buffer of the attempt that received it. The buffer is free for other attempts once the
/// response is dropped.
pub struct Response<'r, R: Memory> {
    slot: R::Slot<'r>,
    layout: Layout,
}

impl<'r, R: Memory> Response<'r, R> {
    /// The response that was received into `slot`, with its `layout`.
    pub(crate) fn new(slot: R::Slot<'r>, layout: Layout) -> Self {
        Self { slot, layout }
    }

    /// The status, from 200 to 999.
    pub fn status(&self) -> u16 {
        self.layout.status()
    }

    /// The value of the first header with this name; upper and lower case are the same.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.whole()?.header(name)
    }

    /// The names and values of all headers, in their order.
    pub fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.whole().map(|response| response.headers()).into_iter().flatten()
    }

    /// The body. It is empty if there is none. If it came in chunks, they are joined.
    pub fn body(&self) -> &[u8] {
        self.whole().map_or(&[], |response| response.body())
    }

    fn whole(&self) -> Option<hedge_wire::http1::Response<'_>> {
        self.layout.of(self.slot.as_ref())
    }
}

impl<R: Memory> fmt::Debug for Response<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response").field("status", &self.status()).field("body", &self.body().len()).finish()
    }
}

#[cfg(feature = "defmt")]
impl<R: Memory> defmt::Format for Response<'_, R> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Response {{ status: {}, body: {} bytes }}", self.status(), self.body().len());
    }
}

/// The default retry policy ([R1](hedge_core::rules#R1)). It accepts a status below 500. It does not retry a status of
/// 500 or more; the status becomes the code of the attempt. Errors are judged by their kind.
///
/// A response that is not accepted may ask for a delay of further attempts ([R4](hedge_core::rules#R4)): by the header
/// `grpc-retry-pushback-ms`, or, if that is missing, by `retry-after` in seconds. If the header has any other value,
/// nothing is retried. A date is such a value too, since a microcontroller has no wall clock to compare it with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HttpRetryPolicy;

impl<R: Memory> RetryPolicy<Response<'_, R>, Error> for HttpRetryPolicy {
    fn judge(&self, result: Result<&Response<'_, R>, &Error>) -> Judgement {
        match result {
            Ok(response) if response.status() < 500 => Verdict::Accept.into(),
            Ok(response) => Judgement {
                pushback: response.whole().and_then(|response| pushback(response.headers())),
                ..Judgement::new(Verdict::Wait, Code(response.status()))
            },
            Err(error) => RetryPolicy::<(), Error>::judge(&DefaultRetryPolicy, Err(error)),
        }
    }
}

/// The pushback that the headers ask for.
fn pushback(headers: Headers<'_>) -> Option<Pushback> {
    // A single pass for both headers, and numbers of 32 bits, keep the code small.
    let mut asked = [None; 2];
    for (field, value) in headers {
        for (name, asked) in [&b"grpc-retry-pushback-ms"[..], b"retry-after"].iter().zip(&mut asked) {
            if field.eq_ignore_ascii_case(name) {
                // A header that comes twice is not a number.
                *asked = Some(if asked.is_none() { number(value) } else { None });
            }
        }
    }
    let [millis, seconds] = asked;
    // gRPC's header is about all servers of the service, HTTP's only about the server that sent it.
    Some(match millis {
        None => {
            let delay = seconds?.map(|seconds| Micros::from_secs(seconds.into()));
            delay.map_or(Pushback::DO_NOT, Pushback::from).for_server()
        }
        Some(millis) => {
            let delay = millis.map(|millis| Micros::from_millis(millis.into()));
            delay.map_or(Pushback::DO_NOT, Pushback::from)
        }
    })
}

fn number(digits: &[u8]) -> Option<u32> {
    let number = digits.iter().try_fold(0_u32, |number, digit| match digit {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u32::from(digit - b'0')),
        _ => None,
    });
    number.filter(|_| !digits.is_empty())
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use hedge_wire::http1::{Progress, Receiver};

    use crate::parts::Choice;
    use crate::resources::Resources;
    use crate::slots::Slots;

    type Memory = Resources<Choice, 0, 1, 256>;

    const DO_NOT: Option<Pushback> = Some(Pushback::DO_NOT);
    const OF_SERVER: Option<Pushback> = Some(Pushback::DO_NOT.for_server());

    fn judged(status: u16, headers: &str) -> Judgement {
        let slots: Slots<_, 1, 256> = Slots::new();
        let mut slot = slots.try_take().unwrap();
        let text = std::format!("HTTP/1.1 {status} X\r\n{headers}content-length: 2\r\n\r\nhi");
        let mut receiver = Receiver::new(slot.bytes_mut(), false);
        receiver.space()[..text.len()].copy_from_slice(text.as_bytes());
        assert_eq!(receiver.received(text.len()), Ok(Progress::Done));
        let layout = receiver.response().unwrap().layout();
        let response: Response<'_, Memory> = Response::new(slot, layout);
        assert_eq!((response.status(), response.body()), (status, &b"hi"[..]));
        HttpRetryPolicy.judge(Ok(&response))
    }

    #[test]
    fn r1_a_status_below_500_is_accepted_and_others_wait() {
        for status in [200, 302, 404, 429, 499] {
            assert_eq!(judged(status, "retry-after: 1\r\n"), Verdict::Accept.into(), "{status}");
        }
        for status in [500, 503, 599, 999] {
            assert_eq!(judged(status, ""), Judgement::new(Verdict::Wait, Code(status)));
        }
    }

    #[test]
    fn r4_headers_of_a_failure_push_back() {
        let after = |millis| Some(Pushback::from(Micros::from_millis(millis)));
        for (headers, expected) in [
            ("", None),
            ("retry-after: 2\r\n", after(2_000).map(Pushback::for_server)),
            ("Retry-After: 2\r\ngrpc-retry-pushback-ms: 20\r\n", after(20)),
            ("grpc-retry-pushback-ms: -1\r\n", DO_NOT),
            ("grpc-retry-pushback-ms:\r\n", DO_NOT),
            ("retry-after: 1\r\nretry-after: 1\r\n", OF_SERVER),
            ("retry-after: 99999999999999999999\r\n", OF_SERVER),
            ("retry-after: Wed, 30 Sep 2015 08:49:40 GMT\r\n", OF_SERVER),
        ] {
            assert_eq!(judged(503, headers).pushback, expected, "{headers:?}");
        }
    }
}
