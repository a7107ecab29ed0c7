//! Codecs without I/O and without a runtime: the caller lends the buffers and moves the bytes. [`http1`] writes requests
//! and reads responses of HTTP/1.1. [`baidu_std`] reads and writes the frames of brpc's own protocol. [`resp`] is for
//! Redis, and [`memcached`] for memcached. An exchange over HTTP/1.1:
//!
//! ```
//! use hedge_wire::http1::{Progress, Receiver, Request};
//! use std::io::{Read, Write};
//!
//! fn temperature(stream: &mut (impl Read + Write)) -> Result<f32, Box<dyn std::error::Error>> {
//!     let mut buffer = [0; 1024];
//!     let request = Request { target: "/temperature", host: "sensor", ..Request::default() };
//!     let length = request.encode(&mut buffer)?;
//!     stream.write_all(&buffer[..length])?;
//!
//!     let mut receiver = Receiver::new(&mut buffer, request.is_head());
//!     let mut progress = Progress::More;
//!     while progress == Progress::More {
//!         let read = stream.read(receiver.space())?;
//!         progress = receiver.received(read)?;
//!     }
//!     let response = receiver.response().ok_or("not done")?;
//!     assert_eq!((response.status(), response.keep_alive()), (200, true));
//!     assert_eq!(response.header("content-type"), Some(&b"text/plain"[..]));
//!     Ok(std::str::from_utf8(response.body())?.parse()?)
//! }
//! # struct Server(&'static [u8]);
//! # impl Read for Server {
//! #     fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> { self.0.read(buffer) }
//! # }
//! # impl Write for Server {
//! #     fn write(&mut self, request: &[u8]) -> std::io::Result<usize> {
//! #         assert_eq!(request, b"GET /temperature HTTP/1.1\r\nhost: sensor\r\n\r\n");
//! #         Ok(request.len())
//! #     }
//! #     fn flush(&mut self) -> std::io::Result<()> { Ok(()) }
//! # }
//! # let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n";
//! # let response = format!("HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n{head}2\r\n21\r\n2;half\r\n.5\r\n0\r\n\r\n");
//! # assert_eq!(temperature(&mut Server(response.leak().as_bytes()))?, 21.5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Contract
//! Nothing panics, whatever a peer sends. The bytes may arrive in pieces of any size: the response, or the error, is the
//! same as if they had arrived in one piece. Nothing allocates, except the types and methods that the feature `alloc` adds,
//! which have `Vec` or `Value` in their signatures; even these allocate only what has arrived.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod baidu_std;
pub mod http1;
pub mod memcached;
mod protobuf;
pub mod resp;
mod write;
