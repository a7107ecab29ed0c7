//! The client's side of HTTP/1.1 (RFC 9112): a [`Request`] is written as bytes, and a [`Receiver`] reads bytes into a
//! [`Response`].
//!
//! # What is accepted
//! - HTTP/1.0 and HTTP/1.1. Heads are read as by `httparse`: a line may end in a bare LF; folded lines, spaces before a
//!   colon and control characters are errors. At most [`MAX_HEADERS`] header lines.
//! - Bodies whose end is given by `content-length`, by `chunked`, or by the end of the connection. There is no body
//!   after a `HEAD` request, with status 204 and with status 304. Chunks are joined in place, in the caller's buffer.
//!   Chunk extensions and trailers are dropped. The lines between chunks must end in CRLF.
//! - Interim responses (100, 102, 103) are dropped. 101 is an error, since no request here asks for another protocol.
//! - A 304 that announces a length. No body is read, but the connection must not be used again.
//!
//! # What is refused
//! A response whose length is in doubt is an error. The length is never guessed, since after a wrong guess the rest of
//! the response would be read as the next response. The length is in doubt with `content-length` and
//! `transfer-encoding` together, with two different lengths, with any coding but `chunked`, with a coding in HTTP/1.0,
//! and if an interim response or a 204 announces a body.
//!
//! Bytes after a response were not asked for. They are [counted](Receiver::surplus), and the connection must not be
//! used again.
//!
//! # Cost
//! Each byte of a head is read twice; by a [`Follower`] once, if the head is as most servers send it. In a body, only
//! the lines between chunks are read. Bytes are moved only to join chunks and to remove interim responses: at most once
//! for each of these reasons. The buffer has to hold the head and the body, and one byte more if the body has no
//! `content-length`. Dropped bytes stay in the buffer only while their piece is processed. Reading a head takes four
//! words of stack for each of [`MAX_HEADERS`].

mod chunks;
mod follower;
mod head;
mod plain;
mod receiver;
mod request;
mod response;

pub use follower::{Fault, Follower, Part};
pub use head::MAX_HEADERS;
pub use receiver::{DecodeError, MAX_DROPPED, Progress, Receiver};
pub use request::{EncodeError, Request};
pub use response::{Headers, Layout, Response};

/// Whether a byte may be in a name, a token of RFC 9110, 5.6.2.
const fn is_token_byte(byte: u8) -> bool {
    let is_mark = matches!(
        byte,
        b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
    );
    byte.is_ascii_alphanumeric() || is_mark
}

/// Whether a byte may be in the value of a header or in a chunk extension (RFC 9110, 5.5). The only control character
/// that is allowed is the tab.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}
