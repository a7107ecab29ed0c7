use hedge_admin::Registry;

use crate::world::{Channel, servers};
use crate::{html, json, text};

#[test]
fn o1_channels_are_listed_with_their_servers() {
    let registry = Registry::new();
    let channel = Channel::new(&servers(["10.0.0.1:80 canary", "10.0.0.2:80"]), |_| {});
    let _shown = registry.add("search", channel.clone()).unwrap();
    let _variable = registry.variable("not_a_channel", || 1_u64.into()).unwrap();
    channel.call(&[(4, Ok(()))]);
    let list = json("/channels?format=json", &registry);
    assert_eq!((&list["total"], &list["channels"][0]["name"]), (&1.into(), &"search".into()));
    assert_eq!((&list["channels"][0]["servers"], &list["channels"][0]["calls"]), (&2.into(), &1.into()));
    let one = json("/channels/search?format=json", &registry);
    assert_eq!(one["servers"].as_array().unwrap().len(), 2);
    let server = &one["servers"][0];
    assert_eq!((&server["address"], &server["tag"]), (&"10.0.0.1:80".into(), &"canary".into()));
    assert_eq!((&server["state"], &server["weight"], &server["in_flight"]), (&"usable".into(), &1.into(), &0.into()));
    assert!(text("/channels", &registry).starts_with("search: 2 of 2 servers usable, 0 in flight"));
    assert!(html("/channels", &registry).contains("<a href=\"channels/search\">"));
    assert!(html("/channels/search", &registry).contains("<td>10.0.0.1:80<td>canary<td>usable"));
    for missing in ["/channels/nothing", "/channels/not_a_channel", "/nothing", "/vars/a/b"] {
        assert_eq!(hedge_admin::page(missing, &registry).status, 404, "{missing}");
    }
    assert!(html("/", &registry).contains("<a href=\"rpcz\">rpcz</a>"));
}
