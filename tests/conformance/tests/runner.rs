//! The runner as a user runs it.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::path::PathBuf;
use std::process::{Command, Output};

fn runner(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hedge-conformance")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A file of cases in the build's own folder.
fn table(name: &str, content: &str) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().into()
}

/// The project's own table of a suite.
fn own(suite: &str) -> String {
    format!("{}/tables/{suite}.json", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_lifecycle_case_is_ok() {
    for (suite, cases) in [("lifecycle_cases", 36), ("lifecycle_precise", 8)] {
        let output = runner(&[suite, &own(suite)]);
        let lines = text(&output.stdout);
        assert!(output.status.success(), "{lines}");
        assert_eq!(lines.lines().count(), cases);
        assert!(lines.lines().all(|line| line.starts_with("ok ")), "{lines}");
    }
}

#[test]
fn the_core_is_as_the_tables_say_or_differs_by_name() {
    for (suite, cases, differing) in [
        ("circuit_breaker_traces", 8, 0),
        ("endpoint_parse", 21, 0),
        ("excluded_servers", 7, 4),
        ("file_naming_parse", 2, 1),
        ("list_naming_parse", 24, 12),
        ("naming_service_unit_cases", 14, 4),
        ("rate_limited_policy_traces", 11, 0),
        ("rate_limited_policy_validation", 19, 0),
        ("token_buckets", 5, 0),
        ("weight_tag_parse", 8, 0),
        ("wrr_sequences", 7, 0),
    ] {
        let output = runner(&[suite, &own(suite)]);
        let lines = text(&output.stdout);
        assert!(output.status.success(), "{lines}");
        assert_eq!(lines.lines().count(), cases, "{lines}");
        assert_eq!(lines.lines().filter(|line| line.starts_with("differs ")).count(), differing, "{lines}");
    }
}

#[test]
fn the_codec_is_as_brpcs_tables_say_or_differs_by_name() {
    for (suite, cases, not_built, differing) in [
        ("wire_captures", 6, 1, 0),
        ("wire_server_responses", 6, 0, 0),
        ("brpc_client_frames", 160, 147, 0),
        ("brpc_server_answers", 202, 154, 2),
        ("brpc_client_reactions", 119, 91, 5),
        ("brpc_conversations", 39, 26, 1),
    ] {
        let output = runner(&[suite, &own(suite)]);
        let lines = text(&output.stdout);
        assert!(output.status.success(), "{lines}");
        assert_eq!(lines.lines().count(), cases, "{suite}");
        let (absent, differs): (Vec<_>, Vec<_>) =
            lines.lines().filter(|line| line.starts_with("differs ")).partition(|line| line.contains(" not built"));
        assert_eq!((absent.len(), differs.len()), (not_built, differing), "{suite}: {differs:#?}");
    }
}

#[test]
fn a_frame_that_is_not_as_the_table_says_fails() {
    let meta = "request { service_name: \\\"probe.Echo\\\" method_name: \\\"Do\\\" } compress_type: 0 correlation_id: 5 \
                content_type: CONTENT_TYPE_PB checksum_type: 0 checksum_value: \\\"\\\"";
    let hex = "505250430000001e0000001c0a100a0a70726f62652e4563686f1202446f18002005500058006200";
    let answer = "505250430000001000000006120208002006080712026f6b08071202";
    let row = |meta: &str| {
        format!(r#"{{"magic": "PRPC", "body_size": 30, "meta_size": 28, "frame_bytes": 42, "meta": "{meta}"}}"#)
    };
    let frames = |flags: &str, meta: &str| {
        let frames = row(meta);
        format!(
            r#"{{"cases": [{{"name": "x", "protocol": "baidu_std", "flags": [{flags}],
                "connections": [{{"hex": "{hex}2807", "frames": [{frames}]}}]}}]}}"#
        )
    };
    let reaction = |code: i32, reply: &str| {
        format!(
            r#"{{"cases": [{{"name": "x", "protocol": "baidu_std", "request_hex": "{hex}2807", "reply": ["{reply}"], "outcome":
                [{{"error_code": {code}, "error_text": "", "retried": 0, "res": "", "attachment_hex": ""}}]}}]}}"#
        )
    };
    for (suite, content, line) in [
        ("brpc_client_frames", frames("", meta), "ok x"),
        ("brpc_client_frames", frames("", "request { }"), "FAIL x expected as in the table got meta: "),
        (
            "brpc_client_frames",
            frames(r#""-log_id=5""#, meta),
            "FAIL x expected as in the table got written from the flags: ",
        ),
        (
            "brpc_client_frames",
            frames(r#""-colour=5""#, meta),
            "FAIL x expected as in the table got flag colour is unknown",
        ),
        ("brpc_client_reactions", reaction(22, "5850"), "ok x"),
        (
            "brpc_client_reactions",
            reaction(0, "5850"),
            "FAIL x expected as in the table got code: ErrorCode(22 EINVAL) instead of ErrorCode(0)",
        ),
        (
            "brpc_client_reactions",
            reaction(0, answer),
            "FAIL x expected as in the table got code: ErrorCode(1008 ERPCTIMEDOUT) instead of ErrorCode(0)",
        ),
        (
            "brpc_server_answers",
            format!(
                r#"{{"cases": [{{"name": "x", "protocol": "baidu_std", "sent": ["{hex}2807"], "recv_hex": "", "closed": false}}]}}"#
            ),
            "FAIL x expected as in the table got whole requests, and no answer",
        ),
        (
            "wire_server_responses",
            format!(r#"{{"cases": [{{"name": "x", "sent_hex": "{hex}2807", "recv_hex": ""}}]}}"#),
            "FAIL x expected as in the table got Ok(0), and no error",
        ),
        ("wire_captures", r#"{"captures": [{"name": "http x"}]}"#.into(), "differs http x not built"),
    ] {
        let output = runner(&[suite, &table(&format!("frames_{suite}.json"), &content)]);
        assert_eq!(output.status.success(), !line.starts_with("FAIL"), "{line}");
        let got = text(&output.stdout);
        assert!(got.starts_with(line), "{got} instead of {line}");
    }
}

#[test]
fn what_is_not_as_the_table_says_fails() {
    for (suite, content, line) in [
        (
            "circuit_breaker_traces",
            r#"{"cases": [{"name": "x", "warm_ok_calls": 10, "fail_every": 1, "ok_latency_us": 9, "err_latency_us": 9,
                "n": 900, "first_unhealthy_call": 160, "isolation_ms": 100}]}"#,
            "FAIL x expected (160, 100) got (161, 100)",
        ),
        (
            "la_weight_traces",
            r#"{"traces": [{"name": "x", "events": [{"k": "S", "at": 5, "begin": 0, "err": 0, "max_retry": 3, "retried": 0,
                "timeout_ms": 500, "chosen": true, "weight": 1008680231, "base": 1008680231, "avg_lat": 0, "inflight": 0}]}]}"#,
            "FAIL x expected alone, event 1: Row { weight: 1008680231, base: 1008680231, avg_lat: 0, inflight: 0 } \
             got alone, event 1: Row { weight: 1008680231, base: 1008680231, avg_lat: 0, inflight: 1 }",
        ),
        (
            "p2c_ewma_traces",
            r#"{"traces": [{"name": "x", "weight_tag": "2", "events": [{"at": 9, "lat": 8, "err": 0, "timeout_ms": 500,
                "ewma_us": 8, "score": 4.0, "score_10s_later": 1.471520}]}]}"#,
            "FAIL x expected event 1: ewma 8 us, score 4.000000, then 1.471520 \
             got event 1: ewma 8 us, score 4.000000, then 1.471518",
        ),
        (
            "token_buckets",
            r#"{"trpc": {"traces": [{"max": 10, "ratio": 2, "seq": "F", "rows": [["F", true, 9]]}]}}"#,
            "FAIL trpc 10 2 F expected [(true, 9000)] got [(true, 8000)]",
        ),
        (
            "rate_limited_policy_traces",
            r#"{"traces": [{"name": "x", "max_backup_ratio": 0.5, "window_s": 1, "update_interval_s": 1,
                "ops": [{"op": "B", "n": 2, "allowed": 1}]}]}"#,
            "FAIL x expected [1] got [2]",
        ),
        (
            "rate_limited_policy_validation",
            r#"{"validation": [{"opts": {"burst": 5}, "ok": false}]}"#,
            r#"FAIL {"burst":5} expected "invalid" got "valid""#,
        ),
        (
            "wrr_sequences",
            r#"{"cases": [{"weights": [2, 1], "counts": [1, 2]}]}"#,
            "FAIL weights [2, 1] down [] expected [1, 2] got [2, 1]",
        ),
        (
            "weight_tag_parse",
            r#"{"cases": [{"tag": "x", "wrr": true, "wr": true, "wrr_with_default10": true, "weight_used": 1}]}"#,
            "FAIL tag \"x\" expected (true, true, true, 1) got (false, false, true, 10)",
        ),
        (
            "excluded_servers",
            r#"{"cases": [{"cap": 3, "adds": [1, 2], "size": 2, "excluded": [1]}]}"#,
            "FAIL cap 3 adds 1,2 expected size 2, excluded {1} got size 2, excluded {1, 2}",
        ),
        (
            "excluded_servers",
            r#"{"cases": [{"cap": 3, "adds": [1, 2, 3, 4], "size": 9, "excluded": [7]}]}"#,
            "FAIL cap 3 adds 1,2,3,4 expected size 9, excluded {7} got size 3, excluded {2, 3, 4}",
        ),
        (
            "excluded_servers",
            r#"{"cases": [{"cap": 3, "adds": [1, 1], "size": 2, "excluded": [1]}]}"#,
            "FAIL cap 3 adds 1,1 expected size 2, excluded {1} got size 1, excluded {1}",
        ),
        (
            "endpoint_parse",
            r#"{"cases": [{"in": "10.0.0.1:80", "str2endpoint": 0, "out": "10.0.0.1:81", "hostname2endpoint": 0}]}"#,
            "FAIL address \"10.0.0.1:80\" expected (true, \"10.0.0.1:81\", true) got (true, \"10.0.0.1:80\", true)",
        ),
        (
            "list_naming_parse",
            r#"{"cases": [{"in": "10.0.0.1:80,x", "rc": 0, "servers": [{"addr": "10.0.0.2:80", "tag": ""}]}]}"#,
            "FAIL list://\"10.0.0.1:80,x\" expected 0 [\"10.0.0.2:80\"] got server 2 \"x\": port missing; write host:port",
        ),
        (
            "file_naming_parse",
            r#"{"file": "a:1 tag\n", "rc": 0, "servers": [{"addr": "a:1", "tag": "tug"}], "missing_file_rc": 2}"#,
            "FAIL file expected 0 [\"a:1 tug\"] got [\"a:1 tag\"]\nok missing file",
        ),
    ] {
        let output = runner(&[suite, &table(&format!("wrong_{suite}.json"), content)]);
        assert_eq!(output.status.code(), Some(1), "{suite}");
        assert_eq!(text(&output.stdout).trim_end(), line);
    }
}

#[test]
fn balancers_are_as_the_tables_say_or_differ_by_name() {
    for (suite, cases, differing) in [("la_weight_traces", 3, 0), ("p2c_ewma_traces", 2, 1)] {
        let output = runner(&[suite, &own(suite)]);
        let lines = text(&output.stdout);
        assert!(output.status.success(), "{lines}");
        assert_eq!(lines.lines().count(), cases, "{lines}");
        assert_eq!(lines.lines().filter(|line| line.starts_with("differs ")).count(), differing, "{lines}");
    }
}

#[test]
fn hashes_and_rings_are_as_the_tables_say() {
    for (suite, cases) in [("hash_vectors", 26), ("consistent_hash_rings", 21)] {
        let output = runner(&[suite, &own(suite)]);
        let lines = text(&output.stdout);
        assert!(output.status.success(), "{lines}");
        assert_eq!(lines.lines().count(), cases, "{lines}");
        assert!(lines.lines().all(|line| line.starts_with("ok ")), "{lines}");
    }
}

#[test]
fn a_hash_that_is_not_as_the_table_says_fails() {
    let content = r#"{"vectors": [{"hex": "616263", "text": "abc", "murmur32": 1, "crc32c": 1},
        {"hex": "61", "text": "b", "murmur32": 1}, {"hex": "61", "sha1": 1}]}"#;
    let output = runner(&["hash_vectors", &table("wrong_hash_vectors.json", content)]);
    assert_eq!(output.status.code(), Some(1));
    let lines = text(&output.stdout);
    let expected = [
        "FAIL murmur32 of \"616263\" expected 1 got 3017643002",
        "got \"61\" is not \"b\"",
        "got unknown field `sha1`",
    ];
    assert_eq!(lines.lines().count(), expected.len(), "{lines}");
    assert!(lines.lines().zip(expected).all(|(line, expected)| line.contains(expected)), "{lines}");
}

#[test]
fn a_ring_that_is_not_as_the_table_says_fails() {
    let content = r#"{"servers": ["a:1", "b:1"], "lbs": [
        {"name": "c_murmurhash", "ring_size": 201, "ring_head": [[29317888, "b:1"]], "ring_tail": [1, "a:1"],
            "loads": {"a:1": 1.0}, "picks": [[0, "b:1"], [1, "x"]], "excluded": "b:1", "picks_excl": [[0, "b:1"]],
            "down": "b:1", "picks_down": [[0, "a:1"]]},
        {"name": "c_ketama", "ring_head": [[21924897, "b:1"], [3549599, "b:1"]]},
        {"name": "c_sha"}, {"name": "c_md5", "size": 1}, {"name": "c_md5", "picks_down": []}]}"#;
    let output = runner(&["consistent_hash_rings", &table("wrong_consistent_hash_rings.json", content)]);
    assert_eq!(output.status.code(), Some(1));
    let lines = text(&output.stdout);
    let expected = [
        "FAIL c_murmurhash ring_size expected 201 got 200",
        r#"FAIL c_murmurhash ring_head expected (29317888, "b:1") in order among the first got no such point"#,
        r#"FAIL c_murmurhash ring_tail expected Some((1, "a:1")) got Some((4292122131, "a:1"))"#,
        r#"FAIL c_murmurhash loads expected {"a:1": 1.0} got {"a:1": 0.4469"#,
        r#"FAIL c_murmurhash picks expected [Some((0, "b:1")), Some((1, "x"))] got [Some((0, "a:1")), Some((1, "a:1"))]"#,
        r#"FAIL c_murmurhash picks_excl expected [Some((0, "b:1"))] got [Some((0, "a:1"))]"#,
        "ok c_murmurhash picks_down",
        r#"FAIL c_ketama ring_head expected (3549599, "b:1") in order among the first got it at index 0"#,
        r#"FAIL c_sha expected "a balancer of this suite" got no such hash"#,
        r#"FAIL c_md5 expected "a balancer of this suite" got unknown field `size`"#,
        r#"FAIL c_md5 expected "a balancer of this suite" got down is none of the servers"#,
    ];
    assert_eq!(lines.lines().count(), expected.len(), "{lines}");
    assert!(lines.lines().zip(expected).all(|(line, expected)| line.starts_with(expected)), "{lines}");
}

#[test]
fn a_case_that_fails_says_what_was_expected_and_what_came() {
    let case = r#"{"cases": [{"name": "two", "options": {"timeout_ms": 9}, "attempts": [{"after_ms": 5, "result": "ok"}],
        "expect": {"result": "timeout", "at_ms": 9, "attempts": 1, "backup_sent": false, "not_hedged": "denied"}}]}"#;
    let output = runner(&["lifecycle_cases", &table("fails.json", case)]);
    assert_eq!(output.status.code(), Some(1));
    let expected = "FAIL two expected Timeout at 9 ms, attempts 1, backup sent false, not hedged Some(\"denied\") \
                    got Ok at 5 ms, attempts 1, backup sent false, not hedged Some(\"disabled\")\n";
    assert_eq!(text(&output.stdout), expected);
}

#[test]
fn a_trace_that_cannot_be_read_fails_and_the_others_run() {
    let traces = r#"{"traces": [{"name": "typo", "max_backup_ratio": 0.5, "windows": 1},
        {"name": "says little", "max_backup_ratio": 0.5, "window_s": 1, "update_interval_s": 1, "why": "",
            "ops": [{"op": "B", "n": 3}, {"op": "E", "n": 1, "allowed": 7, "note": ""}, {"op": "W", "n": 9, "allowed": null}]},
        {"name": "no such limit", "max_backup_ratio": 2, "window_s": 1, "update_interval_s": 1, "ops": []}]}"#;
    let output = runner(&["rate_limited_policy_traces", &table("typo_traces.json", traces)]);
    assert_eq!(output.status.code(), Some(1));
    let expected = "FAIL typo expected \"a trace\" got missing field `window_s`\nok says little\n\
                    FAIL no such limit expected [] got limits.ratio.max_backup_ratio 2: must be a number in (0, 1]\n";
    assert_eq!(text(&output.stdout), expected);
}

#[test]
fn a_case_that_cannot_be_read_fails_and_the_others_run() {
    let cases = r#"{"cases": [{"name": "typo", "options": {"timeout": 9}, "attempts": [],
            "expect": {"result": "ok", "at_ms": 0, "attempts": 0, "backup_sent": false}},
        {"name": "silent", "attempts": [], "expect": {"result": "never", "at_ms": 0, "attempts": 1, "backup_sent": false}}]}"#;
    let output = runner(&["lifecycle_cases", &table("typo.json", cases)]);
    assert_eq!(output.status.code(), Some(1));
    let lines = text(&output.stdout);
    assert!(lines.starts_with("FAIL typo expected a case of this suite got unknown field `timeout`"), "{lines}");
    assert!(lines.ends_with("ok silent\n"), "{lines}");
}

#[test]
fn unusable_arguments_end_with_a_line_that_says_why() {
    let broken = table("broken.json", "{");
    let empty = table("empty.json", r#"{"cases": []}"#);
    for (arguments, why) in [
        (vec![], "usage: "),
        (vec!["lifecycle_cases"], "usage: "),
        (vec!["nonsense", "x"], "error: no suite \"nonsense\"; known are brpc_client_frames, "),
        (vec!["lifecycle_cases", "/nowhere/x.json"], "error: cannot read /nowhere/x.json: "),
        (vec!["lifecycle_cases", &broken], "error: "),
        (vec!["lifecycle_cases", &empty], "error: no case in "),
    ] {
        let output = runner(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).starts_with(why), "{arguments:?}: {}", text(&output.stderr));
    }
}
