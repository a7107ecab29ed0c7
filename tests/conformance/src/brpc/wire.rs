//! The frames of one direction of a connection.

use hedge_wire::baidu_std::{
    DEFAULT_MAX_BODY, EncodeError, Frame, FrameError, Magic, Packet, PacketError, Progress, StreamFrame,
};
use serde::Deserialize;

use super::{bytes, same, text};

/// A frame as a table decodes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    magic: String,
    body_size: usize,
    meta_size: usize,
    meta: String,
    frame_bytes: usize,
    payload_is_rpc_response: Option<Inner>,
    payload_hex: Option<String>,
}

/// The answer within a frame of a stream.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Inner {
    body_size: usize,
    meta_size: usize,
    meta: String,
    frame_len: usize,
}

/// What a frame carries.
#[derive(Debug)]
pub(super) enum Carried<'b> {
    Packet(Box<Packet<'b>>),
    Stream(StreamFrame<'b>),
}

/// Why bytes are no frames, or no packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refused {
    Frame(FrameError),
    Packet(PacketError),
}

/// The frames of these bytes, then how many bytes of an incomplete frame are left, or why no more can be read.
pub(super) struct Read<'b> {
    pub(super) frames: Vec<(Frame<'b>, Carried<'b>)>,
    pub(super) end: Result<usize, Refused>,
}

impl<'b> Read<'b> {
    pub(super) fn of(bytes: &'b [u8]) -> Self {
        let (mut frames, mut rest) = (Vec::new(), bytes);
        loop {
            let frame = match Frame::decode(rest, DEFAULT_MAX_BODY) {
                Ok(Progress::Done { frame, length }) => {
                    rest = rest.get(length..).unwrap_or(&[]);
                    frame
                }
                Ok(Progress::More { .. }) => return Self { frames, end: Ok(rest.len()) },
                Err(error) => return Self { frames, end: Err(Refused::Frame(error)) },
            };
            let carried = match frame.magic {
                Magic::Rpc => Packet::read(&frame).map(Box::new).map(Carried::Packet),
                Magic::Stream => StreamFrame::read(&frame).map(Carried::Stream),
            };
            match carried {
                Ok(carried) => frames.push((frame, carried)),
                Err(error) => return Self { frames, end: Err(Refused::Packet(error)) },
            }
        }
    }

    /// The packets, also those within frames of streams.
    pub(super) fn packets(&self) -> Vec<Packet<'b>> {
        let packets = self.frames.iter().flat_map(|(_, carried)| match carried {
            Carried::Packet(packet) => vec![**packet],
            Carried::Stream(stream) => Self::of(stream.payload).packets(),
        });
        packets.collect()
    }

    /// The frames are those of the table, and are written again byte for byte.
    pub(super) fn compare(&self, rows: &[Row]) -> Result<(), String> {
        same("end", &Ok(0), &self.end)?;
        same("frames", &rows.len(), &self.frames.len())?;
        self.frames.iter().zip(rows).try_for_each(|((frame, carried), row)| {
            let sizes = (row.magic.as_bytes(), row.meta_size, row.body_size, row.frame_bytes);
            let body = frame.meta.len().saturating_add(frame.rest.len());
            let got = (&frame.magic.bytes()[..], frame.meta.len(), body, body.saturating_add(12));
            same("magic and sizes", &sizes, &got)?;
            same("meta", &row.meta, &meta_of(carried))?;
            if let Carried::Stream(stream) = carried {
                row.payload_is_rpc_response.as_ref().map_or(Ok(()), |inner| compare_inner(inner, stream))?;
                let payload = row.payload_hex.as_deref().map_or_else(|| Ok(stream.payload.to_vec()), bytes)?;
                same("payload", &payload, &stream.payload.to_vec())?;
            }
            written_again(frame, carried)
        })
    }
}

pub(super) fn meta_of(carried: &Carried<'_>) -> String {
    match carried {
        Carried::Packet(packet) => text::of_packet(packet),
        Carried::Stream(stream) => text::of_stream(stream),
    }
}

fn compare_inner(inner: &Inner, stream: &StreamFrame<'_>) -> Result<(), String> {
    let read = Read::of(stream.payload);
    let row = Row {
        magic: "PRPC".into(),
        body_size: inner.body_size,
        meta_size: inner.meta_size,
        meta: inner.meta.clone(),
        frame_bytes: inner.frame_len,
        payload_is_rpc_response: None,
        payload_hex: None,
    };
    read.compare(&[row]).map_err(|error| format!("within the stream, {error}"))
}

/// The frame, and what it carries, are written as they came.
pub(super) fn written_again(frame: &Frame<'_>, carried: &Carried<'_>) -> Result<(), String> {
    let came = encoded(|out| frame.encode(out))?;
    let again = match carried {
        Carried::Packet(packet) => encoded(|out| packet.encode(out))?,
        Carried::Stream(stream) => encoded(|out| stream.encode(out))?,
    };
    same("written again", &came, &again)
}

/// What `write` writes.
pub(super) fn encoded(write: impl Fn(&mut [u8]) -> Result<usize, EncodeError>) -> Result<Vec<u8>, String> {
    let length = match write(&mut []) {
        Err(EncodeError::TooLong { needs }) => needs,
        other => return Err(format!("{other:?} for an empty buffer")),
    };
    let mut out = vec![0; length];
    match write(&mut out) {
        Ok(written) if written == length => Ok(out),
        other => Err(format!("{other:?} for a buffer of {length} bytes")),
    }
}
