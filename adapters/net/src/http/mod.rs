//! HTTP/1.1 over plain TCP: the transport [`Http`], request bodies, reply bodies, errors and the default retry policy.
//!
//! A request is an `http::Request<`[`RequestBody`]`>`; a reply is an `http::Response<`[`Body`]`>`. Each attempt builds
//! its own head from the borrowed request ([T3](hedge_core::rules#T3)): the method, the path and query, the headers,
//! and a `Host` header. The `Host` is the caller's own, else the authority of an absolute URI, else the server's
//! address.
//!
//! The common call is one line, which begins with [`Channel::get`](crate::Channel::get) or a similar method: a
//! [`RequestBuilder`] makes the request. The types of the `http` crate that it takes are re-exported here.
//!
//! # Requests
//! The body says how long a request is, and the headers must agree. These headers are refused as
//! [`BadRequest::Header`]: a `content-length` that is not the body's length, a `transfer-encoding` that is not
//! `chunked` or comes with a body of known length, `upgrade` and other headers that ask for another use of the
//! connection, and a second `host`. Nothing is sent then, since the server could take the rest of such a request for
//! the start of the next one. A body of unknown length is sent in chunks, with any method.
//!
//! A body must have the length that it announces. A body that fails, panics, ends early, or goes on beyond its length
//! is an [`HttpError::RequestBody`]: no server is blamed, nothing is sent again, and the body is never cut to its
//! length. For this, the last data of a body is sent only when the body has ended.
//!
//! # Replies
//! An answer that contradicts itself or HTTP/1.1 is an [`HttpError::Protocol`], which says what is wrong and at which
//! byte. Its connection is closed. Such answers have: `content-length` with `transfer-encoding`, lengths that differ,
//! codings that were not asked for, an interim response or a 204 that announces a body, status 101, lines that end in a
//! bare LF, folded lines, spaces before a colon, or chunk sizes of more than 16 digits. The same length given twice is
//! one length. After a 304 that announces a length, the connection is closed, since a body that followed would be taken
//! for the next answer.
//!
//! An answer may come before its request has been sent whole ([T5](hedge_core::rules#T5)). The answer is handed over at
//! once, the rest of the request is not sent, and the connection is closed. If a connection is reset, everything that
//! has arrived on it is read before the error is reported.
//!
//! # Limits
//! | part of an answer | at most |
//! |---|---|
//! | head | [`max_head`](crate::Builder::max_head), 64 KiB by default |
//! | header fields | [`max_headers`](crate::Builder::max_headers), 100 by default; the same for each interim response |
//! | trailers | as many as header fields |
//! | interim responses, chunk extensions and trailers | 16 KiB together, with any options |
//! | digits of a chunk's size | 16 |
//! | body in memory | [`max_body`](crate::Builder::max_body), 16 MiB by default |
//! | bytes in one poll of a connection | 64 KiB; a byte that only frames chunks counts as nine |
//!
//! An answer over one of the first four limits is an [`HttpError::Protocol`] that names the limit and its value. The
//! caller sees it at once, before the rest of the answer comes, and the connection is closed. A check of
//! [`health_check_path`](crate::Builder::health_check_path) has the same limits.
//!
//! While a body is read, an attempt takes at most twice `max_body`, plus the buffers of its connection. These take less
//! than 1 MiB. If `max_head` is above its default, they take at most four times `max_head` plus 256 KiB. Once the body
//! has been read, it takes its length. Chunk extensions are not kept. Trailers are kept with the body. A length that is
//! only announced allocates nothing, and small chunks are joined. A body that is longer than `max_body` is an
//! [`HttpError::TooLarge`]. A streaming body is limited only by its deadline, unless [`Body::collect`] reads it.
//!
//! # Pushback
//! A failed response may ask for a delay before the next attempt of its call, or for no further attempt
//! ([R4](hedge_core::rules#R4)). It does so by the header `grpc-retry-pushback-ms` of gRPC, or by `Retry-After`.
//! [`HttpRetryPolicy`] passes this on. As this policy retries no status, the pushback moves or cancels a later backup,
//! or the retry of another attempt's failure. [`RetryStatuses`] retries the statuses that it names. A retry policy of
//! your own should make its verdicts on responses with [`failure`], or call [`pushback`] itself.
//!
//! # Connections
//! Each address has a stack of idle connections for each runtime. The connection that was used last is used next.
//! [`max_idle_per_server`](crate::Builder::max_idle_per_server) limits how many are kept for an address, and
//! [`idle_timeout`](crate::Builder::idle_timeout) how long one is kept. A connection goes back to its stack only when
//! its reply has been read to the end. Dropping an attempt closes its connection at once. A connection serves calls
//! only on the runtime that made it.
//!
//! The server may close a connection while it is idle. That says nothing about the server's health
//! ([C3](hedge_core::rules#C3)):
//!
//! * If the request has not left, the same attempt goes on with the next idle connection, and finally with a new one
//!   ([T4](hedge_core::rules#T4)).
//! * If the request may have left, and the connection broke before a byte of the answer came and within the connect
//!   timeout, a request that may be sent twice ([L15](hedge_core::rules#L15)) is sent once more, at once, on a new
//!   connection to the same server. This is not an attempt, and no limit counts it; [`Http::resent`] does. If the new
//!   connection breaks too, the attempt has failed.
//! * A request that may not be sent twice fails as [`HttpError::Stale`], whose kind is
//!   [`Broken`](hedge_core::outcome::ErrorKind::Broken).
//! * The other connections that have been idle for as long are closed. They are also closed when a call's deadline
//!   passes before a byte of the answer has come on a connection that had been idle.
//!
//! Some servers and proxies (haproxy, AWS load balancers) send a 408 on an idle connection before they close it. The
//! time when that 408 is read decides what it means (RFC 9110, 15.5.9):
//!
//! * If it is read before a byte of the next request has left, it cannot be about that request. The connection is
//!   closed, and any request goes on with the next connection ([T4](hedge_core::rules#T4)). No option changes this.
//! * If it is read later, the server may have sent it before the request came, or as the answer to it. A client cannot
//!   distinguish these cases. By default the 408 is the answer. With
//!   [`retry_stale_408`](crate::Builder::retry_stale_408), a 408 on a connection that had been idle counts as if the
//!   connection had broken: a request that may be sent twice is sent once more, by the rules above. RFC 9110 allows
//!   that for any request, as such a server has not received all of it. But an application that answers 408 by itself,
//!   or one behind a proxy, may have acted on the request. So a request that may not be sent twice is not sent again,
//!   and its caller gets the 408.
//! * A 408 on a new connection, or one that comes later than the connect timeout after the request, is always the
//!   answer.
//!
//! # Cost
//! An attempt takes one short lock to find the stacks of its address, one to take a connection, and one to give it
//! back. It allocates what hyper allocates, the copy of the headers, and the reply's body. A new connection is one
//! task. Answers are checked before hyper sees them, which copies all bytes once and parses heads a second time. Each
//! thread that runs connections has a buffer of 64 KiB for this. While an address has idle connections, one task for
//! each of its runtimes closes those that were idle for too long. The task ends when no connection is idle any more,
//! and with the channel or its runtime.

mod answer_filter;
mod body;
mod call;
mod call_error;
mod collected;
mod conn_state;
mod connection;
mod counters;
mod error;
mod headers;
mod limits;
mod on_attempt;
mod outgoing;
mod pool;
mod read;
mod request;
mod sending;
mod target;
mod transport;

pub use ::http::request::Parts;
pub use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
pub use body::{Body, BodyError};
pub use call::{Dispatch, RequestBuilder, SendResult};
pub use call_error::{HeaderFault, PathFault, RequestError, SendError};
pub use counters::HttpCounters;
pub use error::{BadRequest, HttpError, HttpRetryPolicy, ProtocolError};
pub use hedge_http::{RetryStatuses, StatusError, failure, pushback};
pub use hedge_wire::http1::{DecodeError, Fault};
pub use limits::HttpOptionError;
pub use outgoing::RequestBodyError;
pub use read::{BadStatus, ReplyError, Unreadable};
pub use request::{BoxBody, BoxError, OnceBody, RequestBody};
pub use transport::Http;
