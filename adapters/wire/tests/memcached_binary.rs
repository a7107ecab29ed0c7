//! memcached's binary protocol: the frames of its description, what is refused and where, and random frames in pieces.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

#[path = "memcached/mod.rs"]
mod common;

use common::{LIMIT, assert_binary, read};
use hedge_wire::memcached::binary::{Found, GetMany, Opcode, Operation, Request, Response, Status, Store};
use hedge_wire::memcached::{DecodeError, EncodeError, Fault, Key, MAX_KEY, Progress};
use proptest::collection::vec;
use proptest::prelude::*;

fn key(text: &str) -> Key<'_> {
    Key::new(text.as_bytes()).unwrap()
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

fn encoded(request: &Request<'_>) -> Vec<u8> {
    let mut out = [0; 512];
    let length = request.encode(&mut out).unwrap();
    assert_eq!(length, request.length());
    assert_eq!(request.encode(&mut out[..length - 1]), Err(EncodeError::TooLong { needs: length }));
    out[..length].to_vec()
}

fn plain(operation: Operation<'_>) -> Vec<u8> {
    encoded(&Request { operation, is_quiet: false, opaque: 0 })
}

/// The frames of memcached's "BinaryProtocolRevamped", and those of brpc for the same operations.
#[test]
fn the_requests_of_the_description() {
    let (hello, counter) = (key("Hello"), key("counter"));
    let value = &b"World"[..];
    let get = Operation::Get { key: hello, with_key: false };
    let table = [
        (get, "8000 0005 0000 0000 00000005 00000000 0000000000000000 48656c6c6f"),
        (
            Operation::Store { store: Store::Add, key: hello, value, flags: 0xdead_beef, expires: 0x1c20, cas: 0 },
            "8002 0005 0800 0000 00000012 00000000 0000000000000000 deadbeef 00001c20 48656c6c6f 576f726c64",
        ),
        (
            Operation::Store { store: Store::Set, key: key("key1"), value: b"v2", flags: 1, expires: 0, cas: u64::MAX },
            "8001 0004 0800 0000 0000000e 00000000 ffffffffffffffff 00000001 00000000 6b657931 7632",
        ),
        (
            Operation::Store { store: Store::Replace, key: key("k"), value: b"v", flags: 2, expires: 3, cas: 0 },
            "8003 0001 0800 0000 0000000a 00000000 0000000000000000 00000002 00000003 6b 76",
        ),
        (Operation::Delete { key: hello, cas: 0 }, "8004 0005 0000 0000 00000005 00000000 0000000000000000 48656c6c6f"),
        (
            Operation::Increment { key: counter, delta: 1, initial: Some((0, 0xe10)) },
            "8005 0007 1400 0000 0000001b 00000000 0000000000000000 \
             0000000000000001 0000000000000000 00000e10 636f756e746572",
        ),
        (
            Operation::Decrement { key: key("n"), delta: 1, initial: None },
            "8006 0001 1400 0000 00000015 00000000 0000000000000000 0000000000000001 0000000000000000 ffffffff 6e",
        ),
        (
            Operation::Append { key: hello, value: b"!", cas: 0 },
            "800e 0005 0000 0000 00000006 00000000 0000000000000000 48656c6c6f 21",
        ),
        (
            Operation::Prepend { key: hello, value: b"!", cas: 9 },
            "800f 0005 0000 0000 00000006 00000000 0000000000000009 48656c6c6f 21",
        ),
        (
            Operation::Touch { key: key("key1"), expires: 30 },
            "801c 0004 0400 0000 00000008 00000000 0000000000000000 0000001e 6b657931",
        ),
        (
            Operation::GetAndTouch { key: key("a"), expires: 30, with_key: false },
            "801d 0001 0400 0000 00000005 00000000 0000000000000000 0000001e 61",
        ),
        (
            Operation::GetAndTouch { key: key("a"), expires: 30, with_key: true },
            "8023 0001 0400 0000 00000005 00000000 0000000000000000 0000001e 61",
        ),
        (Operation::Flush { after: 0 }, "8008 0000 0000 0000 00000000 00000000 0000000000000000"),
        (Operation::Flush { after: 0xe10 }, "8008 0000 0400 0000 00000004 00000000 0000000000000000 00000e10"),
        (Operation::NoOp, "800a 0000 0000 0000 00000000 00000000 0000000000000000"),
        (Operation::Version, "800b 0000 0000 0000 00000000 00000000 0000000000000000"),
        (Operation::SaslList, "8020 0000 0000 0000 00000000 00000000 0000000000000000"),
        (
            Operation::SaslAuth { mechanism: b"PLAIN", data: b"\0me\0pw" },
            "8021 0005 0000 0000 0000000b 00000000 0000000000000000 504c41494e 006d65007077",
        ),
        (
            Operation::SaslStep { mechanism: b"X", data: b"" },
            "8022 0001 0000 0000 00000001 00000000 0000000000000000 58",
        ),
    ];
    for (operation, expected) in table {
        assert_eq!(plain(operation), hex(expected), "{operation:?}");
    }
    let quiet = Request { operation: get, is_quiet: true, opaque: 0x0102_0304 };
    assert_eq!(encoded(&quiet)[..2], [0x80, 0x09]);
    assert_eq!(encoded(&quiet)[12..16], [1, 2, 3, 4]);
}

#[test]
fn the_answers_of_the_description() {
    let one = |bytes: &[u8], check: &dyn Fn(&Response<'_>)| {
        let (answers, fault) = read(bytes, Response::decode);
        assert_eq!((answers.len(), fault), (1, None));
        assert_eq!(answers[0].1, bytes.len());
        assert_binary(bytes);
        check(&answers[0].0);
    };
    one(&hex("8100 0000 0400 0000 00000009 00000000 0000000000000001 deadbeef 576f726c64"), &|answer| {
        assert_eq!((answer.opcode(), answer.status(), answer.cas()), (Opcode::Get, Status::Ok, 1));
        assert_eq!((answer.flags(), answer.value(), answer.key()), (Some(0xdead_beef), &b"World"[..], &b""[..]));
    });
    one(&hex("810c 0005 0400 0000 0000000e 00000000 0000000000000001 deadbeef 48656c6c6f 576f726c64"), &|answer| {
        assert_eq!((answer.key(), answer.value()), (&b"Hello"[..], &b"World"[..]));
    });
    one(&hex("8100 0000 0000 0001 00000009 00000000 0000000000000000 4e6f7420666f756e64"), &|answer| {
        assert_eq!((answer.status(), answer.value(), answer.flags()), (Status::NotFound, &b"Not found"[..], None));
    });
    one(&hex("8105 0000 0000 0000 00000008 00000000 0000000000000005 0000000000000000"), &|answer| {
        assert_eq!((answer.counter(), answer.cas()), (Some(0), 5));
    });
    one(&hex("8105 0000 0000 0006 0000000b 00000000 0000000000000000 4e6f6e2d6e756d65726963"), &|answer| {
        assert_eq!((answer.status(), answer.counter()), (Status::NotNumeric, None));
    });
    one(&hex("810b 0000 0000 0000 00000005 00000000 0000000000000000 312e332e31"), &|answer| {
        assert_eq!(answer.value(), b"1.3.1");
    });
    // memcached 1.6 sends flags with the answer to a touch.
    one(&hex("811c 0000 0400 0000 00000004 00000000 0000000000000000 00000000"), &|answer| {
        assert_eq!((answer.status(), answer.flags()), (Status::Ok, None));
    });
    one(&hex("8121 0000 0000 0021 00000001 00000000 0000000000000000 58"), &|answer| {
        assert_eq!(answer.status(), Status::AuthContinue);
    });
}

#[test]
fn p1_answers_that_contradict_themselves_are_errors_that_say_where() {
    use DecodeError::*;
    let limit = LIMIT;
    let zeros = "00000000 0000000000000000";
    let table = [
        ("80".to_owned(), BadMagic { byte: 0x80 }, 0),
        ("48545450".to_owned(), BadMagic { byte: b'H' }, 0),
        ("8125".to_owned(), UnknownOpcode { opcode: 0x25 }, 1),
        ("811f".to_owned(), UnknownOpcode { opcode: 0x1f }, 1),
        ("8100 0000 0401".to_owned(), BadDataType { byte: 1 }, 5),
        (format!("8100 0000 0400 0000 ffffffff {zeros}"), TooLarge { announced: 0xffff_ffff, limit }, 8),
        (format!("8100 0000 0400 0000 0000012d {zeros}"), TooLarge { announced: 301, limit }, 8),
        (format!("8100 0005 0400 0000 00000008 {zeros}"), BadLengths { key: 5, extras: 4, body: 8 }, 2),
        (format!("8101 0000 0100 0000 00000000 {zeros}"), BadLengths { key: 0, extras: 1, body: 0 }, 2),
        (format!("8100 0000 0300 0000 00000003 {zeros}"), BadExtras { extras: 3 }, 4),
        (format!("8100 0000 0000 0000 00000000 {zeros}"), BadExtras { extras: 0 }, 4),
        (format!("8105 0000 0000 0000 00000007 {zeros}"), BadCounter, 8),
        (format!("8106 0000 0000 0000 00000009 {zeros}"), BadCounter, 8),
    ];
    for (bytes, error, at) in table {
        let (answers, fault) = read(&hex(&bytes), |bytes, limit| {
            Response::decode(bytes, limit).map(|progress| match progress {
                Progress::More { needs } => Progress::More { needs },
                Progress::Done { length, .. } => Progress::Done { response: (), length },
            })
        });
        assert_eq!((answers, fault), (vec![], Some(Fault { error, at })), "{bytes}");
        assert!(Fault { error, at }.to_string().starts_with("answer: "));
    }
    let whole = hex(&format!("8101 0000 0000 0004 0000012c {zeros}"));
    assert_eq!(Response::decode(&whole, LIMIT), Ok(Progress::More { needs: 324 }), "a limit is exact");
}

#[test]
fn what_has_no_quiet_form_or_no_mechanism_is_refused() {
    let mut out = [0; 64];
    for operation in
        [Operation::Touch { key: key("a"), expires: 0 }, Operation::Version, Operation::NoOp, Operation::SaslList]
    {
        let request = Request { operation, is_quiet: true, opaque: 0 };
        assert_eq!((request.encode(&mut out), request.opcode()), (Err(EncodeError::NotQuiet), None));
    }
    let auth = Operation::SaslAuth { mechanism: b"PLAIN", data: b"\0me\0secret" };
    assert_eq!(format!("{auth:?}"), "SaslAuth(PLAIN, 10 bytes)");
    let long = [b'M'; 65_536];
    for mechanism in [&b""[..], &long] {
        let request = Request { operation: Operation::SaslAuth { mechanism, data: b"" }, is_quiet: false, opaque: 0 };
        assert_eq!(request.encode(&mut out), Err(EncodeError::BadMechanism));
    }
}

#[test]
fn p3_only_reads_are_idempotent() {
    let get = Operation::Get { key: key("a"), with_key: true };
    assert!(get.is_idempotent() && Operation::Version.is_idempotent() && get.may_share());
    let touch = Operation::GetAndTouch { key: key("a"), expires: 1, with_key: false };
    for operation in [touch, Operation::Flush { after: 0 }, Operation::Delete { key: key("a"), cas: 1 }] {
        assert!(!operation.is_idempotent(), "{operation:?}");
    }
    assert!(!Operation::SaslAuth { mechanism: b"PLAIN", data: b"" }.may_share());
}

fn answer(opcode: u8, status: u16, opaque: u32, cas: u64, parts: [&[u8]; 3]) -> Vec<u8> {
    let [extras, key, value] = parts;
    let body = u32::try_from(extras.len() + key.len() + value.len()).unwrap();
    let mut bytes = vec![0x81, opcode];
    bytes.extend(u16::try_from(key.len()).unwrap().to_be_bytes());
    bytes.extend([u8::try_from(extras.len()).unwrap(), 0]);
    bytes.extend(status.to_be_bytes());
    bytes.extend(body.to_be_bytes());
    bytes.extend(opaque.to_be_bytes());
    bytes.extend(cas.to_be_bytes());
    bytes.extend([extras, key, value].concat());
    bytes
}

#[test]
fn many_keys_are_read_with_one_no_op_at_the_end() {
    let keys = [key("a"), key("b"), key("c")];
    let many = GetMany { keys: &keys, opaque: u32::MAX - 1 };
    let mut out = [0; 128];
    let length = many.encode(&mut out).unwrap();
    assert_eq!((length, many.length()), (3 * 25 + 24, 3 * 25 + 24));
    assert_eq!(many.encode(&mut out[..length - 1]), Err(EncodeError::TooLong { needs: length }));
    assert_eq!((out[1], out[26], out[51], out[76]), (0x0d, 0x0d, 0x0d, 0x0a));
    assert_eq!(out[62..66], [0; 4], "the numbers wrap");

    let found = |opcode, status, opaque, name: &[u8]| {
        let bytes =
            answer(opcode, status, opaque, 0, [if status == 0 && opcode == 0x0d { &[0; 4] } else { &[] }, name, b""]);
        let Ok(Progress::Done { response, .. }) = Response::decode(&bytes, LIMIT) else { panic!("not complete") };
        many.found(&response)
    };
    assert_eq!(found(0x0d, 0, u32::MAX - 1, b"a"), Some(Found::Key(0)));
    assert_eq!(found(0x0d, 0, 0, b"c"), Some(Found::Key(2)));
    assert_eq!(found(0x0d, 0x82, u32::MAX, b""), Some(Found::Failed(1)));
    assert_eq!(found(0x0a, 0, 1, b""), Some(Found::End));
    // Another key, another number, another operation: no answer to these.
    assert_eq!(found(0x0d, 0, 0, b"a"), None);
    assert_eq!(found(0x0d, 0, 7, b"a"), None);
    assert_eq!(found(0x0a, 0, 0, b""), None);
    assert_eq!(found(0x0a, 0, 2, b""), None);
    assert_eq!(found(0x0c, 0x82, 0, b"c"), None);
    assert_eq!(GetMany { keys: &[], opaque: 5 }.length(), 24);
}

prop_compose! {
    fn random_answer()(
        opcode in prop_oneof![0..0x25_u8, any::<u8>()],
        status in prop_oneof![3 => Just(0), 2 => 0..8_u16, 1 => any::<u16>()],
        opaque in any::<u32>(),
        cas in any::<u64>(),
        extras in prop_oneof![Just(vec![1, 2, 3, 4]), Just(vec![]), vec(any::<u8>(), 0..9)],
        key in prop_oneof![Just(vec![]), vec(any::<u8>(), 0..20)],
        value in prop_oneof![vec(any::<u8>(), 8), vec(any::<u8>(), 0..60)],
    ) -> Vec<u8> {
        answer(opcode, status, opaque, cas, [&extras, &key, &value])
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn answers_are_the_same_however_many_bytes_have_come(answers in vec(random_answer(), 0..4)) {
        assert_binary(&answers.concat());
    }

    #[test]
    fn mutated_answers_never_panic(
        answers in vec(random_answer(), 1..3),
        mutations in vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..4),
    ) {
        let mut bytes = answers.concat();
        for (index, byte, kind) in mutations {
            let at = index.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => bytes.truncate(at + 1),
            }
        }
        assert_binary(&bytes);
    }

    #[test]
    fn stored_values_are_found_in_the_request(
        name in vec(any::<u8>(), 0..260),
        value in vec(any::<u8>(), 0..60),
        flags in any::<u32>(),
        expires in any::<u32>(),
        cas in any::<u64>(),
        opaque in any::<u32>(),
        is_quiet in any::<bool>(),
    ) {
        let is_good = (1..=MAX_KEY).contains(&name.len()) && name.iter().all(|&byte| byte > 0x20 && byte != 0x7f);
        prop_assert_eq!(Key::new(&name).is_ok(), is_good);
        let Ok(key) = Key::new(&name).or(Key::binary(&name)) else { return Ok(()) };
        let operation = Operation::Store { store: Store::Set, key, value: &value, flags, expires, cas };
        let bytes = encoded(&Request { operation, is_quiet, opaque });
        // But for the magic and the status, requests have the form of answers.
        let mut like = answer(if is_quiet { 0x11 } else { 1 }, 0, opaque, cas, [&[flags.to_be_bytes(), expires.to_be_bytes()].concat(), &name, &value]);
        like[0] = 0x80;
        prop_assert_eq!(bytes, like);
    }
}

#[cfg(feature = "alloc")]
#[test]
fn requests_are_appended() {
    let get = Operation::Get { key: key("a"), with_key: false };
    let mut out = b"before".to_vec();
    Request { operation: get, is_quiet: false, opaque: 0 }.append(&mut out).unwrap();
    GetMany { keys: &[key("b")], opaque: 1 }.append(&mut out).unwrap();
    assert_eq!((out.len(), &out[30..31], &out[55..56]), (6 + 25 + 25 + 24, &b"a"[..], &b"b"[..]));
    let refused = Request { operation: Operation::NoOp, is_quiet: true, opaque: 0 }.append(&mut out);
    assert_eq!((refused, out.len()), (Err(EncodeError::NotQuiet), 80));
}
