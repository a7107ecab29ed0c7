//! The client's side of Redis, RESP2 and RESP3: a [`Command`] is written as bytes, a [`Follower`] finds where replies end,
//! and a [`Reply`] is a view of one reply.
//!
//! ```
//! use hedge_wire::resp::{Command, Follower, Kind, Limits, Progress, Reply, Token};
//!
//! let command = Command::new(&[b"MGET", b"a", b"b"])?;
//! let mut out = [0; 64];
//! let length = command.encode(&mut out)?;
//! assert_eq!((&out[..length], command.kind()), (&b"*3\r\n$4\r\nMGET\r\n$1\r\na\r\n$1\r\nb\r\n"[..], Kind::Read));
//!
//! // Two replies, of which the second one is not complete.
//! let received = b"*2\r\n$2\r\nhi\r\n$-1\r\n+O";
//! let mut follower = Follower::new(Limits::default());
//! let Progress::Reply(end) = follower.follow(received)? else { return Err("not complete".into()) };
//! assert_eq!(follower.follow(&received[end..])?, Progress::More);
//!
//! let reply = Reply::parse(&received[..end], Limits::default())?;
//! let values: Vec<_> = reply.elements().map(|value| value.token()).collect();
//! assert_eq!(values, [Token::Bulk(b"hi"), Token::Null]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is accepted
//! All types of RESP2 and RESP3, as [redis.io](https://redis.io/docs/latest/develop/reference/protocol-spec/) describes
//! them. A push at the top level is not a reply, and the follower says so.
//!
//! # What is refused
//! Lengths with a sign (except the nulls of RESP2) or with leading zeros, lines that do not end in CRLF, a push inside
//! of another value, and everything that exceeds the [`Limits`]. Streamed strings and aggregates (`$?`, `*?`, `;`, `.`)
//! are refused too: RESP3 describes them, but no version of Redis sends them. An announced length that exceeds a limit
//! is an error at once. No announced length makes the codec allocate.
//!
//! # Cost
//! The follower reads each byte of a line once, and skips the bytes of bulk strings. It takes 4 bytes for each of
//! [`MAX_DEPTH`] levels. [`Reply::parse`] follows the reply once more. The feature `alloc` adds `Value`, which owns its
//! parts.

mod command;
mod error;
mod follower;
mod kind;
mod limits;
mod line;
mod number;
mod reply;
mod slot;
mod tokens;
#[cfg(feature = "alloc")]
mod value;

pub use command::{Command, EncodeError};
pub use error::{Code, Redirect, Remedy, ServerError};
pub use follower::{DecodeError, Fault, Follower, Progress};
pub use kind::Kind;
pub use limits::{Limits, MAX_DEPTH};
pub use number::Double;
pub use reply::{Elements, Pairs, Reply};
pub use slot::{SLOTS, slot};
pub use tokens::{Token, Tokens};
#[cfg(feature = "alloc")]
pub use value::Value;
