//! memcached's meta commands: lines of its description, what is refused and where, and random answers in pieces.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

#[path = "memcached/mod.rs"]
mod common;

use common::{LIMIT, assert_meta, read};
use hedge_wire::memcached::meta::{Flag, MAX_LINE, Mode, Operation, Request, Response, Status};
use hedge_wire::memcached::{DecodeError, EncodeError, Fault, Key, MAX_KEY};
use proptest::collection::vec;
use proptest::prelude::*;

fn key(text: &str) -> Key<'_> {
    Key::new(text.as_bytes()).unwrap()
}

fn encoded(operation: Operation<'_>, flags: &[Flag<'_>]) -> Result<Vec<u8>, EncodeError> {
    let request = Request { operation, flags };
    let mut out = [0; 1024];
    let length = request.encode(&mut out)?;
    assert_eq!(request.length(), Ok(length));
    assert_eq!(request.encode(&mut out[..length - 1]), Err(EncodeError::TooLong { needs: length }));
    Ok(out[..length].to_vec())
}

/// The forms that memcached's "protocol.txt" describes.
#[test]
fn requests_as_bytes() {
    let foo = key("foo");
    let get = Operation::Get { key: foo };
    let set = Operation::Set { key: foo, value: b"S\r\n" };
    let table: &[(Operation<'_>, &[Flag<'_>], &str)] = &[
        (get, &[], "mg foo\r\n"),
        (get, &[Flag::Size, Flag::Value], "mg foo s v\r\n"),
        (
            get,
            &[
                Flag::Cas,
                Flag::ClientFlags,
                Flag::Hit,
                Flag::Key,
                Flag::LastAccess,
                Flag::Opaque(b"a1"),
                Flag::Quiet,
                Flag::Remaining,
            ],
            "mg foo c f h k l Oa1 q t\r\n",
        ),
        (
            get,
            &[Flag::Vivify(30), Flag::Recache(0), Flag::Expires(-1), Flag::NewCas(u64::MAX)],
            "mg foo N30 R0 T-1 E18446744073709551615\r\n",
        ),
        (set, &[], "ms foo 3\r\nS\r\n\r\n"),
        (
            set,
            &[Flag::SetClientFlags(7), Flag::Invalidate, Flag::Compare(12), Flag::Mode(Mode::Replace)],
            "ms foo 3 F7 I C12 MR\r\nS\r\n\r\n",
        ),
        (set, &[Flag::Mode(Mode::Append), Flag::Expires(i32::MIN)], "ms foo 3 MA T-2147483648\r\nS\r\n\r\n"),
        (
            Operation::Delete { key: foo },
            &[Flag::Quiet, Flag::Empty, Flag::Invalidate, Flag::Expires(30)],
            "md foo q x I T30\r\n",
        ),
        (
            Operation::Arithmetic { key: foo },
            &[Flag::Mode(Mode::Decrement), Flag::Delta(0), Flag::Initial(13), Flag::Vivify(90), Flag::Value],
            "ma foo MD D0 J13 N90 v\r\n",
        ),
        (Operation::NoOp, &[], "mn\r\n"),
        (Operation::Debug { key: foo }, &[], "me foo\r\n"),
        (Operation::Get { key: Key::binary(b"foo").unwrap() }, &[Flag::Key], "mg Zm9v b k\r\n"),
    ];
    for &(operation, flags, expected) in table {
        assert_eq!(encoded(operation, flags).as_deref(), Ok(expected.as_bytes()));
    }
    assert_eq!(format!("{set:?} {:?}", Operation::NoOp), "ms(foo, 3 bytes) mn(, 0 bytes)");
    let longest = Key::binary(&[0xff; 186]).unwrap();
    assert_eq!(encoded(Operation::Get { key: longest }, &[]).unwrap().len(), 3 + 248 + 4);
}

#[test]
fn p3_flags_that_a_server_would_misread_are_refused() {
    let foo = key("foo");
    let get = Operation::Get { key: foo };
    let set = Operation::Set { key: foo, value: b"" };
    let long = [b'x'; 33];
    let table: &[(Operation<'_>, &[Flag<'_>], usize)] = &[
        (get, &[Flag::Value, Flag::Value], 1),
        (get, &[Flag::Opaque(b"1"), Flag::Quiet, Flag::Opaque(b"2")], 2),
        (get, &[Flag::Opaque(b"")], 0),
        (get, &[Flag::Opaque(b"a b")], 0),
        (get, &[Flag::Opaque(b"a\r\nmd foo")], 0),
        (get, &[Flag::Opaque(&long)], 0),
        (get, &[Flag::Delta(1)], 0),
        (get, &[Flag::Mode(Mode::Set)], 0),
        (set, &[Flag::Mode(Mode::Increment)], 0),
        (Operation::Arithmetic { key: foo }, &[Flag::Mode(Mode::Add)], 0),
        (Operation::Delete { key: foo }, &[Flag::Value], 0),
        (Operation::NoOp, &[Flag::Quiet], 0),
        (Operation::Debug { key: foo }, &[Flag::Key], 0),
    ];
    for &(operation, flags, index) in table {
        assert_eq!(encoded(operation, flags), Err(EncodeError::BadFlag { index }), "{operation:?} {flags:?}");
    }
    assert!(encoded(get, &[Flag::Opaque(&long[..32])]).is_ok());
}

#[test]
fn p3_only_reads_that_change_nothing_are_idempotent() {
    let foo = key("foo");
    let is = |operation, flags: &[Flag<'_>]| Request { operation, flags }.is_idempotent();
    let get = Operation::Get { key: foo };
    assert!(is(get, &[]) && is(get, &[Flag::Value, Flag::Remaining, Flag::Quiet]) && is(Operation::NoOp, &[]));
    for flag in [Flag::Vivify(1), Flag::Recache(1), Flag::Expires(1), Flag::NewCas(1)] {
        assert!(!is(get, &[Flag::Value, flag]), "{flag:?}");
    }
    assert!(!is(Operation::Set { key: foo, value: b"" }, &[]) && !is(Operation::Delete { key: foo }, &[]));
    assert!(!is(Operation::Arithmetic { key: foo }, &[]));
    assert!(Request { operation: get, flags: &[Flag::Quiet] }.is_quiet());
}

#[test]
fn answers_of_the_description() {
    let bytes = b"HD\r\nHD s2 t-1 c18446744073709551615\r\nVA 2 f5 Oabc W\r\n\r\n\r\nVA 0\r\n\r\nEN\r\nNS\r\nEX k1\r\nNF q\r\nMN\r\n\
        ME foo exp=-1 la=3 cas=2 fetch=no cls=1 size=63\r\nERROR\r\nCLIENT_ERROR bad command line format\r\n\
        SERVER_ERROR out of memory storing object\r\nHD kYSBi b X Z\r\n";
    assert_eq!(assert_meta(bytes), 14);
    let (answers, fault) = read(bytes, Response::decode);
    assert_eq!(fault, None);
    let statuses: Vec<_> = answers.iter().map(|(answer, _)| answer.status()).collect();
    use Status::*;
    let expected = [
        Done,
        Done,
        Value,
        Value,
        Miss,
        NotStored,
        Exists,
        NotFound,
        NoOp,
        Debug,
        UnknownCommand,
        ClientError,
        ServerError,
        Done,
    ];
    assert_eq!(statuses, expected);
    let answer = |index: usize| answers[index].0;
    assert_eq!(
        (answer(1).number(b's'), answer(1).number(b't'), answer(1).token(b't')),
        (Some(2), None, Some(&b"-1"[..]))
    );
    assert_eq!((answer(1).number(b'c'), answer(1).value()), (Some(u64::MAX), None));
    assert_eq!((answer(2).value(), answer(2).token(b'O')), (Some(&b"\r\n"[..]), Some(&b"abc"[..])));
    assert!(answer(2).is_won() && !answer(2).is_stale() && !answer(2).is_taken());
    assert_eq!((answer(3).value(), answer(3).flags().count()), (Some(&b""[..]), 0));
    assert_eq!(answer(6).key(&mut [0; MAX_KEY]), Some(&b"1"[..]));
    assert_eq!(answer(7).key(&mut [0; MAX_KEY]), None);
    assert_eq!(answer(9).text(), b"foo exp=-1 la=3 cas=2 fetch=no cls=1 size=63");
    assert_eq!((answer(10).text(), answer(10).status().is_error()), (&b""[..], true));
    assert_eq!((answer(11).text(), answer(11).flags().count()), (&b"bad command line format"[..], 0));
    assert_eq!(answer(13).key(&mut [0; MAX_KEY]), Some(&b"a b"[..]));
    assert!(answer(13).is_stale() && answer(13).is_taken() && !answer(13).is_won());
}

#[test]
fn p1_what_is_not_an_answer_is_an_error_that_says_what_and_where() {
    use DecodeError::*;
    let limit = LIMIT;
    let long = format!("SERVER_ERROR {}", "x".repeat(MAX_LINE));
    let table: &[(&[u8], DecodeError, usize)] = &[
        (b"HTTP/1.1 400 Bad Request\r\n", UnknownStatus, 1),
        (b"\x81\0", UnknownStatus, 0),
        (b"\r\n", UnknownStatus, 0),
        (b"HDD\r\n", UnknownStatus, 2),
        (b"ERR\r\n", UnknownStatus, 3),
        (b"ERRORS\r\n", UnknownStatus, 5),
        (b"hd\r\n", UnknownStatus, 0),
        (b"HD\n", BadLineEnd, 2),
        (b"HD s1\n\r\n", BadLineEnd, 5),
        (b"HD\rx", BadLineEnd, 3),
        (b"VA\r\n", BadSize, 3),
        (b"VA \r\n", BadSize, 3),
        (b"VA  1\r\n", BadSize, 3),
        (b"VA -1\r\n", BadSize, 3),
        (b"VA +1\r\n", BadSize, 3),
        (b"VA 01\r\n", BadSize, 3),
        (b"VA 1x\r\n", BadSize, 3),
        (b"VA 99999999999999999999\r\n", BadSize, 3),
        (b"VA 301\r\n", TooLarge { announced: 301, limit }, 3),
        (b"VA 18446744073709551615\r\n", TooLarge { announced: u64::MAX, limit }, 3),
        (b"VA 2 f1\r\nabc\r\n", BadValueEnd, 11),
        (b"VA 2\r\nab\rc", BadValueEnd, 9),
        (long.as_bytes(), LineTooLong, MAX_LINE),
    ];
    for &(bytes, error, at) in table {
        let (answers, fault) = read(bytes, Response::decode);
        assert_eq!((answers.len(), fault), (0, Some(Fault { error, at })), "{}", bytes.escape_ascii());
    }
    let longest = [&long.as_bytes()[..MAX_LINE], b"\r\n"].concat();
    assert_eq!(read(&longest, Response::decode).0.len(), 1, "a limit is exact");
    assert_eq!(read(format!("VA 300\r\n{}\r\n", "x".repeat(300)).as_bytes(), Response::decode).0.len(), 1);
}

fn random_answer() -> impl Strategy<Value = Vec<u8>> {
    let flags = || {
        vec("[a-zA-Z][!-~]{0,6}", 0..4)
            .prop_map(|flags| flags.iter().map(|flag| format!(" {flag}")).collect::<String>())
    };
    let words = vec!["HD", "EN", "NS", "EX", "NF", "MN", "ME", "ERROR", "CLIENT_ERROR", "SERVER_ERROR"];
    prop_oneof![
        2 => (prop::sample::select(words), flags()).prop_map(|(word, flags)| format!("{word}{flags}\r\n").into_bytes()),
        2 => (vec(any::<u8>(), 0..60), flags()).prop_map(|(value, flags)| {
            [format!("VA {}{flags}\r\n", value.len()).as_bytes(), &value, b"\r\n"].concat()
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn answers_are_the_same_however_many_bytes_have_come(answers in vec(random_answer(), 0..5)) {
        prop_assert_eq!(assert_meta(&answers.concat()), answers.len());
    }

    #[test]
    fn mutated_answers_never_panic(
        answers in vec(random_answer(), 1..4),
        mutations in vec((any::<prop::sample::Index>(), prop::sample::select(b"\r\n VAHDEMN0123456789-\0\xff".to_vec()), 0..4_u8), 1..4),
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
        assert_meta(&bytes);
    }

    #[test]
    fn keys_of_any_bytes_come_back_as_they_were(name in vec(any::<u8>(), 1..200), value in vec(any::<u8>(), 0..40)) {
        let Ok(binary) = Key::binary(&name) else {
            prop_assert!(name.len() > 186);
            return Ok(());
        };
        let line = encoded(Operation::Set { key: binary, value: &value }, &[]).unwrap();
        let end = line.windows(2).position(|two| two == b"\r\n").unwrap();
        let words: Vec<_> = line[..end].split(|&byte| byte == b' ').collect();
        let length = value.len().to_string();
        prop_assert_eq!((words[0], words[2], words[3]), (&b"ms"[..], length.as_bytes(), &b"b"[..]));
        prop_assert_eq!(&line[end + 2..], [&value[..], b"\r\n"].concat());
        let bytes = [&b"HD k"[..], words[1], b" b\r\n"].concat();
        let (answers, _) = read(&bytes, Response::decode);
        let mut buffer = [0; MAX_KEY];
        prop_assert_eq!(answers[0].0.key(&mut buffer), Some(&name[..]));
    }
}

#[cfg(feature = "alloc")]
#[test]
fn requests_are_appended() {
    let mut out = b"mn\r\n".to_vec();
    Request { operation: Operation::Get { key: key("a") }, flags: &[Flag::Value] }.append(&mut out).unwrap();
    let refused = Request { operation: Operation::NoOp, flags: &[Flag::Value] }.append(&mut out);
    assert_eq!((&out[..], refused), (&b"mn\r\nmg a v\r\n"[..], Err(EncodeError::BadFlag { index: 0 })));
}
