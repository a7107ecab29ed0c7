//! A service of one method, `Greet`, whose messages are plain text. tonic-build 0.14 generated its client and its server,
//! by `tonic_build::manual`, so neither a protocol compiler nor a build script is needed here. In a program,
//! tonic-prost-build generates such code from a protocol file.

#[allow(unreachable_pub, clippy::default_constructed_unit_structs, reason = "generated code")]
pub(crate) mod greeter;

use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// Plain text as gRPC messages.
#[derive(Clone, Copy, Default)]
pub(crate) struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, text: String, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        bytes::BufMut::put_slice(to, text.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = bytes::Buf::copy_to_bytes(from, bytes::Buf::remaining(from));
        String::from_utf8(bytes.into()).map(Some).map_err(|_| Status::internal("not text"))
    }
}
