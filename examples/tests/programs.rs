//! Every example runs, ends well, and prints what it is there to show.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise, in its helpers too")]

use std::path::PathBuf;
use std::process::Command;

/// Runs an example that cargo has built next to this test: `target/<profile>/deps/…` is the test.
fn output_of(name: &str) -> String {
    output_with(name, &[])
}

fn output_with(name: &str, arguments: &[&str]) -> String {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(|deps| deps.parent()).unwrap();
    let program: PathBuf = profile.join("examples").join(name).with_extension(std::env::consts::EXE_EXTENSION);
    let output = Command::new(&program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn by_hand() {
    let text = output_of("by_hand");
    assert!(text.contains("ended after 2700 µs: Some(Accepted)"), "{text}");
    assert!(text.contains("attempt 1: Backup at 2000 µs to 10.0.0.2:80: Finished(Accept), won"), "{text}");
    assert!(text.contains("Abandon"), "{text}");
}

#[test]
fn backup_request() {
    let text = output_of("backup_request");
    assert_eq!(text.lines().count(), 20, "{text}");
    assert!(text.lines().enumerate().all(|(index, line)| line.starts_with(&format!("call {index:>2}: "))), "{text}");
    assert!(text.contains(", by the backup"), "{text}");
}

#[test]
fn clients_of_both_runtimes() {
    for name in ["tokio_client", "smol_client"] {
        let text = output_of(name);
        assert!(text.starts_with("200 OK from 127.0.0.1:"), "{text}");
    }
}

#[test]
fn selective() {
    let text = output_of("selective");
    assert_eq!(
        text.lines().filter(|line| line.starts_with("call ") && line.contains("from the cluster us")).count(),
        4,
        "{text}"
    );
    assert!(
        text.contains(" (backup, server ") && text.contains("\n  0 eu: cancelled\n  1 us: accepted after "),
        "{text}"
    );
    assert!(text.lines().last().unwrap().starts_with("4 calls, "), "{text}");
}

#[test]
fn parallel() {
    let text = output_of("parallel");
    assert!(text.starts_with("joined: [1,4,2,5,3,6]\n") && text.contains("\n  2 shard 2: accepted after "), "{text}");
    assert!(text.contains("\njoined without shard 1: [1,4,3,6]\nshard 1: "), "{text}");
}

#[test]
fn partition() {
    let text = output_of("partition");
    assert!(text.starts_with("warning: 127.0.0.1:1 2/2: tag: partition must be i/n with i below n"), "{text}");
    let calls = text
        .lines()
        .filter(|line| line.starts_with("call ") && line.contains(": left ") && line.contains(" and right "));
    assert_eq!(calls.count(), 3, "{text}");
}

#[test]
fn blocking() {
    let text = output_of("blocking");
    assert!(text.contains("waited: 200 OK") && text.matches("joined: 200 OK").count() == 2, "{text}");
    assert!(text.contains("callback: 200 OK") && text.contains("ended: Completed"), "{text}");
}

#[test]
fn callback() {
    let text = output_of("callback");
    assert_eq!(text.matches("on the pool: call ").count(), 4, "{text}");
    for line in
        ["inline: 200 OK after 1 attempts", "the second call: 200 OK", "the chain: Completed", "cancelled: true"]
    {
        assert!(text.lines().any(|other| other == line), "{text}");
    }
    assert!(text.contains("\nfailed: failed after ") && text.trim_end().ends_with(": Completed"), "{text}");
}

#[test]
fn cancel_each_other() {
    let text = output_of("cancel_each_other");
    // Name, requests, server ms, KB allocated, p50, p99.
    let cell = |name: &str, index: usize| -> f64 {
        let row = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        row.split_whitespace().nth(index).and_then(|cell| cell.parse().ok()).unwrap()
    };
    // On a busy machine more calls have a backup, up to the limit.
    assert!(cell("a backup", 0) < 1.5 && cell("cancel each other", 0) > 1.5, "{text}");
    assert!(cell("a backup", 1) < cell("cancel each other", 1), "{text}");
    assert!(cell("a backup", 2) < cell("cancel each other", 2), "{text}");
}

#[test]
fn fault_injection() {
    let text = output_of("fault_injection");
    assert_eq!(text.matches(" of 100 calls were slow").count(), 2, "{text}");
}

#[test]
fn tls_h2() {
    let text = output_of("tls_h2");
    let lines: Vec<_> = text.lines().collect();
    let (total, calls) = lines.split_last().unwrap();
    assert!(calls.len() == 6 && calls.iter().all(|line| line.contains(": quick over HTTP/2.0, ")), "{text}");
    assert!(calls.iter().any(|line| line.ends_with(", 2 attempts")), "{text}");
    assert!(total.starts_with("connections opened: 2, streams reset: "), "{text}");
}

#[test]
fn grpc() {
    let text = output_of("grpc");
    let lines: Vec<_> = text.lines().collect();
    let (total, calls) = lines.split_last().unwrap();
    assert!(calls.len() == 6 && calls.iter().all(|line| line.contains(", from 127.0.0.1:")), "{text}");
    assert!(calls.iter().any(|line| !line.ends_with(", attempts: 1")), "{text}");
    assert!(total.starts_with("6 calls, "), "{text}");
}

#[test]
fn interceptor() {
    let text = output_of("interceptor");
    for line in [
        "/users/1: hello, Bearer 12345",
        "/users/2: hello, Bearer 12345",
        "/admin: refused by an interceptor: this program is no administrator",
    ] {
        assert!(text.lines().any(|other| other == line), "{text}");
    }
    assert_eq!(text.lines().filter(|line| line.contains(": accepted after ")).count(), 2, "{text}");
}

#[test]
fn json() {
    let text = output_of("json");
    assert!(
        (1..).zip(text.lines()).all(|(id, line)| line.starts_with(&format!("saved user {id} at 127.0.0.1:"))),
        "{text}"
    );
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(text.lines().any(|line| line.ends_with(", hedged")), "{text}");
    assert!(text.lines().any(|line| line.ends_with(", not hedged: finished first")), "{text}");
}

#[test]
fn naming() {
    let text = output_of("naming");
    let lines: Vec<_> = text.lines().collect();
    let [one, two, three, bad, total] = lines.as_slice() else { panic!("{text}") };
    assert!(one.starts_with("one, two: taken over after "), "{text}");
    assert!(two.starts_with("two, three: taken over after "), "{text}");
    assert!(three.starts_with("three, one: taken over after "), "{text}");
    assert_eq!(*bad, "line 2: \"nonsense\": port missing; write host:port");
    assert!(total.ends_with(" calls at 3 servers, none failed"), "{text}");
}

#[test]
fn naming_dns() {
    let text = output_of("naming_dns");
    let lines: Vec<_> = text.lines().collect();
    let [one, two, three, total] = lines.as_slice() else { panic!("{text}") };
    assert!(one.starts_with("one, two: taken over after "), "{text}");
    assert!(two.starts_with("two, three: taken over after "), "{text}");
    assert!(three.starts_with("three, one: taken over after "), "{text}");
    assert!(total.ends_with(" calls at 3 servers, none failed"), "{text}");
}

#[test]
fn channel_file() {
    let text = output_of("channel_file");
    assert!(text.starts_with("users: 3 servers, 200 calls in 10 s, "), "{text}");
    let servers = text.lines().filter(|line| line.contains(" 127.0.0.1:") && line.contains(" usable "));
    assert_eq!(servers.count(), 3, "{text}");
    let end = "\nnow 2 servers, and calls may take 300 ms\nneeds a new channel: load_balancer\n";
    assert!(text.ends_with(end), "{text}");
}

#[test]
fn retry_policy() {
    let text = output_of("retry_policy");
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(text.lines().all(|line| line.contains(": 200 OK after ")), "{text}");
    assert!(text.contains("after 1 retries"), "{text}");
}

#[test]
fn cancel() {
    let text = output_of("cancel");
    assert!(text.starts_with("cancelled after ") && text.contains(" ms: "), "{text}");
}

#[test]
fn line_protocol() {
    let text = output_of("line_protocol");
    for key in ["one", "two", "three", "four"] {
        assert!(text.contains(&format!("GET {key} from the fast server")), "{text}");
    }
    assert!(text.contains("1 backups"), "{text}");
}

#[test]
fn tail_at_scale() {
    let text = output_with("tail_at_scale", &["200"]);
    assert!(text.starts_with("200 requests a run, each for 1000 keys"), "{text}");
    // Name, mean, p50, p99, p99.9, extra reads.
    let p99 = |name: &str| -> f64 {
        let row = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        row.split_whitespace().nth(2).and_then(|cell| cell.parse().ok()).unwrap()
    };
    assert!(p99("no backup") > 74.0, "{text}");
    assert!(p99("after 10 ms") <= 74.0 && p99("for 2 % extra") <= 74.0, "{text}");
    let bars = text.lines().filter(|line| line.contains('█'));
    assert_eq!(bars.count(), 3 * 5, "{text}");
}

#[test]
fn balancers() {
    let text = output_with("balancers", &["2000", "frozen"]);
    assert_eq!(text.lines().filter(|line| line.starts_with("one frozen, load 0.5")).count(), 2, "{text}");
    // Name, p50, p99, p99.9, errors.
    let errors = |name: &str| -> f64 {
        let row = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        row.split_whitespace().nth(3).and_then(|cell| cell.parse().ok()).unwrap()
    };
    assert!(errors("p2c ") < 2.0 && errors("rr ") > 8.0, "{text}");
    assert!(text.lines().any(|line| line.starts_with("c_ketama") && line.contains('▒')), "{text}");
}

#[test]
fn tied() {
    let text = output_of("tied");
    // How many requests the servers have worked on, and how many they have dropped.
    let counts = |name: &str| -> Vec<u32> {
        let row = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        row.split_whitespace().filter_map(|word| word.parse().ok()).collect()
    };
    let (plain, tied) = (counts("plain backups: "), counts("tied backups: "));
    assert!(plain[0] == 200 && plain[1] > 200 && plain[2] == 0, "{text}");
    // How much extra work the ties save is not judged: on a busy machine the servers' messages come too late.
    assert!(tied[0] == 200 && tied[1] >= 200 && tied[2] > 0, "{text}");
}
