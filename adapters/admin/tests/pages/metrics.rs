use std::collections::HashSet;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use hedge_admin::{Registry, Value};
use hedge_core::outcome::ErrorKind::Refused;
use hedge_fleet::{Address, Server};

use crate::world::{Channel, observed};
use crate::{found, json};

fn registry() -> (Registry, impl Sized) {
    let registry = Registry::new();
    let (channel, search) = Channel::watched(&registry, "search", observed);
    (1..=9).for_each(|ms| channel.call(&[(ms, Ok(()))]));
    channel.call(&[(50, Ok(())), (2, Ok(()))]);
    channel.call(&[(1, Err(Refused)), (1, Err(Refused)), (1, Err(Refused)), (1, Err(Refused))]);
    let plain = registry.add("not_watched", Channel::new(&[], |_| {})).unwrap();
    let (recorder, recorded) = registry.recorder("my_func").unwrap();
    recorder.record(Duration::from_micros(90));
    recorder.record(Duration::from_secs(100));
    let variables = [
        registry.variable("queue", || 3_u64.into()),
        registry.variable("infinite", || Value::Float(f64::NEG_INFINITY)),
        registry.variable("nan", || Value::Float(f64::NAN)),
        registry.variable("words", || "a text is no metric".into()),
    ];
    (registry, (search, plain, recorded, variables))
}

#[test]
fn o1_metrics_are_those_of_the_counters() {
    let (registry, _shown) = registry();
    let page = found("/metrics", &registry);
    assert_eq!(page.content_type, "text/plain; version=0.0.4; charset=utf-8");
    for line in [
        "hedge_calls_total{channel=\"search\",end=\"accepted\"} 10",
        "hedge_calls_total{channel=\"search\",end=\"failed\"} 1",
        "hedge_calls_total{channel=\"not_watched\",end=\"accepted\"} 0",
        "hedge_attempts_total{channel=\"search\",kind=\"backup\"} 1",
        "hedge_backups_won_total{channel=\"search\"} 1",
        "hedge_servers{channel=\"search\",state=\"usable\"} 2",
        "hedge_attempts_in_flight{channel=\"search\"} 0",
        "hedge_call_duration_seconds_bucket{channel=\"search\",le=\"+Inf\"} 11",
        "hedge_call_duration_seconds_count{channel=\"search\"} 11",
        "hedge_recorder_duration_seconds_bucket{name=\"my_func\",le=\"0.000064\"} 0",
        "hedge_recorder_duration_seconds_bucket{name=\"my_func\",le=\"0.000091\"} 1",
        "hedge_recorder_duration_seconds_bucket{name=\"my_func\",le=\"67.108864\"} 1",
        "hedge_recorder_duration_seconds_sum{name=\"my_func\"} 100.00009",
        "hedge_variable{name=\"queue\"} 3",
        "hedge_variable{name=\"infinite\"} -Inf",
        "hedge_variable{name=\"nan\"} NaN",
        "hedge_pages 1",
    ] {
        assert!(page.body.lines().any(|own| own == line), "{line} is missing in\n{}", page.body);
    }
    assert!(!page.body.contains("words") && !page.body.contains("hedge_server_usable"));
    let sum =
        page.body.lines().find_map(|line| line.strip_prefix("hedge_call_duration_seconds_sum{channel=\"search\"} "));
    assert!(sum.is_some_and(|sum| (0.057..0.070).contains(&sum.parse::<f64>().unwrap())), "{sum:?}");
}

#[test]
fn o1_every_metric_has_help_and_a_type_and_every_series_is_there_once() {
    let (registry, _shown) = registry();
    let page = found("/metrics?servers=100", &registry).body;
    let (mut typed, mut series, mut current) = (HashSet::new(), HashSet::new(), "");
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            current = help.split(' ').next().unwrap();
            assert!(lines.next().unwrap().starts_with(&format!("# TYPE {current} ")), "{line}");
            assert!(typed.insert(current), "{current} begins twice");
        } else {
            assert!(line.starts_with(current) && !current.is_empty(), "{line} does not stand below its type");
            assert!(series.insert(line.rsplit_once(' ').unwrap().0), "{line} is there twice");
        }
    }
    assert_eq!(series.iter().filter(|series| series.starts_with("hedge_server_usable")).count(), 2);
}

#[test]
fn o1_metrics_in_json_are_the_same_samples() {
    let (registry, _shown) = registry();
    let page = json("/metrics?format=json&servers=100", &registry);
    let samples = page["metrics"].as_array().unwrap();
    let lines = found("/metrics?servers=100", &registry).body.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(samples.len(), lines);
    let queue = serde_json::json!({ "metric": "hedge_variable", "labels": { "name": "queue" }, "value": "3" });
    assert!(samples.contains(&queue), "{page}");
}

#[test]
fn o1_servers_are_capped_and_equal_labels_are_there_once() {
    let registry = Registry::new();
    let address = "10.0.0.1:80".parse::<Address>().unwrap();
    let long = |end: &str| Server::new(address.clone(), "x".repeat(200) + end);
    let servers = [Server::from(address.clone()), long("a"), long("b")];
    let _shown = registry.add("search", Channel::new(&servers, |_| {})).unwrap();
    for (query, count) in [("", 0), ("?servers=0", 0), ("?servers=1", 1), ("?servers=9", 2), ("?servers=-1", 0)] {
        let page = found(&format!("/metrics{query}"), &registry).body;
        assert_eq!(page.matches("\nhedge_server_usable{").count(), count, "{query}: {page}");
    }
}

#[test]
fn o1_names_select_metrics() {
    let (registry, _shown) = registry();
    let page = found("/metrics?name=my_*", &registry).body;
    assert!(page.contains("my_func") && !page.contains("search"), "{page}");
}

/// Asks `promtool` of Debian's package `prometheus`. Without it, the test above is all there is.
#[test]
fn o1_promtool_accepts_the_metrics() {
    let promtool =
        Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut promtool) = promtool else {
        println!("promtool is not installed, so it was not asked");
        return;
    };
    let (registry, _shown) = registry();
    let page = found("/metrics?servers=100", &registry).body;
    promtool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    assert!(output.status.success(), "{}\n{page}", String::from_utf8_lossy(&output.stderr));
}
