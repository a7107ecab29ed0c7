//! The meta commands of the text protocol: a [`Request`] is written as bytes, and bytes are read into a [`Response`]. The
//! server answers in the order of the requests.
//!
//! ```
//! use hedge_wire::memcached::meta::{Flag, Operation, Request, Response, Status};
//! use hedge_wire::memcached::{Key, Progress};
//!
//! let flags = [Flag::Value, Flag::ClientFlags, Flag::Opaque(b"7")];
//! let request = Request { operation: Operation::Get { key: Key::new(b"key1")? }, flags: &flags };
//! let mut out = [0; 64];
//! let length = request.encode(&mut out)?;
//! assert_eq!(&out[..length], b"mg key1 v f O7\r\n");
//!
//! let received = b"VA 2 f5 O7\r\nhi\r\nEN\r\n";
//! let Progress::Done { response, length } = Response::decode(received, 1 << 20)? else { return Err("not complete".into()) };
//! assert_eq!((response.status(), response.value()), (Status::Value, Some(&b"hi"[..])));
//! assert_eq!((response.number(b'f'), response.token(b'O')), (Some(5), Some(&b"7"[..])));
//! let Progress::Done { response, .. } = Response::decode(&received[length..], 1 << 20)? else { return Err("not complete".into()) };
//! assert_eq!(response.status(), Status::Miss);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod base64;
mod flag;
mod request;
mod response;
mod status;

pub use flag::{Flag, Mode};
pub use request::{Operation, Request};
pub use response::{MAX_LINE, Response};
pub use status::Status;
