//! The limits of a follower. Each limit is exact, to the byte and to the line, whatever the sizes of the pieces are.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use hedge_wire::http1::{DecodeError, Fault, Follower, MAX_DROPPED, Part};

/// How many bytes of `wire` are followed without a fault, in pieces of this size.
fn follow(max_head: usize, max_headers: usize, wire: &[u8], piece: usize) -> Result<usize, Fault> {
    let mut follower = Follower::with_limits(max_head, max_headers);
    follower.request(false);
    let (mut at, mut end) = (0, 0);
    while end < wire.len() && !follower.is_done() {
        end = wire.len().min(end + piece);
        while at < end && !follower.is_done() {
            let part = follower.follow(&wire[at..end])?;
            if part == Part::Partial {
                break;
            }
            at += part.length();
        }
    }
    Ok(at)
}

/// Follows `wire` in one piece and in pieces of several sizes, which must give the same result.
fn outcome(max_head: usize, max_headers: usize, wire: &str) -> Result<usize, Fault> {
    let whole = follow(max_head, max_headers, wire.as_bytes(), usize::MAX);
    for piece in [1, 7, 1000] {
        assert_eq!(follow(max_head, max_headers, wire.as_bytes(), piece), whole, "in pieces of {piece}: {wire:.100}");
    }
    whole
}

fn head(bytes: usize) -> String {
    let [start, end] = ["HTTP/1.1 204 x\r\na: ", "\r\n\r\n"];
    [start, &"b".repeat(bytes - start.len() - end.len()), end].concat()
}

#[test]
fn a_head_is_as_large_as_the_limit_and_no_larger() {
    for max_head in [64, 8192, Follower::DEFAULT_MAX_HEAD] {
        let too_large = Fault { error: DecodeError::HeadTooLarge { limit: max_head }, at: max_head as u64 };
        assert_eq!(outcome(max_head, 10, &head(max_head)), Ok(max_head));
        assert_eq!(outcome(max_head, 10, &head(max_head + 1)), Err(too_large));
        assert_eq!(outcome(max_head, 10, &head(max_head + 9)[..max_head]), Err(too_large), "not all of it need come");
        assert!(too_large.to_string().contains(&format!("head larger than {max_head} bytes")), "{too_large}");
    }
}

#[test]
fn a_head_has_as_many_header_fields_as_the_limit_and_no_more() {
    for max_headers in [0, 1, 99, 100, 101, Follower::MOST_HEADERS] {
        let lines = |count: usize| format!("HTTP/1.1 204 x\r\n{}", "a: b\r\n".repeat(count));
        let whole = format!("{}\r\n", lines(max_headers));
        assert_eq!(outcome(1 << 16, max_headers, &whole), Ok(whole.len()));
        let error = DecodeError::TooManyHeaders { limit: max_headers };
        // The fault comes before the head ends. It names the start of the first line that is too many.
        let too_many = Fault { error, at: lines(max_headers).len() as u64 };
        assert_eq!(outcome(1 << 16, max_headers, &lines(max_headers + 1)), Err(too_many));
        assert!(too_many.to_string().contains(&format!("more than {max_headers} header fields")), "{too_many}");
    }
    let many = format!("HTTP/1.1 204 x\r\n{}", "a: b\r\n".repeat(1025));
    let error = DecodeError::TooManyHeaders { limit: 1024 };
    assert_eq!(outcome(1 << 16, usize::MAX, &many).map_err(|fault| fault.error), Err(error), "the most there is");
}

#[test]
fn a_long_head_that_is_malformed_says_in_which_line() {
    let good = format!("HTTP/1.1 204 x\r\n{}", "a: b\r\n".repeat(500));
    let fault = Fault { error: DecodeError::BadHead, at: good.len() as u64 };
    assert_eq!(outcome(1 << 16, 1000, &format!("{good}a b\r\nc: d\r\n\r\n")), Err(fault));
}

#[test]
fn interim_responses_have_the_limits_of_a_head() {
    let interim = "HTTP/1.1 103 x\r\na: b\r\n\r\n";
    assert_eq!(outcome(64, 1, &[interim, interim, &head(64)].concat()), Ok(2 * interim.len() + 64));
    let many = [interim, "HTTP/1.1 103 x\r\na: b\r\nc: d\r\n"].concat();
    let error = DecodeError::TooManyHeaders { limit: 1 };
    assert_eq!(outcome(64, 1, &many), Err(Fault { error, at: interim.len() as u64 + 22 }));
}

#[test]
fn trailers_are_as_many_as_header_fields_and_extensions_and_trailers_have_a_limit_of_their_own() {
    const CHUNKED: &str = "HTTP/1.1 200 x\r\ntransfer-encoding: chunked\r\n\r\n";
    for max_headers in [1, 100, 1000] {
        let trailers = |count: usize| format!("{CHUNKED}0\r\n{}", "a:\r\n".repeat(count));
        let whole = format!("{}\r\n", trailers(max_headers));
        assert_eq!(outcome(64, max_headers, &whole), Ok(whole.len()));
        let error = outcome(64, max_headers, &trailers(max_headers + 1)).map_err(|fault| fault.error);
        assert_eq!(error, Err(DecodeError::TooManyHeaders { limit: max_headers }));
    }
    for [before, after] in [["1;", "\r\nx\r\n0\r\n\r\n"], ["0\r\na:", "\r\n\r\n"]] {
        let padded = |bytes: usize| format!("{CHUNKED}{before}{}{after}", "x".repeat(bytes));
        let spent = before.len() - if before.starts_with('1') { 1 } else { 3 };
        let whole = padded(MAX_DROPPED - spent);
        assert_eq!(outcome(64, 1, &whole), Ok(whole.len()), "{before}");
        let error = outcome(64, 1, &padded(MAX_DROPPED - spent + 1)).map_err(|fault| fault.error);
        assert_eq!(error, Err(DecodeError::TooMuchDropped), "{before}");
    }
}
