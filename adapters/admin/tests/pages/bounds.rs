use std::time::Instant;

use hedge_admin::{Registration, Registry, SampleOptions};

use hedge_core::outcome::ErrorKind::Refused;
use hedge_fleet::{Address, Server};

use crate::world::{Channel, observed, servers};
use crate::{found, html, json};

const MOST: usize = 2 << 20;

/// A registry with so many channels, whose names are as long as names can be.
fn many(count: usize) -> (Registry, Vec<Registration>) {
    let registry = Registry::new();
    let channel = Channel::new(&servers(["10.0.0.1:80", "10.0.0.2:80"]), |_| {});
    (0..20).for_each(|ms| channel.call(&[(ms, Ok(()))]));
    let shown = (0..count).map(|number| {
        let watch = registry.watch(&format!("{number:05}_{}", "n".repeat(122))).unwrap();
        registry.add_watched(watch, channel.clone()).unwrap()
    });
    let shown = shown.collect();
    (registry, shown)
}

#[test]
fn o1_pages_of_10_000_channels_are_below_2_mb() {
    let (registry, _shown) = many(10_000);
    for target in
        ["/", "/vars", "/vars/*_latency_cdf", "/channels", "/cdf", "/metrics?servers=2000", "/cmds/var", "/rpcz"]
    {
        for format in ["html", "json", "text"] {
            let separator = if target.contains('?') { '&' } else { '?' };
            let target = format!("{target}{separator}format={format}");
            let started = Instant::now();
            let page = found(&target, &registry);
            println!("{target}: {} KB in {:?}", page.body.len() >> 10, started.elapsed());
            assert!(page.body.len() < MOST, "{target}: {}", page.body.len());
        }
    }
    let last = json("/vars?format=json&page=170", &registry);
    assert_eq!((&last["pages"], &last["total"]), (&170.into(), &170_000.into()));
    assert_eq!(last["variables"].as_object().unwrap().len(), 1_000);
    assert_eq!(json("/channels?format=json&page=99999", &registry)["page"], 50, "beyond the end is the last page");
    let page = html("/channels?page=2&filter=0*", &registry);
    assert!(page.contains("filter=0%2A&amp;page=1") && page.contains("filter=0%2A&amp;page=3"), "{}", &page[..3_000]);
    let metrics = found("/metrics", &registry).body;
    assert!(metrics.contains("\nhedge_pages 105\n"), "{}", &metrics[..200]);
}

#[test]
fn o1_each_channel_is_on_one_page_of_the_metrics() {
    let (registry, _shown) = many(1_000);
    let of_page = |page| {
        let page = found(&format!("/metrics?page={page}"), &registry).body;
        assert!(page.contains("\nhedge_pages 11\n"));
        let names = page.lines().filter_map(|line| line.strip_prefix("hedge_backups_won_total{channel=\""));
        names.map(|name| name.split('"').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let all: Vec<_> = (1..=11).flat_map(of_page).collect();
    assert!(all.len() == 1_000 && all.is_sorted() && all.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn o1_a_page_of_1_000_samples_is_below_2_mb() {
    let registry = Registry::with_samples(SampleOptions { one_in: 1, per_second: u32::MAX, kept: 1_000 });
    let (channel, _shown) = Channel::watched(&registry, "search", observed);
    (0..1_200).for_each(|_| channel.call(&[(1, Err(Refused)); 4]));
    for format in ["html", "json", "text"] {
        let page = found(&format!("/rpcz?format={format}"), &registry).body;
        println!("rpcz as {format}: {} KB", page.len() >> 10);
        assert!(page.len() < MOST);
    }
    let page = json("/rpcz?format=json&page=5", &registry);
    assert_eq!((&page["total"], &page["pages"]), (&1_000.into(), &10.into()));
    assert_eq!(page["calls"].as_array().unwrap().len(), 100);
}

#[test]
fn o3_pages_of_the_longest_texts_are_below_2_mb() {
    let registry = Registry::with_samples(SampleOptions { one_in: 1, per_second: u32::MAX, kept: 1_000 });
    let address = "10.0.0.1:80".parse::<Address>().unwrap();
    let tag = |number: usize| format!("{number:04}{}", "\"&\u{10348}".repeat(1 << 10));
    let many: Vec<_> = (0..3_000).map(|number| Server::new(address.clone(), tag(number))).collect();
    let shown: Vec<_> = (0..96)
        .map(|number| {
            let watch = registry.watch(&format!("{number:03}_{}", "n".repeat(124))).unwrap();
            let channel = Channel::new(&many[..if number == 0 { 3_000 } else { 1 }], |setup| {
                setup.options.max_retry = 7;
                observed(setup, watch.clone());
            });
            (0..20).for_each(|_| channel.call(&[(1, Err(Refused)); 8]));
            registry.add_watched(watch, channel).unwrap()
        })
        .collect();
    let variable = |number: usize| registry.variable(&format!("v_{number}"), move || tag(number).into()).unwrap();
    let variables: Vec<_> = (0..1_000).map(variable).collect();
    let first = shown[0].name().as_str();
    for target in ["/vars?filter=v_*", &format!("/channels/{first}"), "/rpcz", "/metrics?servers=9999", "/cmds/var"] {
        for format in ["html", "json", "text"] {
            let separator = if target.contains('?') { '&' } else { '?' };
            let page = found(&format!("{target}{separator}format={format}"), &registry).body;
            println!("{target} {format}: {} KB", page.len() >> 10);
            assert!(page.len() < MOST, "{target} {format}: {}", page.len());
        }
    }
    drop((shown, variables));
}
