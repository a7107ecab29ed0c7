use hedge_admin::{Registry, SampleOptions};
use hedge_core::outcome::ErrorKind::Refused;
use serde_json::Value;

use crate::world::{Channel, observed};
use crate::{html, json, text};

fn every_call() -> Registry {
    Registry::with_samples(SampleOptions { one_in: 1, ..SampleOptions::default() })
}

fn calls(query: &str, registry: &Registry) -> Vec<Value> {
    json(&format!("/rpcz?format=json&{query}"), registry)["calls"].as_array().unwrap().clone()
}

#[test]
fn o1_a_sampled_call_has_its_attempts_on_one_axis() {
    let registry = every_call();
    let (channel, _shown) = Channel::watched(&registry, "search", observed);
    channel.call(&[(50, Ok(())), (2, Ok(()))]);
    let calls = calls("", &registry);
    let [call] = &*calls else { panic!("one call: {calls:?}") };
    assert_eq!((&call["channel"], &call["elapsed_us"]), (&"search".into(), &12_000.into()));
    assert!(call["call"].is_u64(), "an observer knows the number");
    let attempt = |index: usize, key: &str| call["attempts"][index][key].clone();
    assert_eq!(
        [attempt(0, "kind"), attempt(0, "started_us"), attempt(0, "ended_us")],
        ["first".into(), 0.into(), 12_000.into()] as [Value; 3]
    );
    assert_eq!(
        [attempt(1, "kind"), attempt(1, "started_us"), attempt(1, "ended_us")],
        ["backup".into(), 10_000.into(), 12_000.into()] as [Value; 3]
    );
    assert_eq!([attempt(0, "outcome"), attempt(1, "outcome")], ["abandoned", "accept"]);
    assert_ne!(attempt(0, "server"), attempt(1, "server"));
    let page = html("/rpcz", &registry);
    assert!(page.contains("class=\"first lost\" x=\"0\"") && page.contains("class=\"backup won\" x=\"533\""), "{page}");
    assert!(text("/rpcz", &registry).contains("  1 backup to 10.0.0."), "{}", text("/rpcz", &registry));
}

#[test]
fn o1_filters_choose_samples() {
    let registry = every_call();
    let (search, _search) = Channel::watched(&registry, "search", observed);
    let (users, _users) = Channel::watched(&registry, "users", observed);
    search.call(&[(1, Ok(()))]);
    search.call(&[(9, Ok(()))]);
    search.call(&[(50, Ok(())), (2, Ok(()))]);
    users.call(&[(1, Err(Refused)), (1, Err(Refused)), (1, Err(Refused)), (1, Err(Refused))]);
    for (query, count) in [
        ("", 4),
        ("channel=search", 3),
        ("channel=nothing", 0),
        ("slow=9", 2),
        ("hedged=1", 1),
        ("failed=1", 1),
        ("failed=1&channel=search", 0),
        ("server=10.0.0.9", 0),
        ("slow=x", 4),
    ] {
        assert_eq!(calls(query, &registry).len(), count, "{query}");
    }
    let of_first = calls("server=10.0.0.1", &registry);
    assert!(of_first.iter().all(|call| call["attempts"].to_string().contains("10.0.0.1:80")) && of_first.len() >= 2);
    assert!(html("/rpcz?slow=9&failed=1", &registry).contains("value=\"9\""));
}

#[test]
fn o1_sampling_is_off_at_first_and_can_be_switched() {
    let registry = Registry::new();
    let (channel, _shown) = Channel::watched(&registry, "search", observed);
    channel.call(&[(1, Ok(()))]);
    assert!(calls("", &registry).is_empty() && html("/rpcz", &registry).contains("Sampling is off"));
    registry.samples().set_one_in(1);
    channel.call(&[(1, Ok(()))]);
    assert_eq!(calls("", &registry).len(), 1);
    registry.samples().set_one_in(0);
    channel.call(&[(1, Ok(()))]);
    assert_eq!(calls("", &registry).len(), 1, "what was taken stays");
}

#[test]
fn o1_notable_calls_are_samples_whatever_the_share() {
    let registry = Registry::with_samples(SampleOptions { one_in: u32::MAX, per_second: 1 << 20, kept: 4 });
    let (channel, _shown) = Channel::watched(&registry, "search", |setup, watch| {
        setup.on_end = Some(Box::new(move |end| watch.on_end(end)));
    });
    for _ in 0..10 {
        channel.call(&[(50, Ok(())), (2, Ok(()))]);
        channel.call(&[(1, Ok(()))]);
    }
    let kept = calls("", &registry);
    assert_eq!(kept.len(), 4, "the ring keeps the latest four");
    assert!(kept.iter().all(|call| call["attempts"].as_array().unwrap().len() == 2 && call["call"].is_null()));
}
