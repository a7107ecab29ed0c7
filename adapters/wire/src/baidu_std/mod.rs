//! brpc's protocol `baidu_std`, as a client and as a server.

mod frame;

pub use frame::{DEFAULT_MAX_BODY, EncodeError, Frame, FrameError, HEAD, Magic, Progress};
