//! The binary protocol: a [`Request`] is written as bytes, and bytes are read into a [`Response`]. The server answers in
//! the order of the requests.
//!
//! ```
//! use hedge_wire::memcached::binary::{Operation, Request, Response, Status};
//! use hedge_wire::memcached::{Key, Progress};
//!
//! let get = Operation::Get { key: Key::new(b"key1")?, with_key: false };
//! let request = Request { operation: get, is_quiet: false, opaque: 7 };
//! let mut out = [0; 64];
//! let length = request.encode(&mut out)?;
//! assert_eq!(length, 24 + 4);
//!
//! let received = b"\x81\0\0\0\x04\0\0\0\0\0\0\x06\0\0\0\x07\0\0\0\0\0\0\0\x01\0\0\0\x05hi";
//! let Progress::Done { response, length } = Response::decode(received, 1 << 20)? else { return Err("not complete".into()) };
//! assert_eq!((length, response.status(), response.flags()), (30, Status::Ok, Some(5)));
//! assert_eq!((response.value(), response.cas()), (&b"hi"[..], 1));
//! assert!(response.answers(&request));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod many;
mod opcode;
mod request;
mod response;
mod status;

pub use many::{Found, GetMany};
pub use opcode::Opcode;
pub use request::{Operation, Request, Store};
pub use response::Response;
pub use status::Status;

/// The length of the head of requests and answers.
pub const HEAD: usize = 24;
