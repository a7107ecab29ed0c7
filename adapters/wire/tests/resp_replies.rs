//! RESP: replies of the protocol's description, what is refused and where, limits, and random replies in pieces.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

#[path = "resp/mod.rs"]
mod common;

use common::{Tree, assert_found, follow, tree};
use hedge_wire::resp::{Code, Command, DecodeError, EncodeError, Fault, Follower, Limits, Progress, Reply, Token};
use proptest::collection::vec;
use proptest::prelude::*;

fn parsed(bytes: &[u8]) -> Reply<'_> {
    assert_eq!(assert_found(bytes, || 3), 1, "{}", bytes.escape_ascii());
    Reply::parse(bytes, Limits::default()).unwrap()
}

/// Follows the bytes, which must give the same result for pieces of any size.
fn fault(bytes: &[u8], limits: Limits) -> Option<(DecodeError, usize)> {
    let whole = follow(bytes, limits, || usize::MAX);
    for piece in 1..bytes.len().min(40) {
        assert_eq!(follow(bytes, limits, || piece), whole, "in pieces of {piece}: {}", bytes.escape_ascii());
    }
    whole.1.err().map(|Fault { error, at }| (error, at))
}

/// The examples of redis.io's "Redis serialization protocol specification".
#[test]
fn the_examples_of_the_specification() {
    let simple: &[(&[u8], Token<'_>)] = &[
        (b"+OK\r\n", Token::Simple(b"OK")),
        (b":0\r\n", Token::Integer(0)),
        (b":1000\r\n", Token::Integer(1000)),
        (b":+7\r\n", Token::Integer(7)),
        (b":-9223372036854775808\r\n", Token::Integer(i64::MIN)),
        (b":9223372036854775807\r\n", Token::Integer(i64::MAX)),
        (b"$5\r\nhello\r\n", Token::Bulk(b"hello")),
        (b"$0\r\n\r\n", Token::Bulk(b"")),
        (b"$2\r\n\r\n\r\n", Token::Bulk(b"\r\n")),
        (b"$-1\r\n", Token::Null),
        (b"*-1\r\n", Token::Null),
        (b"_\r\n", Token::Null),
        (b"#t\r\n", Token::Boolean(true)),
        (b"#f\r\n", Token::Boolean(false)),
        (
            b"(3492890328409238509324850943850943825024385\r\n",
            Token::BigNumber(b"3492890328409238509324850943850943825024385"),
        ),
        (b"=15\r\ntxt:Some string\r\n", Token::Verbatim { format: b"txt", text: b"Some string" }),
        (b"*0\r\n", Token::Array(0)),
        (b"~5\r\n+orange\r\n+apple\r\n#t\r\n:100\r\n:999\r\n", Token::Set(5)),
        (b"%2\r\n+first\r\n:1\r\n+second\r\n:2\r\n", Token::Map(2)),
        (b">4\r\n+pubsub\r\n+message\r\n+somechannel\r\n+this is the message\r\n", Token::Push(4)),
    ];
    for &(bytes, token) in simple {
        assert_eq!(parsed(bytes).token(), token, "{}", bytes.escape_ascii());
    }
    for (bytes, code) in [
        (&b"-ERR unknown command 'asdf'\r\n"[..], Code::Err),
        (b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n", Code::WrongType),
        (b"!21\r\nSYNTAX invalid syntax\r\n", Code::Unknown),
    ] {
        assert_eq!(parsed(bytes).error().unwrap().code(), code);
    }
    for (text, value) in
        [("1.23", 1.23), ("10", 10.0), ("-1e-7", -1e-7), ("inf", f64::INFINITY), ("-inf", f64::NEG_INFINITY)]
    {
        let bytes = format!(",{text}\r\n");
        let Token::Double(double) = parsed(bytes.as_bytes()).token() else { panic!("{text}") };
        assert_eq!((double.text(), double.value()), (text, value));
    }
    let Token::Double(double) = parsed(b",nan\r\n").token() else { panic!("nan") };
    assert!(double.value().is_nan());
}

#[test]
fn aggregates_are_read_level_by_level() {
    let reply = parsed(b"*2\r\n*3\r\n:1\r\n:2\r\n:3\r\n*2\r\n+Hello\r\n-World\r\n");
    let levels: Vec<Vec<_>> = reply.elements().map(|part| part.elements().map(|part| part.token()).collect()).collect();
    assert_eq!(levels[0], [Token::Integer(1), Token::Integer(2), Token::Integer(3)]);
    assert_eq!(levels[1][0], Token::Simple(b"Hello"));
    assert_eq!(reply.elements().len(), 2);
    assert_eq!(reply.tokens().count(), 8);

    let nulls = parsed(b"*3\r\n$5\r\nhello\r\n$-1\r\n$5\r\nworld\r\n");
    assert_eq!(
        nulls.elements().map(|part| part.text()).collect::<Vec<_>>(),
        [Some(&b"hello"[..]), None, Some(b"world")]
    );
}

/// An attribute stands before a value, and is not one of the parts around it.
#[test]
fn attributes_are_passed_over() {
    let reply = parsed(
        b"|1\r\n+key-popularity\r\n%2\r\n$1\r\na\r\n,0.1923\r\n$1\r\nb\r\n,0.0012\r\n*2\r\n:2039123\r\n:9543892\r\n",
    );
    assert_eq!((reply.token(), reply.elements().len()), (Token::Array(2), 2));
    let (name, popularity) = reply.attribute().next().unwrap();
    assert_eq!((name.text(), popularity.pairs().len()), (Some(&b"key-popularity"[..]), 2));

    let reply = parsed(b"*3\r\n:1\r\n:2\r\n|1\r\n+ttl\r\n:3600\r\n:3\r\n");
    let parts: Vec<_> = reply.elements().map(|part| (part.token(), part.attribute().len())).collect();
    assert_eq!(parts, [(Token::Integer(1), 0), (Token::Integer(2), 0), (Token::Integer(3), 1)]);
    assert_eq!(parsed(b"|0\r\n|1\r\n:1\r\n:2\r\n+OK\r\n").token(), Token::Simple(b"OK"));
}

#[test]
fn p1_what_is_not_a_reply_is_an_error_that_says_what_and_where() {
    use DecodeError::*;
    let table: &[(&[u8], DecodeError, usize)] = &[
        (b"HTTP/1.1 400 Bad Request\r\n", UnknownType { byte: b'H' }, 0),
        (b"\r\n", UnknownType { byte: b'\r' }, 0),
        (b"*1\r\n?\r\n", UnknownType { byte: b'?' }, 4),
        (b"+O\nK\r\n", BadLineEnd, 2),
        (b"+O\rK\r\n", BadLineEnd, 3),
        (b":\r\n", BadInteger, 1),
        (b":-\r\n", BadInteger, 2),
        (b":1-\r\n", BadInteger, 2),
        (b":1 \r\n", BadInteger, 2),
        (b":9223372036854775808\r\n", BadInteger, 20),
        (b":-9223372036854775809\r\n", BadInteger, 21),
        (b":99999999999999999999999999\r\n", BadInteger, 27),
        (b"(\r\n", BadBigNumber, 1),
        (b"(+\r\n", BadBigNumber, 2),
        (b"(1x\r\n", BadBigNumber, 2),
        (b",\r\n", BadDouble, 1),
        (b",1.\r\n", BadDouble, 3),
        (b",.5\r\n", BadDouble, 1),
        (b",1e\r\n", BadDouble, 3),
        (b",in\r\n", BadDouble, 3),
        (b",infinity\r\n", BadDouble, 4),
        (b",0x1\r\n", BadDouble, 2),
        (b"#\r\n", BadBoolean, 1),
        (b"#x\r\n", BadBoolean, 1),
        (b"#tt\r\n", BadBoolean, 2),
        (b"_x\r\n", BadNull, 1),
        (b"$\r\n", BadLength, 1),
        (b"$-2\r\n", BadLength, 3),
        (b"$-01\r\n", BadLength, 4),
        (b"$+1\r\n", BadLength, 3),
        (b"$01\r\n", BadLength, 3),
        (b"$1a\r\n", BadLength, 2),
        (b"%-1\r\n", BadLength, 3),
        (b"!-1\r\n", BadLength, 3),
        (b"$3\r\nabcd\r\n", BadBulkEnd, 7),
        (b"$3\r\nabc\n\n", BadBulkEnd, 7),
        (b"$3\r\nabc\rx", BadBulkEnd, 8),
        (b"=3\r\ntxt\r\n", BadLength, 2),
        (b"=4\r\ntxt;\r\n", BadVerbatim, 7),
        (b"*1\r\n>1\r\n:1\r\n", NestedPush, 6),
        (b"|1\r\n+a\r\n>0\r\n", NestedPush, 10),
        (b"$?\r\n", Streamed, 1),
        (b"*?\r\n", Streamed, 1),
        (b";4\r\n", Streamed, 0),
        (b"*1\r\n.\r\n", Streamed, 4),
    ];
    for &(bytes, error, at) in table {
        assert_eq!(fault(bytes, Limits::default()), Some((error, at)), "{}", bytes.escape_ascii());
        let text = Fault { error, at }.to_string();
        assert!(text.starts_with("reply: ") && text.ends_with(&format!(", at byte {at}")), "{text}");
    }
    assert_eq!(Reply::parse(b"+OK", Limits::default()).unwrap_err(), Fault { error: Truncated, at: 3 });
    assert_eq!(Reply::parse(b"", Limits::default()).unwrap_err(), Fault { error: Truncated, at: 0 });
    assert_eq!(Reply::parse(b"+OK\r\n:1\r\n", Limits::default()).unwrap_err(), Fault { error: Surplus, at: 5 });
}

/// A limit is exact, and what exceeds it is an error as soon as it is announced.
#[test]
fn p1_limits_are_exact() {
    use DecodeError::*;
    let bytes = |bytes| Limits { bytes, ..Limits::default() };
    for (whole, announced) in [(&b"$5\r\nhello\r\n"[..], 2), (b"!5\r\nhello\r\n", 2), (b"=5\r\ntxt:a\r\n", 2)] {
        assert_eq!(fault(whole, bytes(11)), None);
        assert_eq!(fault(whole, bytes(10)), Some((TooLarge { limit: 10 }, announced)));
    }
    assert_eq!(fault(b"+hello\r\n", bytes(8)), None);
    assert_eq!(fault(b"+hello\r\n", bytes(7)), Some((TooLarge { limit: 7 }, 7)));
    assert_eq!(fault(b"*2\r\n:1\r\n:2\r\n", bytes(11)), Some((TooLarge { limit: 11 }, 11)));
    assert_eq!(fault(b"+", bytes(0)), Some((TooLarge { limit: 0 }, 0)));
    for huge in
        ["$67108864\r\n", "$18446744073709551615\r\n", "$18446744073709551616\r\n", "$99999999999999999999999\r\n"]
    {
        assert_eq!(fault(huge.as_bytes(), Limits::default()), Some((TooLarge { limit: 64 << 20 }, huge.len() - 2)));
    }

    let elements = |elements| Limits { elements, ..Limits::default() };
    for (reply, count) in [
        ("*3\r\n:1\r\n:2\r\n:3\r\n", 3),
        ("*2\r\n:1\r\n*1\r\n:2\r\n", 3),
        ("%1\r\n:1\r\n:2\r\n", 2),
        ("|1\r\n:1\r\n:2\r\n:3\r\n", 3),
    ] {
        assert_eq!(fault(reply.as_bytes(), elements(count)), None, "{reply}");
        let limit = count - 1;
        assert_eq!(fault(reply.as_bytes(), elements(limit)).unwrap().0, TooManyElements { limit }, "{reply}");
    }
    for huge in ["*1048577\r\n", "%524289\r\n", "*4294967296\r\n", "%2147483648\r\n", "~18446744073709551616\r\n"] {
        let error = TooManyElements { limit: 1 << 20 };
        assert_eq!(fault(huge.as_bytes(), Limits::default()), Some((error, huge.len() - 2)), "{huge}");
    }
    let endless = "|0\r\n".repeat(100);
    assert_eq!(fault(endless.as_bytes(), elements(50)).unwrap().0, TooManyElements { limit: 50 });

    let deep = |levels: usize| format!("{}:1\r\n", "*1\r\n".repeat(levels));
    for limit in [0, 1, 9, 128] {
        let limits = Limits { depth: limit, ..Limits::default() };
        assert_eq!(fault(deep(usize::from(limit)).as_bytes(), limits), None);
        let at = usize::from(limit) * 4 + 2;
        assert_eq!(fault(deep(usize::from(limit) + 1).as_bytes(), limits), Some((TooDeep { limit }, at)));
    }
    let most = Limits { depth: 255, ..Limits::default() };
    assert_eq!(fault(deep(100_000).as_bytes(), most).unwrap().0, TooDeep { limit: 128 });
    assert_eq!(tree(Reply::parse(deep(128).as_bytes(), most).unwrap()).bytes(), deep(128).as_bytes());
}

#[test]
fn replies_of_a_pipeline_are_cut_in_order() {
    let bytes = b"+OK\r\n:2\r\n$1\r\n2\r\n>2\r\n+invalidate\r\n*1\r\n$1\r\na\r\n*-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n-ERR x\r\n+no";
    for piece in 1..bytes.len() {
        let (ends, end) = follow(bytes, Limits::default(), || piece);
        assert_eq!(end, Ok(false));
        let cut: Vec<_> = std::iter::once(0).chain(ends.iter().map(|&(end, _)| end)).collect();
        let replies: Vec<_> = cut.windows(2).map(|two| &bytes[two[0]..two[1]]).collect();
        assert_eq!(replies.len(), 7);
        assert_eq!((replies[0], replies[6]), (&b"+OK\r\n"[..], &b"-ERR x\r\n"[..]));
        assert_eq!(ends.iter().position(|&(_, is_push)| is_push), Some(3));
    }
}

#[test]
fn commands_are_written_with_their_lengths() {
    let table: &[(&[&[u8]], &[u8])] = &[
        (&[b"PING"], b"*1\r\n$4\r\nPING\r\n"),
        (&[b"SET", b"k", b""], b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n"),
        (&[b"SET", b"k\x00\xff", b"\r\n$"], b"*3\r\n$3\r\nSET\r\n$3\r\nk\x00\xff\r\n$3\r\n\r\n$\r\n"),
        (&[b"get", b"k2"], b"*2\r\n$3\r\nget\r\n$2\r\nk2\r\n"),
    ];
    for &(parts, expected) in table {
        let command = Command::new(parts).unwrap();
        let mut out = [0; 64];
        assert_eq!(command.length(), expected.len());
        assert_eq!(command.encode(&mut out), Ok(expected.len()));
        assert_eq!(&out[..expected.len()], expected);
        assert_eq!(command.encode(&mut out[..expected.len()]), Ok(expected.len()));
        let needs = expected.len();
        assert_eq!(command.encode(&mut out[..needs - 1]), Err(EncodeError::TooLong { needs }));
    }
    let secret = format!("{:?}", Command::new(&[b"AUTH", b"secret"]).unwrap());
    assert_eq!(secret, "Command(AUTH and 1 arguments)");
    assert_eq!(format!("{:?}", parsed(b"$6\r\nsecret\r\n")), "Reply('$', 12 bytes)");
    assert_eq!(Command::new(&[]), Err(EncodeError::NoName));
    assert_eq!(Command::new(&[b"", b"a"]), Err(EncodeError::NoName));
}

fn random_tree() -> impl Strategy<Value = Tree> {
    let text = || vec(any::<u8>().prop_filter("no line end", |byte| !matches!(byte, b'\r' | b'\n')), 0..12);
    let leaf = prop_oneof![
        text().prop_map(Tree::Simple),
        text().prop_map(Tree::Error),
        vec(any::<u8>(), 0..12).prop_map(Tree::BulkError),
        any::<i64>().prop_map(Tree::Integer),
        vec(any::<u8>(), 0..40).prop_map(Tree::Bulk),
        prop::sample::select(vec!["_", "$-1", "*-1"]).prop_map(Tree::Null),
        any::<f64>()
            .prop_filter("as Redis writes it", |value| !value.is_nan())
            .prop_map(|value| Tree::Double(value.to_string())),
        any::<bool>().prop_map(Tree::Boolean),
        "[-+]?[0-9]{1,60}".prop_map(Tree::BigNumber),
        (vec(any::<u8>(), 3), vec(any::<u8>(), 0..20)).prop_map(|(format, text)| Tree::Verbatim(format, text)),
    ];
    let inner = leaf.prop_recursive(5, 40, 6, |inner| {
        let even = || {
            vec(inner.clone(), 0..4).prop_map(|mut parts| {
                parts.truncate(parts.len() / 2 * 2);
                parts
            })
        };
        prop_oneof![
            (prop::sample::select(b"*~".to_vec()), vec(inner.clone(), 0..6))
                .prop_map(|(kind, parts)| Tree::Aggregate(kind, parts)),
            even().prop_map(|parts| Tree::Aggregate(b'%', parts)),
            (even(), inner.clone()).prop_map(|(parts, value)| Tree::Attribute(parts, Box::new(value))),
        ]
    });
    prop_oneof![6 => inner.clone(), 1 => vec(inner, 0..4).prop_map(|parts| Tree::Aggregate(b'>', parts))]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn replies_are_read_back_as_they_were(trees in vec(random_tree(), 1..4), pieces in vec(1..30_usize, 1..9)) {
        let bytes: Vec<u8> = trees.iter().flat_map(Tree::bytes).collect();
        let mut piece = pieces.into_iter().cycle();
        prop_assert_eq!(assert_found(&bytes, || piece.next().unwrap()), trees.len());
        let mut at = 0;
        for (end, expected) in follow(&bytes, Limits::default(), || usize::MAX).0.iter().zip(&trees) {
            prop_assert_eq!(&tree(Reply::parse(&bytes[at..end.0], Limits::default()).unwrap()), expected);
            at = end.0;
        }
    }

    #[test]
    fn split_at_any_byte_gives_the_same(tree in random_tree(), bytes in 1..200_usize, elements in 0..20_u32, depth in 0..4_u8) {
        let bytes_of = tree.bytes();
        for limits in [Limits::default(), Limits { bytes, elements, depth }] {
            let whole = follow(&bytes_of, limits, || usize::MAX);
            for cut in 1..bytes_of.len() {
                let mut pieces = [cut].into_iter();
                prop_assert_eq!(&follow(&bytes_of, limits, || pieces.next().unwrap_or(usize::MAX)), &whole, "cut at {}", cut);
            }
        }
    }

    #[test]
    fn mutated_replies_give_what_a_parser_of_the_whole_gives(
        trees in vec(random_tree(), 1..4),
        mutations in vec((any::<prop::sample::Index>(), prop::sample::select(b"\r\n*$%|>-0123456789?:,=x\0".to_vec()), 0..4_u8), 1..4),
        pieces in vec(1..30_usize, 1..9),
    ) {
        let mut bytes: Vec<u8> = trees.iter().flat_map(Tree::bytes).collect();
        for (index, byte, kind) in mutations {
            let at = index.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, byte),
                _ => bytes.truncate(at + 1),
            }
            if bytes.is_empty() {
                bytes.push(byte);
            }
        }
        let mut piece = pieces.into_iter().cycle();
        assert_found(&bytes, || piece.next().unwrap());
    }

    #[test]
    fn commands_are_read_back(parts in vec(vec(any::<u8>(), 0..20), 1..8)) {
        let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        if let Ok(command) = Command::new(&slices) {
            let mut out = vec![0; command.length()];
            prop_assert_eq!(command.encode(&mut out), Ok(out.len()));
            let reply = Reply::parse(&out, Limits::default()).unwrap();
            prop_assert_eq!(reply.elements().map(|part| part.text().unwrap()).collect::<Vec<_>>(), slices);
        } else {
            prop_assert!(parts[0].is_empty());
        }
    }
}

#[test]
fn a_follower_tells_whether_it_is_between_replies() {
    let mut follower = Follower::new(Limits::default());
    assert!(follower.is_between());
    assert_eq!(follower.follow(b"*1\r\n"), Ok(Progress::More));
    assert_eq!((follower.is_between(), follower.followed()), (false, 4));
    assert_eq!(follower.follow(b":1\r\n"), Ok(Progress::Reply(4)));
    assert_eq!((follower.is_between(), follower.followed()), (true, 0));
}

#[cfg(feature = "alloc")]
mod owned {
    use super::*;
    use hedge_wire::resp::Value;

    #[test]
    fn values_own_all_parts() {
        let reply = parsed(b"*6\r\n|1\r\n+a\r\n:1\r\n+b\r\n-E x\r\n%1\r\n$1\r\nk\r\n,1.5\r\n~1\r\n#t\r\n=5\r\ntxt:v\r\n*2\r\n_\r\n(12\r\n");
        let text = |text: &str| text.as_bytes().into();
        let expected = [
            Value::Simple(text("b")),
            Value::Error(text("E x")),
            Value::Map(vec![(Value::Bulk(text("k")), Value::Double(1.5))]),
            Value::Set(vec![Value::Boolean(true)]),
            Value::Verbatim(text("v")),
            Value::Array(vec![Value::Null, Value::BigNumber(text("12"))]),
        ];
        assert_eq!(Value::from(reply), Value::Array(expected.into()));
        assert!(size_of::<Value>() <= 32);
    }

    #[test]
    fn commands_are_appended() {
        let mut out = b"before".to_vec();
        Command::new(&[b"GET", b"k"]).unwrap().append(&mut out);
        assert_eq!(out, b"before*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
    }
}
