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

fn lifecycle() -> String {
    own("lifecycle_cases")
}

/// The project's own table of a suite.
fn own(suite: &str) -> String {
    format!("{}/tables/{suite}.json", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_lifecycle_case_is_ok() {
    let output = runner(&["lifecycle_cases", &lifecycle()]);
    let lines = text(&output.stdout);
    assert!(output.status.success(), "{lines}");
    assert_eq!(lines.lines().count(), 36);
    assert!(lines.lines().all(|line| line.starts_with("ok ")), "{lines}");
}

#[test]
fn limits_are_as_the_tables_say_or_differ_by_name() {
    for (suite, cases, differing) in [
        ("excluded_servers", 7, 4),
        ("rate_limited_policy_traces", 6, 0),
        ("rate_limited_policy_validation", 19, 0),
        ("token_buckets", 5, 0),
    ] {
        let output = runner(&[suite, &own(suite)]);
        let lines = text(&output.stdout);
        assert!(output.status.success(), "{lines}");
        assert_eq!(lines.lines().count(), cases, "{lines}");
        assert_eq!(lines.lines().filter(|line| line.starts_with("differs ")).count(), differing, "{lines}");
    }
}

#[test]
fn a_limit_that_is_not_as_the_table_says_fails() {
    for (suite, content, line) in [
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
            "excluded_servers",
            r#"{"cases": [{"cap": 3, "adds": [1, 2], "size": 2, "excluded": [1]}]}"#,
            "FAIL cap 3 adds 1,2 expected size 2, excluded {1} got size 2, excluded {1, 2}",
        ),
    ] {
        let output = runner(&[suite, &table(&format!("wrong_{suite}.json"), content)]);
        assert_eq!(output.status.code(), Some(1), "{suite}");
        assert_eq!(text(&output.stdout).trim_end(), line);
    }
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
        (vec!["nonsense", "x"], "error: no suite \"nonsense\"; known are excluded_servers, lifecycle_cases, "),
        (vec!["lifecycle_cases", "/nowhere/x.json"], "error: cannot read /nowhere/x.json: "),
        (vec!["lifecycle_cases", &broken], "error: "),
        (vec!["lifecycle_cases", &empty], "error: no case in "),
    ] {
        let output = runner(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).starts_with(why), "{arguments:?}: {}", text(&output.stderr));
    }
}
