//! What tests and fuzz targets of baidu_std have in common.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, unreachable_pub, reason = "tests")]

mod reference;

use hedge_wire::baidu_std::{Frame, FrameError, Magic, Packet, Progress, StreamFrame};

/// The bytes of a packet.
pub fn encoded(packet: &Packet<'_>) -> Vec<u8> {
    let mut out = vec![0; 4096];
    let length = packet.encode(&mut out).unwrap();
    out.truncate(length);
    out
}

/// The frame that these bytes begin with.
pub fn frame(wire: &[u8]) -> Option<Frame<'_>> {
    match Frame::decode(wire, usize::MAX) {
        Ok(Progress::Done { frame, .. }) => Some(frame),
        _ => None,
    }
}

/// Checks that the result of these bytes is the same wherever they are split, that a packet in them is what a second reader
/// finds, and that it is read back as it was. Returns the length of the frame, if it is complete.
pub fn assert_split(wire: &[u8], max_body: usize) -> Result<Option<usize>, FrameError> {
    let whole = Frame::decode(wire, max_body);
    for end in 0..wire.len() {
        match Frame::decode(&wire[..end], max_body) {
            Ok(Progress::More { needs }) => {
                assert!(needs > end && needs <= max_body.saturating_add(12), "{needs} at {end}");
                match whole {
                    Ok(Progress::More { needs: whole }) => assert!(needs <= whole),
                    Ok(Progress::Done { length, .. }) => assert!(needs <= length),
                    Err(_) => {}
                }
            }
            Ok(Progress::Done { frame, length }) => {
                assert_eq!(whole, Ok(Progress::Done { frame, length }));
                break;
            }
            Err(error) => assert_eq!(whole, Err(error), "at {end}"),
        }
    }
    let Progress::Done { frame, length } = whole? else { return Ok(None) };
    assert!(length <= wire.len() && frame.meta.len() + frame.rest.len() <= max_body);
    let expected = reference::expected(&frame).filter(|_| frame.magic == Magic::Rpc);
    let read = Packet::read(&frame);
    assert_eq!(read.as_ref().ok().map(reference::got), expected, "{:?} of {}", read, wire.escape_ascii());
    match read {
        Ok(packet) => assert_again(&packet),
        Err(error) => assert!(error.at() <= length, "{error:?}"),
    }
    if let Ok(stream) = StreamFrame::read(&frame) {
        let mut wire = vec![0; length.max(1 << 10)];
        let length = stream.encode(&mut wire).unwrap();
        assert_eq!(StreamFrame::read(&self::frame(&wire[..length]).unwrap()), Ok(stream));
    }
    Ok(Some(length))
}

/// Checks that what was read is written and read again as it was.
fn assert_again(packet: &Packet<'_>) {
    let mut wire = vec![0; 1 << 16];
    let Ok(length) = packet.encode(&mut wire) else { return };
    let again = frame(&wire[..length]).unwrap();
    assert_eq!(Packet::read(&again), Ok(*packet));
}
