//! brpc's protocol `baidu_std`, for clients and servers. A connection is a row of frames. [`Frame::decode`] finds the
//! first one in the bytes that have come, and [`Packet::read`] reads the request or answer in it.
//! [`Packet::encode`] writes one. All of it borrows: the caller lends the buffers.
//!
//! ```
//! use hedge_wire::baidu_std::{DEFAULT_MAX_BODY, Frame, Packet, Progress};
//! use std::io::{Read, Write};
//!
//! fn echo(stream: &mut (impl Read + Write), message: &[u8]) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
//!     let mut buffer = [0; 1024];
//!     let request = Packet { message, ..Packet::request("example.EchoService", "Echo", 77) };
//!     let length = request.encode(&mut buffer)?;
//!     stream.write_all(&buffer[..length])?;
//!
//!     let mut filled = 0;
//!     loop {
//!         let read = stream.read(&mut buffer[filled..])?;
//!         if read == 0 {
//!             return Err("closed, or an answer larger than its buffer".into());
//!         }
//!         filled += read;
//!         if let Progress::Done { frame, length } = Frame::decode(&buffer[..filled], DEFAULT_MAX_BODY)? {
//!             let answer = Packet::read(&frame)?;
//!             if answer.correlation_id == Some(77) {
//!                 return answer.error().map_or(Ok(answer.message.to_vec()), |error| Err(error.to_string().into()));
//!             }
//!             // The answer to another request.
//!             buffer.copy_within(length..filled, 0);
//!             filled -= length;
//!         }
//!     }
//! }
//! # struct Server(&'static [u8]);
//! # impl Read for Server {
//! #     fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> { self.0.read(buffer) }
//! # }
//! # impl Write for Server {
//! #     fn write(&mut self, request: &[u8]) -> std::io::Result<usize> { Ok(request.len()) }
//! #     fn flush(&mut self) -> std::io::Result<()> { Ok(()) }
//! # }
//! # let answer = b"PRPC\0\0\0\x15\0\0\0\x0e\x12\x02\x08\0\x18\0\x20\x4d\x50\0\x58\0\x62\0\x0a\x05hello";
//! # assert_eq!(echo(&mut Server(answer), b"\x0a\x05hello")?, b"\x0a\x05hello");
//! # let refused = b"PRPC\0\0\0\x0d\0\0\0\x0d\x12\x09\x08\xd4\x0f\x12\x04busy\x20\x4d";
//! # assert_eq!(echo(&mut Server(refused), b"").unwrap_err().to_string(), "error 2004 ELIMIT: busy");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Contract
//! - The result is the same wherever the bytes are split. Nothing panics, whatever a peer sends. A length that a peer
//!   announces never makes this module allocate.
//! - A frame is an error if it is over its limit, of another protocol, or contradicts itself. The error says at which
//!   byte. The connection is of no further use then. (brpc drops a frame whose meta it cannot read, and the call waits
//!   for its timeout.)
//! - Fields of a meta that are not known are skipped. If a part that may come once comes twice, the frame is refused.
//!   Protocol buffers would merge both parts. Then two readers of one frame could see different requests. Groups are
//!   refused too; no meta has any.
//! - What was read can be written again, byte for byte, if the fields were in the order of their numbers, as brpc
//!   writes them, and all fields were known.
//! - Answers come in any order; the correlation id says to which request one belongs. An answer with an unknown id
//!   belongs to a request that is over. If an id comes twice, the first answer counts.
//!
//! # Features
//! `crc32c` computes checksums and checks them. `snappy` and `gzip` (with zlib) restore messages into a buffer that the
//! caller lends. Together with `alloc` they restore messages into a vector, and compress them. Without `crc32c`, a
//! checksum is not checked. Without `snappy` or `gzip`, a compressed message stays as it is. `snappy` needs `std`.
//! `alloc` also appends frames to a vector.

#[cfg(feature = "crc32c")]
mod checksum;
mod code;
mod compression;
#[cfg(feature = "gzip")]
mod deflate;
mod frame;
mod lists;
mod output;
mod packet;
mod parts;
mod stream;

pub use crate::protobuf::Malformed;
#[cfg(feature = "crc32c")]
pub use checksum::{ChecksumError, crc32c};
pub use code::{ErrorCode, Meaning, RpcError};
pub use compression::{Compression, CompressionError};
pub use frame::{DEFAULT_MAX_BODY, EncodeError, Frame, FrameError, HEAD, Magic, Progress};
pub use lists::{Ids, UserFields};
pub use packet::{ContentType, Packet, PacketError};
pub use parts::{Checksum, ChunkInfo, Request, Response, StreamSettings};
pub use stream::{FrameType, StreamFrame};
