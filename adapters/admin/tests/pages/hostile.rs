//! Texts of servers, of the program and of the query are hostile ([O3](hedge_core::rules#O3)).

use hedge_admin::{Registry, Request, SampleOptions, page};
use hedge_fleet::{Address, Server};

use crate::found;
use crate::world::{Channel, observed};

const MARKER: &str = "<script>x</script>'\"&\u{202E}\n";

/// A registry in which every text that can be is hostile.
fn hostile() -> (Registry, impl Sized) {
    let registry = Registry::with_samples(SampleOptions { one_in: 1, ..SampleOptions::default() });
    let address = "10.0.0.1:80".parse::<Address>().unwrap();
    let long = |times| format!("http://user:{}@host", "PASSWORD".repeat(times));
    let url = "http://user:PASSWORD@host/?token=PASSWORD".to_owned();
    let tags = [MARKER.to_owned(), url, "x".repeat(1 << 16), long(64), long(1 << 10)];
    let servers: Vec<_> = tags.iter().map(|tag| Server::new(address.clone(), tag.as_str())).collect();
    let watch = registry.watch("<script>").unwrap();
    let channel = Channel::new(&servers, |setup| observed(setup, watch.clone()));
    tags.iter().for_each(|_| channel.call(&[(1, Ok(()))]));
    let shown = registry.add_watched(watch, channel).unwrap();
    let variable = registry.variable(MARKER, || format!("{MARKER} http://u:PASSWORD@h").into()).unwrap();
    (registry, (shown, variable))
}

const PAGES: [&str; 10] = [
    "/",
    "/vars",
    "/vars/*",
    "/vars/_script_x_script_",
    "/vars/_script__latency_cdf",
    "/cdf?of=_script_",
    "/rpcz",
    "/channels",
    "/channels/_script_",
    "/cmds/var",
];

#[test]
fn o3_markers_and_credentials_appear_nowhere() {
    let (registry, _shown) = hostile();
    for target in PAGES.into_iter().chain(["/metrics?servers=10"]) {
        for format in ["html", "text", "json"] {
            let separator = if target.contains('?') { '&' } else { '?' };
            let page = found(&format!("{target}{separator}format={format}"), &registry);
            assert!(!page.body.contains("PASSWORD"), "{target} {format}: {}", page.body);
            assert!(!page.body.contains('\u{202E}'), "{target} {format}");
            assert!(page.body.len() < 64 << 10, "{target} {format}: a text was not cut");
            if page.content_type.starts_with("text/html") {
                assert!(!page.body.contains("<script>"), "{target}: {}", page.body);
            }
            if page.content_type == "application/json" {
                serde_json::from_str::<serde_json::Value>(&page.body).unwrap();
            }
        }
    }
}

#[test]
fn o3_a_query_is_escaped() {
    let (registry, _shown) = hostile();
    let marker = "%3Cscript%3Ex%3C%2Fscript%3E%22%27%3E";
    for key in ["filter", "of", "held", "channel", "server", "slow", "page", "x", "format"] {
        for path in ["/vars", "/vars/*", "/cdf", "/rpcz", "/channels", "/channels/_script_", "/metrics", "/nothing"] {
            let target = format!("{path}?{key}={marker}&{marker}={marker}");
            let page = page(Request::new(&target).accept("text/html"), &registry);
            assert!(!page.body.contains("<script>") && !page.body.contains("\"'>"), "{target}: {}", page.body);
        }
    }
    let in_path = page(Request::new(&format!("/vars/{marker}*")).accept("text/html"), &registry);
    assert!(!in_path.body.contains("<script>"), "{}", in_path.body);
}

#[test]
fn o3_random_requests_do_no_harm() {
    let (registry, _shown) = hostile();
    let seed = 7;
    let mut rng = fastrand::Rng::with_seed(seed);
    let parts = [
        "/",
        "vars",
        "cdf",
        "rpcz",
        "channels",
        "metrics",
        "cmds/var",
        "?",
        "&",
        "=",
        "%",
        "%2",
        "of",
        "held",
        "page",
        "format",
        "json",
        "html",
        "_script_",
        "*",
        ":",
        "99999999999999999999",
        "-1",
        "é",
        "\0",
        "#",
        "+",
        ",",
        ";",
        "servers",
    ];
    for round in 0..20_000 {
        let target: String = (0..rng.usize(0..20)).map(|_| parts[rng.usize(..parts.len())]).collect();
        let page = page(Request::new(&target), &registry);
        assert!(page.body.len() < 256 << 10, "seed {seed}, round {round}: {target:?}");
    }
}

#[test]
fn o3_pages_load_nothing_from_elsewhere_and_nothing_inline() {
    let registry = Registry::with_samples(SampleOptions { one_in: 1, ..SampleOptions::default() });
    let (channel, _shown) = Channel::watched(&registry, "search", observed);
    channel.call(&[(50, Ok(())), (1, Ok(()))]);
    for target in
        ["/", "/vars", "/vars/search_qps", "/vars/search_latency_cdf", "/cdf", "/rpcz", "/channels/search", "/x"]
    {
        let page = page(Request::new(target).accept("text/html"), &registry).body;
        for inline in [
            " style=",
            "<style",
            "<script>",
            " onclick",
            " onload",
            "javascript:",
            "http://",
            "https://",
            "href=\"/",
            "src=\"/",
        ] {
            assert!(!page.contains(inline), "{target} has {inline}");
        }
    }
    for asset in ["/admin.css", "/admin.js"] {
        let body = found(asset, &registry).body;
        assert!(!body.contains("http") && !body.contains("@import") && !body.contains("url("), "{asset}");
    }
}
