//! The default binary from outside: what it prints, what it refuses, and how it stops.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise, in its helpers too")]

use std::fs;
use std::io::Read;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use hedge_examples::replicas::{Answer, Replica, servers};
use serde_json::Value;

fn command(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hedge-examples"));
    command.args(arguments.split_whitespace());
    command
}

fn run(arguments: &str) -> Output {
    command(arguments).output().unwrap()
}

fn json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// Asserts a failure that says one line, and answers the line.
fn error_line(output: &Output) -> String {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(!output.status.success() && output.status.code().is_some(), "{output:?}");
    assert!(stderr.starts_with("error: ") && stderr.lines().count() == 1, "{stderr}");
    assert!(output.stdout.is_empty(), "{output:?}");
    stderr
}

fn counts_add_up(run: &Value, calls: u64) {
    let count = |name: &str| run[name].as_u64().unwrap();
    assert_eq!((count("calls"), count("ok")), (calls, calls), "{run}");
    assert_eq!(run["errors"], serde_json::json!({}), "{run}");
    // Nothing fails here, so every attempt that is not a call's first is a backup.
    assert_eq!(count("attempts"), calls + count("backups"), "{run}");
    assert!(count("backup_wins") <= count("backups"), "{run}");
    let extra = run["extra_load"].as_f64().unwrap() * calls as f64;
    assert!((extra - count("backups") as f64).abs() < 1e-6, "{run}");
    let percentiles = ["p50_us", "p90_us", "p99_us", "p999_us", "max_us"].map(count);
    assert!(percentiles[0] > 0 && percentiles.is_sorted(), "{run}");
}

#[test]
fn both_runtimes_count_both_runs() {
    for runtime in ["tokio", "smol"] {
        let measured = json(&run(&format!("--calls 300 --json --timeout-ms 10000 --runtime {runtime}")));
        assert_eq!((&measured["servers"], &measured["concurrency"]), (&3.into(), &8.into()));
        let [plain, backup] = measured["runs"].as_array().unwrap().as_slice() else { panic!("{measured}") };
        assert_eq!((&plain["name"], &backup["name"]), (&"plain".into(), &"backup".into()));
        counts_add_up(plain, 300);
        counts_add_up(backup, 300);
        assert_eq!(plain["attempts"], 300, "{plain}");
        assert!(backup["backup_wins"].as_u64() > Some(0), "{backup}");
        assert_eq!(backup["delay_us"], 2_000, "{backup}");
    }
}

#[test]
fn without_options_but_calls_it_prints_a_table_and_a_picture() {
    let output = run("--calls 200");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{text}");
    let title = "timeout 500 ms, rr, tokio\nbackup after 2 ms, limit ratio 0.1 and budget\n\n";
    for part in [title, "plain", "backup", "run took", "p99.9", "extra requests"] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    for part in ["backups that won", "backups denied", "backup delay", "2.00 ms", "░", "█", "50 %┤", " ms\n"] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}

#[test]
fn what_a_limit_refuses_is_counted_by_reason() {
    let measured = json(&run("--calls 300 --json --timeout-ms 10000 --limit exact --max-backup-ratio 0.01 --backup 0"));
    let [plain, backup] = measured["runs"].as_array().unwrap().as_slice() else { panic!("{measured}") };
    assert_eq!((&plain["backups_denied"], &plain["delay_us"]), (&serde_json::json!({}), &Value::Null));
    assert_eq!((&backup["delay_us"], &backup["retries_denied"]), (&0.into(), &serde_json::json!({})));
    // The burst, and one in a hundred calls that were done; every call asks for one.
    let (sent, denied) = (backup["backups"].as_u64().unwrap(), backup["backups_denied"]["ratio"].as_u64().unwrap());
    assert!((10..=13).contains(&sent) && sent + denied == 300, "{backup}");
}

#[test]
fn b3_a_cached_ratio_limits_the_default_run() {
    let measured = json(&run("--limit cached --max-backup-ratio 0.02 --json --timeout-ms 10000"));
    let backup = &measured["runs"][1];
    counts_add_up(backup, 20_000);
    // All of the first interval's backups passed, 5 % of its calls: too many at the next look.
    assert!(backup["backups_denied"]["ratio"].as_u64() > Some(0), "{backup}");
    let lookups = 1 + backup["took_us"].as_u64().unwrap() / 1_000_000;
    assert!(lookups > 1, "{backup}");
    assert_eq!(backup["ratio_lookups"], serde_json::json!({"interval_s": 1, "at_most": lookups}), "{backup}");
    assert_eq!(measured["runs"][0]["ratio_lookups"], Value::Null, "nothing asks in a plain run");
}

#[test]
fn b3_a_run_shorter_than_a_cached_ratios_interval_says_so() {
    let text =
        String::from_utf8(run("--limit cached --max-backup-ratio 0.02 --calls 50 --concurrency 1 --backup 0").stdout)
            .unwrap();
    assert!(text.contains("backup after 0 ms, limit ratio 0.02 cached"), "{text}");
    let note = text.split_once("\nthe cached ratio is looked up at the first backup and then every 1 s: ").unwrap().1;
    // A machine that is busy with something else may need more than a second for 50 calls.
    let shorter = note.starts_with("this run was\nshorter, so all backups passed\n");
    assert!(shorter || note.starts_with("at most\n"), "{text}");
    let row = |label: &str| text.lines().find_map(|line| line.strip_prefix(label)).map(str::trim).unwrap();
    assert!(
        !shorter || row("extra requests").ends_with("100.0 %") && row("backups denied").ends_with("none"),
        "{text}"
    );
}

#[test]
fn b5_a_budget_limits_the_backups() {
    let measured = json(&run("--calls 1000 --json --timeout-ms 10000 --limit budget --backup 0"));
    let backup = &measured["runs"][1];
    counts_add_up(backup, 1_000);
    let (sent, denied) = (backup["backups"].as_u64().unwrap(), backup["backups_denied"]["budget"].as_u64().unwrap());
    assert_eq!(sent + denied, 1_000, "{backup}");
    // The burst, a fifth of the calls, and ten in every second that has begun.
    let seconds = 1 + backup["took_us"].as_u64().unwrap() / 1_000_000;
    assert!((100..=100 + 200 + 10 * seconds).contains(&sent), "{backup}");
}

#[test]
fn b4_tokens_are_used_up_by_calls_that_fail() {
    let mut asked = 0;
    let failing = move || {
        asked += 1;
        Answer { after: Duration::ZERO, status: if asked == 1 { 200 } else { 500 } }
    };
    let replicas = [failing; 2].map(|answer| Replica::start(answer).unwrap());
    let list = servers(&replicas);
    let measured = json(&run(&format!("--servers {list} --calls 40 --concurrency 1 --json --limit tokens --backup 0")));
    let backup = &measured["runs"][1];
    // Each failure takes ten of the hundred tokens, and there must be more than fifty.
    assert_eq!((&backup["errors"]["failed"], &backup["backups"]), (&40.into(), &5.into()), "{backup}");
    assert_eq!(backup["backups_denied"], serde_json::json!({"tokens": 35}), "{backup}");
}

#[test]
fn without_a_limit_or_with_one_of_failures_every_slow_call_is_hedged() {
    for limit in ["none", "tokens"] {
        let measured = json(&run(&format!("--calls 300 --json --timeout-ms 10000 --limit {limit} --backup 0")));
        let backup = &measured["runs"][1];
        assert_eq!((&backup["backups"], &backup["backups_denied"]), (&300.into(), &serde_json::json!({})), "{backup}");
    }
}

#[test]
fn an_adaptive_delay_is_found_and_shown() {
    let measured = json(&run("--calls 1500 --json --timeout-ms 10000 --backup auto"));
    let auto = &measured["runs"][1];
    assert_eq!(auto["name"], "auto");
    counts_add_up(auto, 1_500);
    assert!(auto["delay_us"].as_u64() >= Some(1_000) && auto["backups"].as_u64() > Some(0), "{auto}");
    let few = run("--calls 20 --backup auto");
    let text = String::from_utf8_lossy(&few.stdout);
    let delay = text.lines().find_map(|line| line.strip_prefix("backup delay")).unwrap();
    assert!(delay.split_whitespace().eq(["none", "none"]), "nothing is known after so few calls: {text}");
}

#[test]
fn b7_an_adaptive_delay_follows_the_ratio_whatever_the_limit() {
    let measured =
        json(&run("--calls 1500 --json --timeout-ms 10000 --backup auto --limit none --max-backup-ratio 0.02"));
    let auto = &measured["runs"][1];
    counts_add_up(auto, 1_500);
    // One call in twenty stalls for 20 ms, so that only in their midst are no more than one in fifty slower.
    assert!(auto["delay_us"].as_u64() > Some(20_000), "{auto}");
}

#[test]
fn a_shadow_sends_nothing_and_tells_what_backups_would_have_done() {
    let measured = json(&run("--calls 1500 --json --timeout-ms 10000 --backup shadow"));
    let shadow = &measured["runs"][1];
    assert_eq!((&shadow["name"], &shadow["backups"], &shadow["delay_us"]), (&"shadow".into(), &0.into(), &Value::Null));
    counts_add_up(shadow, 1_500);
    let delays = shadow["shadow"].as_array().unwrap();
    let all = |name: &str| delays.iter().map(|delay| delay[name].as_u64().unwrap()).collect::<Vec<_>>();
    assert!(delays.len() == 5 && all("delay_us").is_sorted(), "{shadow}");
    assert!(all("calls").iter().all(|calls| *calls == 1_500), "{shadow}");
    assert!(all("sent").iter().rev().is_sorted() && all("sent")[0] > 0, "longer delays, fewer backups: {shadow}");
    assert!(delays.iter().all(|delay| delay["won"].as_u64() <= delay["sent"].as_u64()), "{shadow}");
    assert!(all("p99_us").iter().all(|p99| *p99 > 0), "{shadow}");
    assert_eq!(shadow["backups_denied"], serde_json::json!({}), "nobody was asked: {shadow}");
    let text = String::from_utf8(run("--calls 200 --backup shadow").stdout).unwrap();
    let heading = "what backups would have done without a limit, by their delay";
    for part in
        ["backups on paper", heading, "would be sent", "would have won", "saved a call", "predicted p99", "█ shadow"]
    {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}

#[test]
fn servers_elsewhere_are_called_on_their_path() {
    let replicas = [(); 2].map(|()| Replica::start(|| Answer::ok(Duration::ZERO)).unwrap());
    let list = servers(&replicas);
    let measured =
        json(&run(&format!("--servers {list} --path /x?y=1 --calls 50 --balancer random --json --max-retry 1")));
    assert_eq!(measured["servers"], 2);
    assert_eq!(measured["runs"][1]["ok"], 50);
    let single = format!("--servers {} --calls 20 --json", replicas[0].address());
    assert_eq!(json(&run(&single))["runs"][0]["ok"], 20);
}

#[test]
fn every_balancer_spreads_the_calls() {
    let replicas = [(); 2].map(|()| Replica::start(|| Answer::ok(Duration::ZERO)).unwrap());
    let list = servers(&replicas);
    for balancer in ["wrr:default_weight=1", "wr:default_weight=1", "la", "p2c:choices=3", "c_murmurhash", "c_ketama"] {
        let measured = json(&run(&format!("--servers {list} --calls 50 --balancer {balancer} --json")));
        assert_eq!(measured["runs"][1]["ok"], 50, "{balancer}: {measured}");
    }
}

#[test]
fn replies_that_are_not_accepted_are_counted_by_kind() {
    let mut asked = 0;
    let replica = Replica::start(move || {
        asked += 1;
        Answer { after: Duration::ZERO, status: if asked == 1 { 200 } else { 500 } }
    })
    .unwrap();
    let measured = json(&run(&format!("--servers {} --calls 20 --concurrency 1 --json", replica.address())));
    for run in measured["runs"].as_array().unwrap() {
        assert_eq!((&run["calls"], &run["ok"], &run["errors"]["failed"]), (&20.into(), &0.into(), &20.into()), "{run}");
    }
}

#[test]
fn svg_is_written() {
    let file = std::env::temp_dir().join(format!("hedge-examples-{}.svg", std::process::id()));
    let output = command("--calls 50 --json --svg").arg(&file).output().unwrap();
    json(&output);
    let svg = fs::read_to_string(&file).unwrap();
    fs::remove_file(&file).unwrap();
    assert!(svg.starts_with("<svg"), "{svg}");
}

#[test]
fn what_cannot_be_used_is_one_line() {
    let silent = "list://127.0.0.1:1,127.0.0.1:2";
    for (arguments, part) in [
        ("--calls 0", "--calls"),
        ("--concurrency 0", "--concurrency"),
        ("--nonsense", "--nonsense"),
        ("--balancer best", "no balancer is named \"best\"; known are rr, wrr,"),
        ("--balancer p2c:choices=1", "choices=1: must be in [2, 64]"),
        ("--balancer wrr --calls 5", "weight: missing"),
        ("--path x", "--path"),
        ("--servers nonsense://x", "nonsense"),
        ("--servers list://", "list"),
        ("--max-retry 200", "200"),
        ("--backup soon", "auto"),
        ("--backup -5", "invalid value '-5' for '--backup <MS|auto|shadow>': must be auto, shadow or a number of"),
        ("--timeout-ms -5", "invalid value '-5' for '--timeout-ms <MS>': must be a number of milliseconds in [0.001, "),
        ("--limit best", "exact, cached, tokens, budget, none"),
        ("--max-backup-ratio 0", "max_backup_ratio 0: must be in (0, 1]"),
        ("--max-backup-ratio=-0.5", "max_backup_ratio -0.5: must be in (0, 1]"),
        ("--limit cached --max-backup-ratio 1.5", "max_backup_ratio 1.5: must be in (0, 1]"),
        ("--max-backup-ratio x", "must be a number in (0, 1]"),
        ("--limit tokens --max-backup-ratio 0.2", "--limit tokens has no ratio"),
        ("--limit none --max-backup-ratio 0.2", "--limit none has no ratio"),
        ("--svg /nowhere/at/all.svg", "/nowhere/at/all.svg"),
        (&format!("--servers {silent}"), "refused"),
    ] {
        let line = error_line(&run(arguments));
        assert!(line.contains(part), "{arguments}: {line}");
    }
}

#[test]
fn servers_that_are_down_are_said_to_refuse_and_not_only_to_be_down() {
    // Many callers at once: some find all servers down before the first of them has been refused.
    for _ in 0..8 {
        let line = error_line(&run("--concurrency 500 --servers list://127.0.0.1:1,127.0.0.1:2"));
        assert!(line.contains("connection refused"), "{line}");
    }
}

#[test]
fn a_delay_past_the_timeout_is_warned_of() {
    let output = run("--calls 20 --json --timeout-ms 400 --backup 400");
    assert_eq!(json(&output)["runs"][1]["backups"], 0);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        stderr,
        "warning: backup 400 ms: not below timeout 400 ms, so no backup is ever sent; write a shorter backup or a longer \
         timeout\n"
    );
}

#[test]
fn help_is_no_error() {
    let output = run("--help");
    assert!(output.status.success() && output.stderr.is_empty());
    assert!(String::from_utf8_lossy(&output.stdout).contains("--backup <MS|auto|shadow>"));
}

#[test]
fn ctrl_c_prints_what_was_measured() {
    let mut child = command("--calls 100000000").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    thread::sleep(Duration::from_secs(1));
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let status = wait(&mut child);
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(status, Some(130), "{text}");
    let calls = text.lines().find_map(|line| line.strip_prefix("calls ")).map(str::trim);
    assert!(calls.is_some_and(|calls| calls.parse::<u64>().is_ok_and(|calls| calls > 0)), "{text}");
}

/// The exit status, within ten seconds.
fn wait(child: &mut Child) -> Option<i32> {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(10) {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    None
}
