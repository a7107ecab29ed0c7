//! How HTTP writes what goes along with an attempt ([W3](hedge_core::rules#W3), [Y1](hedge_core::rules#Y1)): the default
//! names of the headers, the text of a key, and the answer of a server that has dropped a copy.

use hedge_core::id::IdempotencyKey;
use hedge_core::outcome::{Code, Judgement, Verdict};
use http::{Extensions, HeaderMap, HeaderName, Response, StatusCode};

/// The key of the call, as 32 lower-case hexadecimal digits. All attempts of a call have the same.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The address of the server of the call's first attempt, such as `10.0.0.1:8001`. Only backups have it.
pub const FIRST_SERVER: HeaderName = HeaderName::from_static("x-hedge-first-server");
/// The caller's log id, as a decimal number. The name is that of brpc.
pub const LOG_ID: HeaderName = HeaderName::from_static("log-id");
/// The caller's request id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The number of the attempt in its call, from 0.
pub const ATTEMPT: HeaderName = HeaderName::from_static("x-hedge-attempt");
/// The kind of the attempt: `first`, `retry` or `backup`.
pub const ATTEMPT_KIND: HeaderName = HeaderName::from_static("x-hedge-attempt-kind");
/// The time from the start of the attempt to the deadline of its call, in milliseconds, rounded up.
pub const REMAINING_MS: HeaderName = HeaderName::from_static("x-hedge-remaining-ms");
/// The header of an answer with status 503, with the value [`TIED`]: the server has dropped this copy of the request,
/// since the other copy has begun.
pub const DROPPED: HeaderName = HeaderName::from_static("x-hedge-dropped");
/// The value of [`DROPPED`].
pub const TIED: &str = "tied";

/// Returns the text of a key on the wire: 32 lower-case hexadecimal digits.
#[must_use]
pub fn key_text(key: IdempotencyKey) -> [u8; 32] {
    let mut text = [0; 32];
    for (digits, byte) in text.chunks_exact_mut(2).zip(key.to_bytes()) {
        for (digit, value) in digits.iter_mut().zip([byte >> 4, byte & 0xf]) {
            *digit = if value < 10 { b'0' + value } else { b'a' - 10 + value };
        }
    }
    text
}

/// Reads a key from its text on the wire. `None` if the text is not exactly 32 lower-case hexadecimal digits.
#[must_use]
pub fn parse_key(text: &[u8]) -> Option<IdempotencyKey> {
    let text: &[u8; 32] = text.try_into().ok()?;
    let mut bytes = [0; 16];
    for (byte, digits) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        for digit in digits {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return None,
            };
            *byte = *byte << 4 | value;
        }
    }
    Some(IdempotencyKey::from_bytes(bytes))
}

/// Returns whether an answer says that its server has dropped this copy of a tied request: status 503, and the header
/// `name` with the value [`TIED`], once. This is only what the server claims. The client must also know that the
/// request had another copy. Only then may it call [`DroppedCopy::mark`].
#[must_use]
pub fn says_dropped(status: StatusCode, headers: &HeaderMap, name: &HeaderName) -> bool {
    status == StatusCode::SERVICE_UNAVAILABLE && crate::header::only(headers, name) == Some(Some(TIED))
}

/// The mark of an answer with which a server has dropped one of two copies of a request ([Y1](hedge_core::rules#Y1)).
/// The client puts it into the extensions of the answer, where a server cannot put anything. [`judge`](crate::judge)
/// and the other functions of this crate that judge answers read it. The verdict is `Wait`, even if status 503 is
/// retried, and the server is not blamed, since it did what it was asked for.
///
/// A client may mark an answer only if the request had another copy: the attempt is a backup, or it is a first attempt
/// whose backup has started. So a server gains nothing by a false claim. It can avoid blame only for an attempt that
/// has another copy. For such an attempt it could also send a wrong answer with status 200, which is not blamed either.
/// The other copy decides the call. If that copy fails too, its verdict decides whether the call retries or ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct DroppedCopy;

impl DroppedCopy {
    /// Marks the answer that has these extensions.
    pub fn mark(extensions: &mut Extensions) {
        extensions.insert(Self);
    }

    /// Returns the judgement on an answer if it has the mark and status 503: `Wait`, without blame and without
    /// pushback. If a retry policy of the program retries status 503, it should call this first. For any other status
    /// this costs one comparison.
    #[must_use]
    pub fn judge<B>(response: &Response<B>) -> Option<Judgement> {
        if response.status() != StatusCode::SERVICE_UNAVAILABLE {
            return None;
        }
        response.extensions().get::<Self>()?;
        Some(Judgement::new(Verdict::Wait, Code(StatusCode::SERVICE_UNAVAILABLE.as_u16())).local())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RetryCodes, RetryStatuses, judge};

    #[test]
    fn w3_a_key_is_written_as_it_is_read() {
        let bytes = [0x00, 0x01, 0x0a, 0x10, 0x9f, 0xa0, 0xff, 0x7e, 1, 2, 3, 4, 5, 6, 7, 0xfe];
        let key = IdempotencyKey::from_bytes(bytes);
        assert_eq!(&key_text(key), b"00010a109fa0ff7e01020304050607fe");
        assert_eq!(parse_key(&key_text(key)), Some(key));
        for wrong in [
            "",
            "00",
            "00010A109FA0FF7E01020304050607FE",
            "00010a109fa0ff7e01020304050607f",
            "g0010a109fa0ff7e01020304050607fe",
            "00010a109fa0ff7e01020304050607fe0",
        ] {
            assert_eq!(parse_key(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn y1_a_dropped_copy_waits_and_its_server_is_not_blamed() {
        let builder = || Response::builder().header(DROPPED, TIED).header("retry-after", "-1");
        let mut response = builder().status(503).body(()).unwrap();
        assert!(says_dropped(response.status(), response.headers(), &DROPPED));
        let retried = RetryStatuses::new([503]).unwrap();
        let unavailable = RetryCodes::new([14]).unwrap();
        // The claim alone changes nothing.
        let judgements =
            |response: &Response<()>| [judge(response), retried.judge(response), unavailable.judge(response)];
        assert_eq!(judgements(&response).map(|it| it.verdict), [Verdict::Wait, Verdict::Retry, Verdict::Retry]);
        assert!(judgements(&response).iter().all(|it| !it.local && it.pushback.is_some()));
        DroppedCopy::mark(response.extensions_mut());
        for judgement in judgements(&response) {
            assert_eq!(judgement, Judgement::new(Verdict::Wait, Code(503)).local());
        }
        let mut fine = builder().status(200).body(()).unwrap();
        DroppedCopy::mark(fine.extensions_mut());
        assert_eq!(judge(&fine), Verdict::Accept.into());
    }

    #[test]
    fn y1_another_status_or_value_is_no_drop() {
        for (status, values, expected) in [
            (503, &["tied"][..], true),
            (503, &["Tied"], false),
            (503, &["tied", "tied"], false),
            (503, &[], false),
            (500, &["tied"], false),
            (200, &["tied"], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(DROPPED, value.parse().unwrap());
            }
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(says_dropped(status, &headers, &DROPPED), expected, "{status} {values:?}");
        }
    }
}
