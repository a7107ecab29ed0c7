use std::sync::Arc;

use hedge_admin::{NameError, Registry, Value};
use hedge_core::outcome::ErrorKind::Refused;
use serde_json::json as json_value;

use crate::world::{Channel, servers};
use crate::{html, json, text};

fn search(registry: &Registry) -> (Channel, hedge_admin::Registration) {
    let channel = Channel::new(&servers(["10.0.0.1:80", "10.0.0.2:80"]), |_| {});
    (channel.clone(), registry.add("SearchService", channel).unwrap())
}

#[test]
fn o1_a_channel_has_the_variables_of_brpc_and_of_trpc() {
    let registry = Registry::new();
    let (channel, _shown) = search(&registry);
    // Three calls of 4 ms; one that is retried; one whose backup wins after 10 ms + 1 ms.
    for _ in 0..3 {
        channel.call(&[(4, Ok(()))]);
    }
    channel.call(&[(1, Err(Refused)), (2, Ok(()))]);
    channel.call(&[(50, Ok(())), (1, Ok(()))]);
    channel.call(&[(1, Err(Refused)); 4]);
    let variables = json("/vars?format=json", &registry)["variables"].clone();
    let names: Vec<_> = variables.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "backup_request",
        "backup_request_success",
        "count",
        "error",
        "in_flight",
        "latency",
        "latency_80",
        "latency_90",
        "latency_99",
        "latency_999",
        "latency_9999",
        "latency_cdf",
        "max_latency",
        "qps",
        "retry",
        "servers",
        "usable_servers",
    ];
    assert_eq!(names, expected.map(|part| format!("search_service_{part}")));
    let value = |part: &str| variables[format!("search_service_{part}")].as_u64().unwrap();
    assert_eq!([value("count"), value("backup_request"), value("backup_request_success")], [6, 1, 1]);
    assert_eq!([value("servers"), value("usable_servers"), value("in_flight")], [2, 2, 0]);
    assert_eq!(value("error"), 1);
    assert!(value("retry") >= 2, "{variables}");
    assert_eq!(value("max_latency"), 11_000, "the longest call took 11 ms");
    assert!(value("latency_99").abs_diff(11_000) < 600, "{variables}");
    assert_eq!(variables["search_service_latency_cdf"].as_array().unwrap().len(), 20);
}

#[test]
fn o1_one_variable_is_shown_as_text_as_json_and_as_a_chart() {
    let registry = Registry::new();
    let (channel, _shown) = search(&registry);
    channel.call(&[(4, Ok(()))]);
    assert_eq!(text("/vars/search_service_count", &registry), "1\n");
    let count = json("/vars/search_service_count?format=json", &registry);
    assert_eq!(count, json_value!({ "name": "search_service_count", "value": 1 }));
    let chart = html("/vars/search_service_count", &registry);
    assert!(chart.contains("data-live=\"search_service_count?format=json\""), "{chart}");
    assert!(chart.contains("href=\"../admin.css\"") && chart.contains("src=\"../admin.js\""));
    assert_eq!(hedge_admin::page("/vars/search_service", &registry).status, 404);
    let missing = hedge_admin::page("/vars/nothing?format=json", &registry);
    assert_eq!(missing.status, 404);
    assert!(serde_json::from_str::<serde_json::Value>(&missing.body).unwrap()["error"].is_string());
}

#[test]
fn o1_wildcards_choose_variables() {
    let registry = Registry::new();
    let (_channel, _shown) = search(&registry);
    let _queue = registry.variable("queue_length", || 7_u64.into()).unwrap();
    assert_eq!(text("/vars/queue*;search_service_q$s", &registry), "queue_length : 7\nsearch_service_qps : 0\n");
    assert_eq!(text("/vars?filter=queue*", &registry), "queue_length : 7\n");
    assert_eq!(text("/vars/nothing*", &registry), "");
    let page = html("/vars/*_qps", &registry);
    assert!(page.contains("<a href=\"../vars/search_service_qps\">"), "{page}");
    assert!(page.contains("value=\"*_qps\""));
}

#[test]
fn o1_a_variable_that_panics_says_so() {
    let registry = Registry::new();
    let _bad = registry.variable("bad", || panic!("in a variable")).unwrap();
    let _good = registry.variable("good", || Value::Float(0.5)).unwrap();
    assert_eq!(text("/vars", &registry), "bad : panicked\ngood : 0.5\n");
}

#[test]
fn o1_trpc_sees_its_tree() {
    let registry = Registry::new();
    let (channel, _shown) = search(&registry);
    let _count = registry.variable("my_count", || 10_u64.into()).unwrap();
    channel.call(&[(50, Ok(())), (1, Ok(()))]);
    let backups = json_value!({ "backup_request": 1, "backup_request_success": 1 });
    let tree = json_value!({ "trpc": { "client": { "search_service": backups } }, "user": { "my_count": 10 } });
    assert_eq!(json("/cmds/var", &registry), tree);
    for (path, value) in [
        ("/cmds/var/trpc/client/search_service/backup_request", 1),
        ("/cmds/var/user/my_count", 10),
        ("/cmds/var/my_count", 10),
        ("/cmds/var/search_service_count", 1),
    ] {
        assert_eq!(json(path, &registry), json_value!(value), "{path}");
    }
    assert_eq!(hedge_admin::page("/cmds/var/trpc/client/other/backup_request", &registry).status, 404);
}

#[test]
fn o1_a_distribution_is_drawn_over_an_earlier_one() {
    let registry = Registry::new();
    let (channel, _shown) = search(&registry);
    (1..=9).for_each(|ms| channel.call(&[(ms, Ok(()))]));
    let (other, _other_shown) = registry.recorder("my_func_latency").unwrap();
    other.record(std::time::Duration::from_millis(20));
    let series = json("/cdf?of=search_service,my_func_latency_cdf&format=json", &registry)["series"].clone();
    assert_eq!((&series[0]["name"], &series[1]["name"]), (&"search_service".into(), &"my_func".into()));
    let cdf: Vec<(f64, u64)> = serde_json::from_value(series[0]["cdf_us"].clone()).unwrap();
    assert_eq!((cdf[0].0, cdf[19].0), (10.0, 99.99));
    assert!(cdf.windows(2).all(|pair| pair[0] <= pair[1]), "both grow: {cdf:?}");
    assert!(cdf[4].1.abs_diff(5_000) < 300, "half of the calls take 5 ms: {cdf:?}");

    let page = html("/vars/search_service_latency_cdf", &registry);
    assert_eq!(page.matches("<polyline").count(), 1, "{page}");
    let link = page.split("href=\"../").find(|part| part.contains("held=")).unwrap().split('"').next().unwrap();
    let held = html(&format!("/{}", link.replace("&amp;", "&")), &registry);
    assert_eq!(held.matches("<polyline").count(), 2, "{held}");
    assert!(held.contains("search_service (held)"));
    for wrong in ["search_service:1+2", "search_service:x", "nothing:1", "search_service"] {
        let page = html(&format!("/cdf?of=search_service&held={wrong}"), &registry);
        assert_eq!(page.matches("<polyline").count(), 1, "{wrong}");
    }
    assert!(html("/cdf", &registry).contains("<a href=\"cdf?of=my_func\">"));
}

#[test]
fn o1_a_name_is_taken_once() {
    let registry = Registry::new();
    let (_channel, shown) = search(&registry);
    let variable = |name| registry.variable(name, || 0_u64.into()).map(drop);
    let taken = |variable: &str| Err(NameError::Taken { variable: variable.to_owned() });
    assert_eq!(variable("search_service"), taken("search_service"));
    assert_eq!(variable("search_service_qps"), taken("search_service_qps"));
    assert_eq!(registry.recorder("searchService").map(drop), taken("search_service"));
    assert_eq!(registry.recorder("search_service_max").map(drop), taken("search_service_max_latency"));
    drop(shown);
    assert_eq!(variable("search_service_qps"), Ok(()));
}

#[test]
fn o1_eight_threads_share_a_registry() {
    let registry = Arc::new(Registry::new());
    let (recorder, _shown) = registry.recorder("shared").unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8_u64 {
            let (registry, recorder) = (Arc::clone(&registry), recorder.clone());
            scope.spawn(move || {
                for round in 0..200 {
                    let shown = registry.variable(&format!("of_{thread}"), move || round.into()).unwrap();
                    recorder.record(std::time::Duration::from_micros(100));
                    assert_eq!(text(&format!("/vars/of_{thread}"), &registry), format!("{round}\n"));
                    let _ = registry.recorder("shared").map(drop).unwrap_err();
                    drop(shown);
                }
            });
        }
    });
    assert_eq!(text("/vars/shared_count", &registry), "1600\n");
    assert!(!text("/vars", &registry).contains("of_"), "all are unregistered");
}
