//! HTTP/1.1 and HTTP/2 over TCP, TLS or Unix sockets, generic over the runtime: sends one request to one server.
//!
//! [`Http`] is a [`SendTransport`](hedge_core::drive::SendTransport): it starts one attempt at an address, and gives the
//! answer or an [`HttpError`]. It keeps connections for each address. It knows nothing of calls, of lists of servers or of
//! channels: `hedge-net` chooses the server, decides when to send, and re-exports the types of this crate that programs
//! need as `hedge_net::http`. The docs of that module say what is sent, what is refused, and what the limits are.
//!
//! | To | see |
//! |---|---|
//! | set the options of a transport, and make it | [`HttpSetup`], [`ConnectOptions`], [`DefaultHeaders`], [`DrainOrClose`] |
//! | name one server by its URL, and choose the protocol | [`Origin`], [`ProtocolChoice`], [`HttpSetup::connect_by`] |
//! | build a request | [`RequestBody`], [`parse_target`], [`with_query`], [`add_header`] |
//! | read an answer | [`Body`], [`BodyHandover`] |
//! | judge an answer | [`HttpError`], [`HttpRetryPolicy`] |
//! | check a server | [`Http::check`] |
//!
//! # Contract
//! An attempt is a future. If it is dropped, its attempt is abandoned: with HTTP/1.1 its connection is drained or
//! closed, and with HTTP/2 its stream is reset. Nothing panics on input. Memory for each answer and each connection is
//! bounded.
#![forbid(unsafe_code)]

mod along_headers;
mod answer_filter;
mod attempt;
mod body;
mod break_error;
#[cfg(feature = "_coding")]
mod coding;
mod collected;
mod conn_state;
mod connect_options;
mod connection;
mod counters;
mod default_headers;
mod error;
mod exchange;
#[cfg(feature = "grpc")]
mod grpc_codes;
#[cfg(feature = "grpc")]
mod grpc_headers;
mod handover;
mod headers;
mod keep_alive;
mod limits;
mod on_attempt;
mod origin;
mod outgoing;
mod place;
mod poll_budget;
mod poll_bytes;
mod protocol_choice;
mod request;
mod request_error;
mod retry_policy;
mod scratch;
mod setup;
mod target;
mod transport;
mod versions;

pub use along_headers::{AlongField, AlongHeaderError, AlongHeaderFault, AlongHeaders};
pub use attempt::drain::{DrainOptions, DrainOrClose};
#[cfg(feature = "http2")]
pub use attempt::http2::PingOptions;
pub use body::{Body, BodyError};
pub use break_error::BreakError;
#[cfg(feature = "_coding")]
pub use coding::CodingError;
pub use connect_options::{ConnectOptionError, ConnectOptions};
pub use counters::HttpCounters;
pub use default_headers::{DefaultHeaderError, DefaultHeaderFault, DefaultHeaders};
pub use error::{BadRequest, HttpError, ProtocolError};
#[cfg(feature = "grpc")]
pub use grpc_codes::MethodCodes;
#[cfg(feature = "grpc")]
pub use grpc_headers::timeout as grpc_timeout;
pub use handover::BodyHandover;
pub use headers::add as add_header;
pub use limits::{HeadBytes, HeaderCount};
pub use origin::{Origin, UrlError};
pub use outgoing::{BoxBody, BoxError, RequestBodyError};
pub use protocol_choice::ProtocolChoice;
pub use request::{OnceBody, RequestBody};
pub use request_error::{HeaderFault, PathFault, RequestError};
pub use retry_policy::HttpRetryPolicy;
pub use setup::HttpSetup;
pub use target::{parse as parse_target, with_query};
pub use transport::{CheckFn, CheckFuture, Http};
