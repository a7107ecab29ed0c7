use super::*;
use hedge_core::drive::CallAlong;
use hedge_core::id::IdempotencyKey;

const KEY: IdempotencyKey = IdempotencyKey::from_bytes([0xab; 16]);

fn names(headers: &AlongHeaders) -> Vec<(AlongField, &str)> {
    AlongField::ALL.into_iter().filter_map(|field| Some((field, headers.name(field)?.as_str()))).collect()
}

/// The head of an answer that claims to be a dropped copy.
fn claims(status: u16) -> response::Parts {
    ::http::Response::builder().status(status).header("x-hedge-dropped", "tied").body(()).unwrap().into_parts().0
}

#[test]
fn w3_the_default_names_are_these() {
    use AlongField as Field;

    let all = [
        (Field::LogId, "log-id"),
        (Field::RequestId, "x-request-id"),
        (Field::Attempt, "x-hedge-attempt"),
        (Field::Kind, "x-hedge-attempt-kind"),
        (Field::Remaining, "x-hedge-remaining-ms"),
        (Field::Key, "idempotency-key"),
        (Field::FirstServer, "x-hedge-first-server"),
        (Field::Dropped, "x-hedge-dropped"),
    ];
    assert_eq!(names(&AlongHeaders::all()), all);
    let [_, _, _, kind, _, of_ties @ ..] = all;
    assert_eq!(names(&AlongHeaders::tied()), [&[kind], &of_ties[..]].concat());
    assert_eq!(names(&AlongHeaders::none()), []);
    assert!(AlongHeaders::all().are_tied() && AlongHeaders::tied().are_tied());
    for field in [Field::Key, Field::FirstServer] {
        assert!(!AlongHeaders::all().without(field).are_tied());
    }
}

#[test]
fn w3_a_name_that_no_header_of_ours_can_have_is_an_error() {
    use AlongHeaderFault::{Forbidden, Malformed, Twice};

    let long = "content-length";
    for (name, fault) in [
        ("", Malformed { at: None }),
        ("x a", Malformed { at: Some(1) }),
        ("x\r\ny: z", Malformed { at: Some(1) }),
        (":path", Malformed { at: Some(0) }),
        ("Host", Forbidden),
        (long, Forbidden),
        ("connection", Forbidden),
        ("Transfer-Encoding", Forbidden),
        ("te", Forbidden),
        ("keep-alive", Forbidden),
        ("grpc-timeout", Forbidden),
        ("Log-Id", Twice { other: AlongField::LogId }),
    ] {
        let error = AlongHeaders::all().with_name(AlongField::Key, name).unwrap_err();
        assert_eq!(error, AlongHeaderError { field: AlongField::Key, name: name.into(), fault });
    }
    let error = AlongHeaders::all().with_name(AlongField::Key, "log-id").unwrap_err();
    assert_eq!(error.to_string(), "header \"log-id\" for Key: LogId has this name");
    // Its own name again, and the name of a field that is left out.
    let headers = AlongHeaders::all().with_name(AlongField::Key, "Idempotency-Key").unwrap();
    assert_eq!(headers, AlongHeaders::all());
    assert!(headers.without(AlongField::LogId).with_name(AlongField::Key, "log-id").is_ok());
}

#[test]
fn y1_a_drop_is_believed_only_if_there_are_two_copies() {
    let marked = |names: &AlongHeaders, kind, call: Option<&CallAlong<'_>>, status| {
        let first = Address::Socket(([127, 0, 0, 1], 80).into());
        let along = call.map_or(Along::NOTHING, |call| call.of_attempt(kind, Some(&first)));
        let mut head = claims(status);
        names.mark_dropped(&mut head, kind, along);
        head.extensions.get::<DroppedCopy>().is_some()
    };
    let tied = AlongHeaders::tied();
    let with_key = || CallAlong::new(None, None, Some(KEY));
    let (single, double) = (with_key(), with_key());
    assert!(marked(&tied, Kind::Backup, Some(&double), 503));
    assert!(marked(&tied, Kind::First, Some(&double), 503), "its backup has started");
    for (names, kind, call, status, why) in [
        (&tied, Kind::First, Some(&single), 503, "there is no backup"),
        (&tied, Kind::Retry, Some(&double), 503, "a retry has no copy"),
        (&tied, Kind::Backup, Some(&CallAlong::default()), 503, "no key"),
        (&tied, Kind::Backup, None, 503, "nothing went along"),
        (&tied, Kind::Backup, Some(&double), 500, "another status"),
        (&tied.clone().without(AlongField::Dropped), Kind::Backup, Some(&double), 503, "it is not asked for"),
        (&tied.clone().without(AlongField::FirstServer), Kind::Backup, Some(&double), 503, "no tie"),
        (&AlongHeaders::none(), Kind::Backup, Some(&double), 503, "off"),
    ] {
        assert!(!marked(names, kind, call, status), "{why}");
    }
    let given_up = with_key();
    drop(given_up.of_attempt::<Address>(Kind::First, None).running(Kind::First));
    assert!(
        !marked(&tied, Kind::Backup, Some(&given_up), 503),
        "the first attempt was over, so the backup is not tied"
    );
}

#[test]
fn w3_values_are_exact() {
    assert_eq!([0, 1, 1_000_000, 1_000_001].map(|nanos| millis_up(Duration::from_nanos(nanos))), [0, 1, 1, 2]);
    assert_eq!(millis_up(Duration::MAX), u64::MAX);
    for (address, expected) in [
        ("10.0.0.1:80", Some("10.0.0.1:80")),
        ("[::1]:80", Some("[::1]:80")),
        ("a.example:80", Some("a.example:80")),
        ("unix:/run/a", None),
    ] {
        let value = first_server(&address.parse().unwrap());
        assert_eq!(value.as_ref().map(|value| value.to_str().unwrap()), expected);
    }
}
