//! HTTP/1.1 and HTTP/2 over TCP, TLS or Unix sockets: the transport [`Http`], request bodies, reply bodies, errors and the default
//! retry policy.
//!
//! A request is an `http::Request<`[`RequestBody`]`>`; a reply is an `http::Response<`[`Body`]`>`. Each attempt builds
//! its own head from the borrowed request ([T3](hedge_core::rules#T3)): the method, the path and query, the headers,
//! and a `Host` header. The `Host` is the caller's own, else the authority of an absolute URI, else that of the server:
//! over TLS the name that is checked, else the host of its URL, else its address. For a Unix socket it is `localhost`. A
//! default `Host` of the channel comes before that of the server.
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
//! A channel may have headers of its own, which a request gets unless it sets them itself:
//! [`default_header`](crate::Builder::default_header).
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
//! # Content codings
//! Each of the features `gzip`, `deflate`, `brotli` and `zstd` asks servers for its coding by `accept-encoding`, and
//! decodes the answers ([W4](hedge_core::rules#W4)). Such an answer has no `content-encoding` and no `content-length` any
//! more. A request with an `accept-encoding` or a `range` of its own is not changed, and its answer is not decoded. Neither
//! is an answer with several codings, or with one that this build does not know.
//!
//! A body is decoded in pieces of at most 16 KiB while it comes, so a small body that expands to a huge one does no harm:
//! `Builder::max_decoded_body` limits it, 16 MiB by default, and `max_body` limits it as it is
//! sent. A body that is not what its `content-encoding` says, or ends too early, is an [`HttpError::Protocol`]. A decoder
//! takes about 40 KiB for gzip and deflate, and at most 8 MiB for zstd and 16 MiB for brotli, by the size of the window
//! that the server chose.
//!
//! # Pushback
//! A failed response may ask for a delay before the next attempt of its call, or for no further attempt
//! ([R4](hedge_core::rules#R4)). It does so by the header `grpc-retry-pushback-ms` of gRPC, or by `Retry-After`.
//! [`HttpRetryPolicy`] passes this on. As this policy retries no status, the pushback moves or cancels a later backup,
//! or the retry of another attempt's failure. [`RetryStatuses`] retries the statuses that it names. A retry policy of
//! your own should make its verdicts on responses with [`failure`], or call [`pushback`] itself.
//!
//! # Connecting
//! A host name is resolved for each connection, by [`resolver`](crate::Builder::resolver) or the operating system. Its
//! addresses are tried as RFC 8305 says ([C5](hedge_core::rules#C5)). [`SocketOptions`](crate::SocketOptions) are set
//! before that. `Builder::tls` and `https://` encrypt connections, with the feature `tls` or `tls-aws-lc`
//! ([C6](hedge_core::rules#C6)). The connect timeout covers all of it.
//!
//! An [`HttpError::Connect`] says which step failed. A server that refuses, does not answer, or fails the TLS handshake
//! is blamed. A name that cannot be resolved in time, or a lack of descriptors, blames no server
//! ([H5](hedge_core::rules#H5)). If a server refuses the client's certificate, TLS 1.3 says so only after the handshake, so
//! the attempt then fails as [`HttpError::Reset`] or [`HttpError::Broken`], with the alert among its sources, or as
//! [`HttpError::Unsent`] if the connection is gone before it has taken the request.
//!
//! A body that ends with its connection, and not by its length, is complete only if the server closes TLS properly. If
//! the connection just ends, it may have been cut, and the attempt fails as [`HttpError::Broken`].
//!
//! # Connections
//! Each address has a stack of idle connections for each runtime. The connection that was used last is used next.
//! [`max_idle_per_server`](crate::Builder::max_idle_per_server) limits how many are kept for an address, and
//! [`idle_timeout`](crate::Builder::idle_timeout) how long one is kept. A server's `Keep-Alive: timeout=N` and
//! [`max_connection_age`](crate::Builder::max_connection_age) shorten that. A connection goes back to its stack only when
//! its reply has been read to the end. A connection serves calls only on the runtime that made it. With the connection
//! type [`Short`](crate::ConnectionType::Short), each attempt has a connection of its own.
//!
//! An attempt is abandoned when another one wins, when its call is cancelled or dropped, and at a deadline
//! ([C2](hedge_core::rules#C2)). If its request had been sent whole, its answer is read and thrown away in the
//! background, and the connection goes back to its stack. [`DrainOptions`] limits that: by default to 64 KiB of body, to
//! 1 s, and to 100 connections to a server at a time. Otherwise the connection is closed. Servers of HTTP/1.1 that look
//! for a close while they work take it for a cancel, so
//! [`drain_or_close`](crate::Builder::drain_or_close) can choose to close at once. Dropping a streaming [`Body`] before
//! its end always closes its connection. [`HttpCounters`] counts both.
//!
//! Channels share the idle connections to an address if they have the same
//! [`connection_group`](crate::Builder::connection_group), TLS settings, `socket_options`, `resolver`, `max_head` and
//! `max_headers` ([C4](hedge_core::rules#C4)). What
//! concerns one connection while it is idle goes by the settings of the channel that used it last. [`HttpCounters`] says
//! which channel counts what.
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
//! # HTTP/2
//! With the feature `http2`, a channel speaks HTTP/2 with a server that chooses it in the TLS handshake, and always with
//! the protocol [`H2`](crate::Protocol::H2): [`Builder::protocol`](crate::Builder::protocol) has the table. Requests and
//! replies are the same. The `Host` header becomes `:authority`, and `connection` and `transfer-encoding` are not sent.
//!
//! The calls to a server share one connection ([C1](hedge_core::rules#C1)). More are made only while each one has as many
//! requests in flight as the server allows, up to 8. While the settings of a server are not known yet, one request is in
//! flight, and the others wait. A request that finds no room within the connect timeout fails as [`HttpError::NoRoom`].
//! Request bodies that wait to be written take at most 64 MiB on a connection; beyond that a request fails as
//! [`HttpError::Overcrowded`] ([C7](hedge_core::rules#C7)).
//!
//! An abandoned attempt resets its stream with `CANCEL`, which costs no connection ([C2](hedge_core::rules#C2)). A connection
//! resets at most 20 streams in a second, since servers take more for an attack. Beyond that, the answer is read and thrown
//! away, and a stream that is still open after the [time limit](DrainOptions::timeout) is reset as soon as the connection may
//! reset another one. Such a stream keeps its place on the connection, so many of them at once make more connections. With more than 100 of them, a connection takes no new request. The
//! other limits of [`DrainOptions`] are HTTP/1.1's. Dropping a streaming [`Body`] does the same.
//!
//! A connection that the server is closing (`GOAWAY`) takes no new request. A request that the server did not process, by
//! `GOAWAY` or `REFUSED_STREAM`, never left: the same attempt goes once more on another connection or another stream, and
//! then fails as [`HttpError::Unsent`] ([T4](hedge_core::rules#T4)). A connection that breaks is treated as an idle
//! connection of HTTP/1.1 that breaks, if it had served another request before.
//!
//! If a call's deadline passes and the connection has brought no byte since its request, the server is pinged. A server that
//! answers nothing within [`PingOptions::timeout`](crate::Builder::ping) has its connection closed, so one dead connection
//! does not cost many calls.
//!
//! Answers are checked by h2, which follows RFC 9113: lengths that do not fit, forbidden headers, and frames in the wrong place
//! are an [`HttpError::Protocol`]. `max_head` limits a head, with 32 bytes added for each field. Of each answer at most 1 MiB
//! waits to be read, and of all answers on a connection 64 MiB.
//!
//! # Cost
//! Over HTTP/1.1, an attempt takes one short lock to find the idle connections of its address, one to take a connection, and one to give it
//! back. It allocates what hyper allocates, the copy of the headers, and the reply's body. Answers are checked before
//! hyper sees them, which copies all bytes once and parses heads a second time. Each thread that runs connections has a
//! buffer of 64 KiB for this.
//!
//! Over HTTP/2, an attempt takes one short lock to get its place on a connection and one to leave it, and those of h2. A
//! request whose body is not sent at once has a task, and so has an abandoned one that is not reset at once.
//!
//! A connection is one task, and so is each abandoned attempt whose answer is drained. While an address has idle
//! connections, one task for each of its runtimes closes those that were idle for too long. The task ends when no
//! connection is idle any more, and with the last channel that shares them or with its runtime. Without connections to a
//! server, there is no task and no timer for it, unless it is checked because it is down.
//!
//! An idle connection allocates this much on this side, with tokio and the default `max_head`:
//!
//! | connection | after small bodies | after a body of 1 MiB |
//! |---|---|---|
//! | HTTP/1.1 | 29 KiB | 121 KiB |
//! | HTTP/1.1 over TLS | 37 KiB | 61 KiB |
//! | HTTP/2 | 39 KiB | 39 KiB |
//!
//! Over HTTP/1.1 most of this is hyper's: its buffers for reading and for writing have 8 KiB each at first, and its channel for
//! requests takes 8 KiB. Over HTTP/2 it is h2's buffers, and all calls to a server share it.
//!
#![doc = include_str!("faults.md")]

mod call;
mod call_error;
mod inner;
mod read;

pub use ::http::request::Parts;
pub use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
pub use call::{Dispatch, RequestBuilder, SendResult};
pub use call_error::SendError;
pub use hedge_http::{RetryStatuses, StatusError, failure, pushback};
#[cfg(feature = "_coding")]
#[doc(inline)]
pub use hedge_http_transport::CodingError;
#[cfg(feature = "http2")]
#[doc(inline)]
pub use hedge_http_transport::PingOptions;
#[doc(inline)]
pub use hedge_http_transport::{
    BadRequest, Body, BodyError, BoxBody, BoxError, BreakError, DefaultHeaderError, DefaultHeaderFault, DrainOptions,
    DrainOrClose, HeadBytes, HeaderCount, HeaderFault, Http, HttpCounters, HttpError, HttpRetryPolicy, OnceBody,
    PathFault, ProtocolError, RequestBody, RequestBodyError, RequestError,
};
pub use hedge_wire::http1::{DecodeError, Fault};
pub use inner::InnerHttp;
pub use read::{BadStatus, ReplyError, Unreadable};
