//! Packets of baidu_std: what brpc writes, what is refused, and any packet there and back.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod packets;

use hedge_wire::baidu_std::{
    Checksum, ChunkInfo, ContentType, EncodeError, Frame, FrameType, HEAD, Ids, Magic, Malformed, Packet, PacketError,
    Request, Response, StreamFrame, StreamSettings, UserFields,
};
use packets::{assert_split, encoded};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// A meta in a frame, with two bytes behind it.
fn read(meta: &[u8]) -> Result<Packet<'_>, PacketError> {
    Packet::read(&Frame { magic: Magic::Rpc, meta, rest: b"hi" })
}

#[test]
fn a_request_with_everything_is_as_brpcs_client_writes_it() {
    let mut request = Packet::request("probe.Echo", "Do", 0x1_0000_0002);
    request.request =
        request.request.map(|it| Request { log_id: Some(5), request_id: Some("r"), timeout_ms: Some(200), ..it });
    request.authentication_data = Some(b"s");
    request.user_fields = UserFields::of(&[("u", b"1")]);
    request.checksum = Checksum::of(b"\x6f\x88\x1a\x47", false);
    request.message = b"\x28\x07\x42\x03all";
    request.attachment = &[1, 2];
    let expected = "505250430000004200000039\
        0a180a0a70726f62652e4563686f1202446f18053a017240c801180020828080801028023a01734a060a01751201315000580162046f881a47\
        28074203616c6c0102";
    assert_eq!(encoded(&request), bytes(expected));

    let mut head = [0; 100];
    let length = request.encode_head(&mut head).unwrap();
    assert_eq!(head[..length], encoded(&request)[..length], "the head alone says the same sizes");
    assert_eq!(length + request.message.len() + request.attachment.len(), expected.len() / 2);
}

#[test]
fn settings_of_streams_are_as_brpcs_client_writes_them() {
    let mut request = Packet::request("probe.Echo", "Do", 0x1_0000_0002);
    let extra_stream_ids = Ids::of(&[1, 2]);
    request.stream_settings =
        Some(StreamSettings { stream_id: 0, need_feedback: Some(true), writable: Some(true), extra_stream_ids });
    request.message = b"\x28\x07";
    let expected = "505250430000002e0000002c\
        0a100a0a70726f62652e4563686f1202446f1800208280808010420a080010011801200120025000580062002807";
    assert_eq!(encoded(&request), bytes(expected));

    let packed = b"\x42\x08\x08\x00\x22\x02\x01\x02\x20\x03";
    let settings = read(packed).unwrap().stream_settings.unwrap();
    assert_eq!(settings.extra_stream_ids, Ids::of(&[1, 2, 3]), "packed or not");
}

#[test]
fn a_short_buffer_says_how_much_is_needed() {
    let request = Packet { message: &[7; 40], attachment: &[8; 50], ..Packet::request("a.B", "C", 1) };
    let needs = encoded(&request).len();
    for length in 0..needs {
        assert_eq!(request.encode(&mut vec![0; length]), Err(EncodeError::TooLong { needs }), "{length}");
    }
    assert_eq!(request.encode_head(&mut [0; 11]), Err(EncodeError::TooLong { needs: needs - 90 }));
}

#[cfg(feature = "alloc")]
#[test]
fn a_vector_gets_what_a_buffer_gets() {
    let request = Packet { message: &[7; 40], attachment: &[8; 50], ..Packet::request("a.B", "C", 1) };
    let stream = StreamFrame { payload: b"data", ..StreamFrame::default() };
    let mut out = b"before".to_vec();
    request.append_head(&mut out).unwrap();
    out.extend([request.message, request.attachment].concat());
    request.append(&mut out).unwrap();
    stream.append(&mut out).unwrap();
    let mut buffer = [0; 64];
    let length = stream.encode(&mut buffer).unwrap();
    assert_eq!(out, [b"before", &encoded(&request)[..], &encoded(&request), &buffer[..length]].concat());
}

#[test]
fn what_is_not_known_is_skipped() {
    let meta = b"\x12\x04\x08\x05\x18\x09\x20\x07\x7a\x01x\xa1\x0612345678\x1d1234\x22\x00\x50\x63";
    let packet = read(meta).unwrap();
    let response = Response { error_code: Some(5), error_text: None };
    assert_eq!((packet.response, packet.correlation_id, packet.compress_type), (Some(response), Some(7), None));
    assert_eq!((packet.content_type, packet.content()), (Some(99), ContentType::Protobuf), "as brpc takes it");
}

#[test]
fn numbers_are_of_their_width() {
    let minus_one = b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
    let meta = [&b"\x18"[..], minus_one, b"\x20", minus_one, b"\x12\x06\x08\xff\xff\xff\xff\x0f"].concat();
    let packet = read(&meta).unwrap();
    assert_eq!((packet.compress_type, packet.correlation_id), (Some(-1), Some(-1)));
    assert_eq!(packet.response.unwrap().error_code, Some(-1));
    assert_eq!(read(b"\x28\xff\xff\xff\xff\x0f").unwrap().attachment, b"", "a negative size is none");
}

#[test]
fn p1_a_packet_that_is_malformed_says_where() {
    for (meta, malformed) in [
        (&b"\x20\x07\x80"[..], Malformed::Truncated { at: 2 }),
        (b"\x20\x07\x0a\x09\x0a\x03a.B\x12\x02C", Malformed::Truncated { at: 2 }),
        (b"\x20\x07\x0a\x08\x0a\x03a.B\x12\x02C", Malformed::Truncated { at: 9 }),
        (b"\x20\x07\x0a\x09\x0a\x03a.B\x12\x01C\x1b", Malformed::Group { at: 12 }),
        (b"\x20\x07\x0a\x05\x0a\x03a.B", Malformed::Missing { field: "method_name", at: 2 }),
        (b"\x0a\x07\x0a\x00\x12\x03a.B", Malformed::Missing { field: "service_name", at: 0 }),
        (b"\x20\x07\x0a\x08\x0a\x03\xff.B\x12\x01C", Malformed::Utf8 { at: 4 }),
        (b"\x12\x02\x08\x01\x12\x02\x08\x02", Malformed::Twice { at: 4 }),
        (b"\x42\x02\x10\x01", Malformed::Missing { field: "stream_id", at: 0 }),
        (b"\x42\x06\x08\x00\x22\x02\x01\x80", Malformed::Truncated { at: 7 }),
        (b"\x32\x02\x08\x01", Malformed::Missing { field: "chunk_id", at: 0 }),
        (b"\x4a\x04\x0a\x03ab", Malformed::Truncated { at: 2 }),
        (b"\xff\xff\xff", Malformed::Truncated { at: 0 }),
    ] {
        let error = PacketError::Meta(malformed);
        assert_eq!((read(meta), error.at()), (Err(error), HEAD + malformed.at()), "{}", meta.escape_ascii());
    }
    let error = PacketError::AttachmentTooLarge { says: 3, has: 2, at: 2 };
    assert_eq!((read(b"\x20\x07\x28\x03"), error.at()), (Err(error), 14));
    let text = "packet: byte 2 of its meta announces an attachment of 3 bytes, but 2 bytes follow";
    assert_eq!(error.to_string(), text);
    let text = "packet: in its meta, the part at byte 4 came before";
    assert_eq!(PacketError::Meta(Malformed::Twice { at: 4 }).to_string(), text);
    assert_eq!(Packet::read(&Frame { magic: Magic::Stream, meta: b"", rest: b"" }), Err(PacketError::WrongMagic));
}

#[test]
fn frames_of_streams_are_as_brpc_writes_them() {
    for (hex, stream) in [
        (
            "5354524d0000000e00000009089201100018032000636c6f7365",
            StreamFrame {
                stream_id: 146,
                source_stream_id: Some(0),
                frame_type: Some(3),
                has_continuation: Some(false),
                consumed: None,
                payload: b"close",
            },
        ),
        (
            "5354524d0000000a0000000a0800100018042a020814",
            StreamFrame {
                source_stream_id: Some(0),
                frame_type: Some(4),
                consumed: Some(20),
                ..StreamFrame::default()
            },
        ),
        ("5354524d000000040000000408001801", StreamFrame { frame_type: Some(1), ..StreamFrame::default() }),
    ] {
        let wire = bytes(hex);
        let frame = packets::frame(&wire).unwrap();
        assert_eq!(StreamFrame::read(&frame), Ok(stream));
        let mut out = [0; 64];
        let length = stream.encode(&mut out).unwrap();
        assert_eq!(out[..length], wire);
        assert_eq!(stream.encode(&mut out[..length - 1]), Err(EncodeError::TooLong { needs: length }));
    }
    let kinds = [0, 1, 2, 3, 4, 5].map(|kind| StreamFrame { frame_type: Some(kind), ..StreamFrame::default() }.kind());
    let [reset, close] = [FrameType::Reset, FrameType::Close].map(Some);
    assert_eq!(kinds, [None, reset, close, Some(FrameType::Data), Some(FrameType::Feedback), None]);
    for (meta, error) in [
        (&b"\x10\x01"[..], Malformed::Missing { field: "stream_id", at: 0 }),
        (b"\x08\x01\x2a\x00\x2a\x00", Malformed::Twice { at: 4 }),
        (b"\x08\x01\x2a\x02\x08\x80", Malformed::Truncated { at: 5 }),
    ] {
        let read = StreamFrame::read(&Frame { magic: Magic::Stream, meta, rest: b"" });
        assert_eq!(read, Err(PacketError::Meta(error)));
    }
    assert_eq!(StreamFrame::read(&Frame { magic: Magic::Rpc, meta: b"", rest: b"" }), Err(PacketError::WrongMagic));
}

#[test]
fn texts_of_servers_and_fields_of_users_may_be_any_bytes() {
    let packet = read(b"\x12\x05\x08\x01\x12\x01\xff\x4a\x05\x0a\x01\xfe\x12\x00\x4a\x02\x12\x00").unwrap();
    assert_eq!(packet.response.unwrap().error_text, Some(&b"\xff"[..]));
    let fields: Vec<_> = packet.user_fields.iter().collect();
    assert_eq!(fields, [(&b"\xfe"[..], &b""[..]), (b"", b"")]);
    assert_eq!(format!("{:?}", packet.user_fields), r"{\xfe: , : }");
}

type OwnedRequest = (String, String, [Option<i64>; 4], Option<String>, Option<i32>);
type OwnedStream = (i64, Option<bool>, Option<bool>, Vec<i64>);

/// What a packet borrows.
#[derive(Clone, Debug, Default)]
struct Owned {
    request: Option<OwnedRequest>,
    response: Option<(Option<i32>, Option<Vec<u8>>)>,
    numbers: [Option<i32>; 3],
    correlation_id: Option<i64>,
    chunk: Option<(i64, i64)>,
    credential: Option<Vec<u8>>,
    stream: Option<OwnedStream>,
    fields: Vec<(String, Vec<u8>)>,
    checksum: (Option<Vec<u8>>, Option<bool>),
    message: Vec<u8>,
    attachment: Vec<u8>,
}

impl Owned {
    fn lists(&self) -> (Vec<(&str, &[u8])>, Vec<i64>) {
        let pairs = self.fields.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        (pairs, self.stream.clone().map_or_else(Vec::new, |stream| stream.3))
    }

    fn packet<'a>(&'a self, pairs: &'a [(&'a str, &'a [u8])], ids: &'a [i64]) -> Packet<'a> {
        let request = self.request.as_ref().map(|(service, method, ids, request_id, timeout_ms)| Request {
            service,
            method,
            log_id: ids[0],
            trace_id: ids[1],
            span_id: ids[2],
            parent_span_id: ids[3],
            request_id: request_id.as_deref(),
            timeout_ms: *timeout_ms,
        });
        let response = self.response.as_ref();
        let stream = self.stream.as_ref();
        Packet {
            request,
            response: response.map(|(code, text)| Response { error_code: *code, error_text: text.as_deref() }),
            compress_type: self.numbers[0],
            correlation_id: self.correlation_id,
            chunk_info: self.chunk.map(|(stream_id, chunk_id)| ChunkInfo { stream_id, chunk_id }),
            authentication_data: self.credential.as_deref(),
            stream_settings: stream.map(|(stream_id, need_feedback, writable, _)| StreamSettings {
                stream_id: *stream_id,
                need_feedback: *need_feedback,
                writable: *writable,
                extra_stream_ids: Ids::of(ids),
            }),
            user_fields: UserFields::of(pairs),
            content_type: self.numbers[1],
            checksum: Checksum {
                kind: self.numbers[2],
                value: self.checksum.0.as_deref(),
                with_attachment: self.checksum.1,
            },
            message: &self.message,
            attachment: &self.attachment,
        }
    }
}

/// Any packet.
fn packet() -> impl Strategy<Value = Owned> {
    let number = || prop_oneof![Just(0), any::<i64>(), -2..200_i64];
    let small = || prop_oneof![Just(0), any::<i32>(), -2..4_i32];
    let data = || vec(any::<u8>(), 0..20);
    let ids = [of(number()), of(number()), of(number()), of(number())];
    let request = ("[a-zA-Z.é]{1,20}", "[a-zA-Z]{1,9}", ids, of(".{0,9}"), of(small()));
    let response = (of(small()), of(data()));
    let stream = (number(), of(any::<bool>()), of(any::<bool>()), vec(number(), 0..4));
    let fields = vec((".{0,6}", data()), 0..4);
    let parts = (of(request), of(response), of((number(), number())), of(data()), of(stream), fields);
    let numbers = ([of(small()), of(small()), of(small())], of(number()), (of(data()), of(any::<bool>())));
    (parts, numbers, data(), vec(any::<u8>(), 0..200)).prop_map(|(parts, numbers, message, attachment)| {
        let (request, response, chunk, credential, stream, fields) = parts;
        let (numbers, correlation_id, checksum) = numbers;
        Owned {
            request,
            response,
            numbers,
            correlation_id,
            chunk,
            credential,
            stream,
            fields,
            checksum,
            message,
            attachment,
        }
    })
}

#[test]
fn o3_no_text_has_a_credential() {
    let request = Packet { authentication_data: Some(b"secret"), message: b"body", ..Packet::request("a.B", "C", 1) };
    let wire = encoded(&request);
    let texts = format!("{request:?} {:?}", packets::frame(&wire));
    assert!(texts.contains("authentication_data: Some(6 bytes)") && texts.contains("message: 4 bytes"), "{texts}");
    for hidden in ["secret", "115", "body", "98"] {
        assert!(!texts.contains(hidden), "{hidden} in {texts}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_packet_is_read_back_as_it_was(owned in packet()) {
        let (pairs, ids) = owned.lists();
        let packet = owned.packet(&pairs, &ids);
        let wire = encoded(&packet);
        prop_assert_eq!(assert_split(&wire, wire.len()).unwrap(), Some(wire.len()));
        let frame = packets::frame(&wire).unwrap();
        let read = Packet::read(&frame).unwrap();
        prop_assert_eq!(read, packet);
        prop_assert_eq!(encoded(&read), wire, "and written as it was");
    }

    #[test]
    fn p1_the_result_of_any_bytes_is_the_same_at_every_split(
        owned in packet(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..4),
        max_body in prop_oneof![Just(usize::MAX), 0..200_usize],
    ) {
        let (pairs, ids) = owned.lists();
        let mut wire = encoded(&owned.packet(&pairs, &ids));
        for (index, byte, kind) in changes {
            let at = index.index(wire.len());
            match kind {
                0 => wire[at] = byte,
                1 => wire[at] ^= 1 << (byte % 8),
                2 => wire.insert(at, byte),
                _ => wire.truncate(at + 1),
            }
        }
        let _ = assert_split(&wire, max_body);
    }
}

/// Checks that the packets above are of many kinds. Otherwise the tests would prove little.
#[test]
fn the_packets_are_of_all_kinds() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let all: Vec<Owned> = (0..200).map(|_| packet().new_tree(&mut runner).unwrap().current()).collect();
    for (kind, is) in [
        ("request", (|it| it.request.is_some()) as fn(&Owned) -> bool),
        ("response", |it| it.response.is_some()),
        ("stream", |it| it.stream.is_some()),
        ("fields", |it| it.fields.len() > 1),
        ("attachment", |it| !it.attachment.is_empty()),
        ("bare", |it| it.correlation_id.is_none() && it.request.is_none()),
    ] {
        assert!(all.iter().filter(|it| is(it)).count() >= 10, "{kind}");
    }
}
