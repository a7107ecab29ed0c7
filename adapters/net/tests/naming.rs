//! The grammar of servers: N1, N4.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

use hedge_net::{Address, AddressError, NameError, Server, parse_servers};

#[test]
fn n4_addresses() {
    for (text, expected) in [
        ("127.0.0.1:80", Ok("127.0.0.1:80")),
        (" 127.0.0.1:65535", Ok("127.0.0.1:65535")),
        (" 127.0.0.1: 289 ", Ok("127.0.0.1:289")),
        ("127.0.0.1:8000\t", Ok("127.0.0.1:8000")),
        ("0.0.0.0:0", Ok("0.0.0.0:0")),
        ("[::1]:8080", Ok("[::1]:8080")),
        ("  [2001:0db8:a001:0002:0003:0ab9:C0A8:0102]:65535  ", Ok("[2001:db8:a001:2:3:ab9:c0a8:102]:65535")),
        ("LOCALHOST:9000", Ok("localhost:9000")),
        ("a-b.example_1.com:1", Ok("a-b.example_1.com:1")),
        ("10.39.2.300:8000", Err(AddressError::Ipv4)),
        ("256.0.0.1:80", Err(AddressError::Ipv4)),
        ("127.0.0.1:99999", Err(AddressError::PortRange)),
        ("127.0.0.1:65536", Err(AddressError::PortRange)),
        (" 127.0.0.1:-1", Err(AddressError::PortRange)),
        ("localhost:-1", Err(AddressError::PortRange)),
        ("127.0.0.1:8000#", Err(AddressError::Port)),
        ("127.0.0.1:+1", Err(AddressError::Port)),
        ("127.0.0.1:", Err(AddressError::NoPort)),
        ("127.0.0.1", Err(AddressError::NoPort)),
        ("", Err(AddressError::NoPort)),
        ("[::1]:", Err(AddressError::NoPort)),
        ("[::1]:99999", Err(AddressError::PortRange)),
        ("[]:80", Err(AddressError::Ipv6)),
        ("[::1", Err(AddressError::Ipv6)),
        ("::1:80", Err(AddressError::Ipv6)),
        ("[", Err(AddressError::NoPort)),
        (":80", Err(AddressError::Host)),
        ("a/b:80", Err(AddressError::Host)),
        ("http://127.0.0.1:80", Err(AddressError::Url)),
        ("https://a", Err(AddressError::Url)),
        (" unix:/run/app.sock\t", Ok("unix:/run/app.sock")),
        ("unix:///run/app.sock", Ok("unix:/run/app.sock")),
        ("unix:test.sock", Ok("unix:test.sock")),
        ("unix:80", Ok("unix:80")),
        ("unix:", Err(AddressError::Path)),
        ("unix://run/app.sock", Err(AddressError::Path)),
        ("unix:/a b", Err(AddressError::Path)),
        ("unix:/a\0", Err(AddressError::Path)),
        ("unix:/a,unix:/b", Err(AddressError::Several)),
    ] {
        let parsed = text.parse::<Address>().map(|address| address.to_string());
        assert_eq!(parsed, expected.map(str::to_owned), "{text:?}");
    }
    let path = |length: usize| format!("unix:/{}", "x".repeat(length - 1)).parse::<Address>();
    assert!(path(107).is_ok());
    assert_eq!(path(108), Err(AddressError::Path));
    assert!(matches!("unix:80".parse(), Ok(Address::Unix(_))), "no host is named unix");
}

#[test]
fn n1_lists() {
    for (text, expected) in [
        ("list://", &[][..]),
        ("list://127.0.0.1:80,127.0.0.1:81", &["127.0.0.1:80", "127.0.0.1:81"]),
        ("list://127.0.0.1:80 127.0.0.1:81", &["127.0.0.1:80 127.0.0.1:81"]),
        ("list://127.0.0.1:80,,127.0.0.1:81", &["127.0.0.1:80", "127.0.0.1:81"]),
        ("list:// 127.0.0.1:80 ,\t127.0.0.1:81", &["127.0.0.1:80", "127.0.0.1:81"]),
        ("list://127.0.0.1:80 tag1,127.0.0.1:80 tag1", &["127.0.0.1:80 tag1"]),
        ("list://127.0.0.1:80   50  ", &["127.0.0.1:80 50"]),
        ("list://127.0.0.1:80 tag # c", &["127.0.0.1:80 tag"]),
        ("list://#127.0.0.1:80", &[]),
        (" 127.0.0.1:80 ", &["127.0.0.1:80"]),
        ("example.com:80", &["example.com:80"]),
        ("unix:///run/app.sock", &["unix:/run/app.sock"]),
        ("list://unix:/run/app.sock 5,127.0.0.1:80", &["unix:/run/app.sock 5", "127.0.0.1:80"]),
    ] {
        let servers: Vec<_> = parse_servers(text).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(servers, expected, "{text:?}");
    }
}

#[test]
fn n2_errors_name_the_entry_and_its_place() {
    for (text, expected) in [
        (
            "list://127.0.0.1:1,127.0.0.1:99999",
            "server 2 \"127.0.0.1:99999\": port out of range; it must be in [0, 65535]",
        ),
        ("list://a:1,,b", "server 3 \"b\": port missing; write host:port"),
        ("list://127.0.0.1: 80", "server 1 \"127.0.0.1: 80\": port missing; write host:port"),
        ("list://a:1;b:2", "server 1 \"a:1;b:2\": more than one address; write list://host:port,host:port"),
        ("list://::1:80", "server 1 \"::1:80\": not an ipv6 address in brackets; write one such as [::1]:80"),
        ("blahblah", "server 1 \"blahblah\": port missing; write host:port"),
        ("127.0.0.1:x", "server 1 \"127.0.0.1:x\": port is not a number; it must be in [0, 65535]"),
        ("1.2.3:80", "server 1 \"1.2.3:80\": not an ipv4 address; write one such as 127.0.0.1:80"),
        ("http://127.0.0.1:80", "unknown naming scheme \"http\"; known is list://"),
        ("file:///a", "unknown naming scheme \"file\"; known is list://"),
        ("://a:1", "unknown naming scheme \"\"; known is list://"),
    ] {
        assert_eq!(parse_servers(text).unwrap_err().to_string(), expected);
    }
    assert!(matches!(parse_servers("bns://x"), Err(NameError::UnknownScheme { scheme, .. }) if &*scheme == "bns"));
}

#[test]
fn n4_several_servers_without_a_scheme_are_told_to_have_one() {
    let is = "several servers need a scheme; write";
    for (text, list) in [
        ("127.0.0.1:80,127.0.0.1:81", "list://127.0.0.1:80,127.0.0.1:81"),
        ("127.0.0.1:80, 127.0.0.1:81", "list://127.0.0.1:80,127.0.0.1:81"),
        ("127.0.0.1:80;127.0.0.1:81", "list://127.0.0.1:80,127.0.0.1:81"),
        ("127.0.0.1:80 127.0.0.1:81", "list://127.0.0.1:80,127.0.0.1:81"),
        ("a:1 canary,b:2", "list://a:1 canary,b:2"),
        ("127.0.0.1:80,", "list://127.0.0.1:80"),
        ("list:127.0.0.1:80,127.0.0.1:81", "list://127.0.0.1:80,127.0.0.1:81"),
        ("list:/a:1,b:2", "list://a:1,b:2"),
        ("[::1]:80,[::1]:81", "list://[::1]:80,[::1]:81"),
    ] {
        let error = parse_servers(text).unwrap_err();
        assert!(matches!(error, NameError::NoScheme { .. }), "{text}: {error:?}");
        assert_eq!(error.to_string(), format!("{text:?}: {is} {list:?}"));
        assert!(parse_servers(list).is_ok(), "{list}: what it says to write is right");
    }
    for one in ["127.0.0.1:80", "127.0.0.1:80 canary", "a:1 zone b", "[::1]:80 1/3"] {
        assert_eq!(parse_servers(one).map(|servers| servers.len()), Ok(1), "{one}");
    }
    assert_eq!("a:1,b:2".parse::<Address>(), Err(AddressError::Several));
}

#[test]
fn s7_the_canonical_order_is_family_address_port_tag() {
    let ordered =
        ["2.0.0.1:9", "10.0.0.1:1", "10.0.0.1:2", "10.0.0.1:2 a", "[::1]:1", "a:2", "b:1", "unix:/a", "unix:/b"];
    let mut servers: Vec<Server> = ordered.iter().rev().map(|text| text.parse().unwrap()).collect();
    servers.sort();
    let sorted: Vec<_> = servers.iter().map(ToString::to_string).collect();
    assert_eq!(sorted, ordered);
}
