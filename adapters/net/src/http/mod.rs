//! HTTP/1.1 over plain TCP: the transport [`Http`], request bodies, reply bodies, errors and the default retry policy.
//!
//! A request is an `http::Request<`[`RequestBody`]`>`; a reply is an `http::Response<`[`Body`]`>`. Each attempt builds its
//! own head from the borrowed request (T3): the method, the path and query, the headers, and a `Host`: the caller's own,
//! else the authority of an absolute URI, else the server's address.
//!
//! The common call is one line, by [`Channel::get`](crate::Channel::get) and its like: a [`RequestBuilder`] makes the request.
//! The types of the `http` crate that it takes are re-exported here.
//!
//! # Requests
//! The body says how long a request is, and the headers must agree: a `content-length` that is not the body's length, a
//! `transfer-encoding` that is not `chunked` or not of a body of unknown length, `upgrade` and other headers that ask for
//! another use of the connection, and two `host`s are refused as [`BadRequest::Header`]. Nothing is sent then: what such a
//! request leaves on a connection would be the start of the next caller's. A body of unknown length goes in chunks, with any
//! method.
//!
//! A body is held to its word, too. One that fails, panics, ends early, or goes on beyond the length that it announced is an
//! [`HttpError::RequestBody`]: no server is blamed, nothing is sent again, and nothing is cut. So the data that makes a body
//! whole leaves only when the body has ended.
//!
//! # Replies
//! An answer that contradicts itself, or HTTP/1.1, is an [`HttpError::Protocol`] that says what and at which byte, and its
//! connection is closed: `content-length` with `transfer-encoding`, lengths that differ, codings that nobody asked for, an
//! interim response or a 204 that announces a body, status 101, lines that end in a bare LF, folded lines, spaces before a
//! colon, chunk sizes of more than 16 digits. The same length said twice is one length. After a 304 that announces a length the
//! connection is closed: a body that followed would be taken for the next answer.
//!
//! An answer may come before its request has been sent whole (T5). It is handed over at once, the rest of the request is not
//! sent, and the connection is closed. A connection that was reset is read to its end first.
//!
//! # Limits
//! | of an answer | at most |
//! |---|---|
//! | head | [`max_head`](crate::Builder::max_head), 64 KiB by default |
//! | header fields | [`max_headers`](crate::Builder::max_headers), 100 by default; so many of each interim response |
//! | trailers | as many as header fields |
//! | interim responses, chunk extensions and trailers | 16 KiB together, whatever the options |
//! | digits of a chunk's size | 16 |
//! | body in memory | [`max_body`](crate::Builder::max_body), 16 MiB by default |
//! | bytes in one poll of a connection | 64 KiB; bytes that only frame chunks count ninefold |
//!
//! What is over the first four limits is an [`HttpError::Protocol`] that names the limit and its value. The caller sees it at
//! once, before the rest of the answer comes, and the connection is closed. A check of
//! [`health_check_path`](crate::Builder::health_check_path) has the same limits.
//!
//! While a body is read, an attempt takes at most twice `max_body`, and the buffers of its connection: less than 1 MiB, or,
//! where `max_head` is larger than by default, at most four times `max_head` and 256 KiB. Once it is read, it takes its length.
//! Extensions are not kept at all; trailers are kept with the body. Nothing is allocated by a length that is only announced, and small chunks are joined. A body
//! that is longer than `max_body` is an [`HttpError::TooLarge`]. A streaming body has no limit but its deadline, unless
//! [`Body::collect`] reads it.
//!
//! # Pushback
//! A failed response may ask for a delay before the next attempt of its call, or for no further one (R4), in gRPC's
//! `grpc-retry-pushback-ms` or in `Retry-After`. [`HttpRetryPolicy`] passes it on; as it retries no status, what that moves
//! or cancels is a backup to come, or the retry of another attempt's failure. [`RetryStatuses`] retries those that it names.
//! A retry policy of one's own makes its verdicts on responses by [`failure`], or asks [`pushback`] itself.
//!
//! # Connections
//! Each address has a stack of idle connections for each runtime: the one used last is used next, at most so many are kept
//! in all, and each is closed after a while unused. A connection goes back only when its reply has been read to the end;
//! dropping an attempt closes its connection at once. It serves calls on the runtime that made it, and no other.
//!
//! A kept connection that the server has closed meanwhile says nothing of the server (C3):
//!
//! * As long as the request has not left, the same attempt goes on with the next connection and at last with a new one (T4).
//! * Where it may have left, and the connection broke before a byte of the answer came and within the connect timeout, a
//!   request that may be sent twice (L15) goes once more, at once, on a new connection to the same server. That is no attempt,
//!   and no limit counts it; [`Http::resent`] does. A break of the new connection is a failure.
//! * A request that may not be sent twice fails as [`HttpError::Stale`], whose kind is
//!   [`Broken`](hedge_core::outcome::ErrorKind::Broken).
//! * The connections that have been idle for as long are closed. So they are when a call's deadline passes without a byte of
//!   the answer on a connection that had been idle.
//!
//! Some servers and proxies (haproxy, AWS load balancers) send a 408 on an idle connection before they close it. Where that
//! 408 is read decides what it means (RFC 9110, 15.5.9):
//!
//! * Read before a byte of the next request has left, it cannot be about that request: the connection is closed, and any
//!   request goes on with the next one (T4). This is so with every option.
//! * Read later, it may have been sent before the request, while it was on its way, or as the answer to it: a client cannot tell
//!   these apart. By default it is the answer. With [`retry_stale_408`](crate::Builder::retry_stale_408), a 408 on a connection
//!   that had been idle counts as if the connection had broken: a request that may be sent twice goes once more, by the rules
//!   above. RFC 9110 allows that for any request, as such a server has not received all of it. But an application that answers
//!   408 by itself, or one behind a proxy, may have acted on the request: so one that may not be sent twice is not sent again,
//!   and its caller gets the 408.
//! * A 408 on a new connection, or later than the connect timeout after the request, is an answer with every option.
//!
//! # Cost
//! An attempt takes one short lock to find its address's stacks and one each to take and give back a connection. It
//! allocates what hyper does, the copy of the headers, and the reply's body; a new connection is one task. What is read is
//! looked at before hyper sees it: that copies it once, and parses heads a second time. Each thread that runs connections has
//! a buffer of 64 KiB for it. While connections are idle, one task an address closes those that grow old; it ends with them,
//! with the channel, or with its runtime.

mod body;
mod call;
mod call_error;
mod collected;
mod connection;
mod error;
mod guard;
mod headers;
mod limits;
mod line;
mod outgoing;
mod pool;
mod read;
mod request;
mod sending;
mod target;
mod transport;

pub use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
pub use body::{Body, BodyError};
pub use call::{Dispatch, RequestBuilder, SendResult};
pub use call_error::{HeaderFault, PathFault, RequestError, SendError};
pub use error::{BadRequest, HttpError, HttpRetryPolicy, ProtocolError};
pub use hedge_http::{RetryStatuses, StatusError, failure, pushback};
pub use hedge_wire::http1::{DecodeError, Fault};
pub use limits::HttpOptionError;
pub use outgoing::RequestBodyError;
pub use read::{BadStatus, ReplyError, Unreadable};
pub use request::{BoxBody, BoxError, OnceBody, RequestBody};
pub use transport::Http;
