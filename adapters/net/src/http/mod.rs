//! HTTP/1.1 over plain TCP: the transport [`Http`], request bodies, reply bodies, errors and the default retry policy.
//!
//! A request is an `http::Request<`[`RequestBody`]`>`; a reply is an `http::Response<`[`Body`]`>`. Each attempt builds its
//! own head from the borrowed request (T3): the method, the path and query, the headers, and a `Host`: the caller's own,
//! else the authority of an absolute URI, else the server's address.
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
//!   [`Broken`](hedge_core::policy::ErrorKind::Broken).
//! * The connections that have been idle for as long are closed. So they are when a call's deadline passes without a byte of
//!   the answer on a connection that had been idle.
//!
//! # Cost
//! An attempt takes one short lock to find its address's stacks and one each to take and give back a connection. It
//! allocates what hyper does, the copy of the headers, and the reply's body; a new connection is one task. The first 8 KiB
//! of an answer at most are copied once. While connections are idle, one task an address closes those that grow old; it ends
//! with them, with the channel, or with its runtime.

mod body;
mod connection;
mod error;
mod pool;
mod request;
mod sending;
mod traffic;
mod transport;

pub use body::{Body, BodyError};
pub use error::{BadRequest, HttpError, HttpRetryPolicy};
pub use hedge_http::{RetryStatuses, StatusError, failure, pushback};
pub use request::{BoxBody, BoxError, OnceBody, RequestBody};
pub use transport::Http;
