//! brpc's protocol `baidu_std`, as a client and as a server.

mod code;
mod frame;
mod lists;
mod packet;
mod parts;
mod stream;

pub use crate::protobuf::Malformed;
pub use code::{ErrorCode, Meaning, RpcError};
pub use frame::{DEFAULT_MAX_BODY, EncodeError, Frame, FrameError, HEAD, Magic, Progress};
pub use lists::{Ids, UserFields};
pub use packet::{ContentType, Packet, PacketError};
pub use parts::{Checksum, ChunkInfo, Request, Response, StreamSettings};
pub use stream::{FrameType, StreamFrame};
