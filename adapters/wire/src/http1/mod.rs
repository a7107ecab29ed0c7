//! HTTP/1.1 (RFC 9112), the client's side: [`Request`] to bytes, bytes to [`Response`] by a [`Receiver`].
//!
//! # What is accepted
//! - HTTP/1.0 and HTTP/1.1. Heads as `httparse` reads them: a line may end in a bare LF; folded lines, spaces before a
//!   colon and control characters are errors. At most [`MAX_HEADERS`] header lines.
//! - Bodies by `content-length`, `chunked` or the end of the connection; none after `HEAD`, with 204 and with 304.
//!   Chunks are joined in place, in the caller's buffer; extensions and trailers are dropped. Their lines end in CRLF.
//! - Interim responses (100, 102, 103) are dropped. 101 is an error: nothing here asks for another protocol.
//! - A 304 that announces a length: nothing follows it, but its connection is not kept.
//!
//! # What is not
//! A response whose length is in doubt is an error, never a guess, for what follows it would be taken for the next response:
//! `content-length` with `transfer-encoding`, two lengths that differ, any coding but `chunked`, codings in HTTP/1.0, an
//! interim response or a 204 that announces a body.
//! Bytes after a response were not asked for: they are [counted](Receiver::surplus), and the connection is not to be kept.
//!
//! # Cost
//! A byte of a head is read twice; of a body, only the lines between chunks are read at all. Bytes are moved only to join
//! chunks and to close the gap of an interim response: at most once for each. The buffer has to hold the head and the
//! body, and one byte more unless the body has a `content-length`; what is dropped stays in it no longer than the piece
//! that it came in. Reading a head takes four words of stack for each of [`MAX_HEADERS`].

mod chunks;
mod follower;
mod head;
mod receiver;
mod request;
mod response;

pub use follower::{Fault, Follower, Part};
pub use head::MAX_HEADERS;
pub use receiver::{DecodeError, MAX_DROPPED, Progress, Receiver};
pub use request::{EncodeError, Request};
pub use response::{Headers, Layout, Response};

/// What a name may hold (RFC 9110, 5.6.2).
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What a header's value may hold, and a chunk's extension (RFC 9110, 5.5): no control characters but tabs.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}
