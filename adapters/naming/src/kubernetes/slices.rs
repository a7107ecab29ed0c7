//! The EndpointSlices of a service, as they are known: [`Slices`].

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use hedge_fleet::{AddressError, Server, Update};

use super::api::{Endpoint, Slice, SlicePort};
use crate::client::{Fault, Secrets};
use crate::lines::{Lines, MOST_SERVERS, shown, too_many};
use crate::words::Words;

/// The most slices of a service.
const MOST_SLICES: usize = 10_000;
/// How many ports an error names.
const NAMED: usize = 5;

/// The port that a URL names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Port {
    Number(u16),
    Name(Box<str>),
}

impl Port {
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            text.parse().ok().filter(|port| *port != 0).map(Self::Number)
        } else {
            Some(Self::Name(text.into()))
        }
    }

    /// The number of this port in a slice.
    fn find(&self, ports: Option<&[SlicePort]>) -> Option<u16> {
        match (self, ports) {
            // A slice without a list of ports has all of them.
            (Self::Number(number), None) => Some(*number),
            (Self::Name(_), None) => None,
            (Self::Number(number), Some(ports)) => {
                // A port without a number stands for all of them.
                ports.iter().any(|port| port.port.is_none_or(|port| port == *number)).then_some(*number)
            }
            (Self::Name(name), Some(ports)) => {
                ports.iter().find(|port| port.name.as_deref() == Some(name)).and_then(|port| port.port)
            }
        }
    }
}

/// The slices of a service.
#[derive(Default)]
pub(super) struct Slices {
    slices: BTreeMap<String, Kept>,
    /// How many endpoints they have.
    endpoints: usize,
}

/// What is kept of a slice.
struct Kept {
    ready: Vec<Result<Server, (String, AddressError)>>,
    /// If the slice does not have the port: those that it has, as text.
    other_ports: Option<String>,
}

impl Slices {
    pub(super) fn put(&mut self, slice: Slice, port: &Port, secrets: &Secrets) -> Result<(), Fault> {
        self.delete(&slice.metadata.name);
        let ports = slice.ports.as_ref().map(|ports| ports.0.as_slice());
        let number = port.find(ports);
        let ready = slice.endpoints.0.iter().filter(|endpoint| is_ready(endpoint));
        let kept = match number {
            Some(number) => Kept {
                ready: ready.filter_map(|endpoint| server(endpoint, number, secrets)).collect(),
                other_ports: None,
            },
            None => Kept { ready: Vec::new(), other_ports: ready.count().ne(&0).then(|| names(ports, secrets)) },
        };
        self.endpoints += kept.ready.len();
        self.slices.insert(slice.metadata.name, kept);
        if self.slices.len() > MOST_SLICES {
            return Err(Fault::Content(format!("the service has more than {MOST_SLICES} slices")));
        }
        if self.endpoints > MOST_SERVERS { Err(too_many()) } else { Ok(()) }
    }

    pub(super) fn delete(&mut self, name: &str) {
        if let Some(slice) = self.slices.remove(name) {
            self.endpoints = self.endpoints.saturating_sub(slice.ready.len());
        }
    }

    /// The whole list. An [`Update::Change`] would not be enough: while endpoints move between slices, two of them may
    /// hold one.
    pub(super) fn update(&self, port: &Port, secrets: &Secrets) -> Result<Update, Fault> {
        let mut lines = Lines::new(secrets);
        for (entry, number) in self.slices.values().flat_map(|slice| &slice.ready).zip(1..) {
            let (server, text) = match entry {
                Ok(server) => (Ok(server.clone()), ""),
                Err((text, error)) => (Err(*error), text.as_str()),
            };
            lines.add(number, server, || text.to_owned())?;
        }
        let others = self.slices.values().find_map(|slice| slice.other_ports.as_deref());
        match others.filter(|_| self.endpoints == 0) {
            Some(others) => Err(Fault::Unknown(match port {
                Port::Number(number) => format!("no endpoint has the port {number}; there are: {others}"),
                Port::Name(name) => format!("no endpoint has the port {name:?}; there are: {others}"),
            })),
            None => Ok(lines.into_update()),
        }
    }
}

fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
}

/// The server of an endpoint: its first address, since all of them are the same endpoint.
fn server(endpoint: &Endpoint, port: u16, secrets: &Secrets) -> Option<Result<Server, (String, AddressError)>> {
    let text = endpoint.addresses.0.first()?;
    let mut tag = Words::default();
    tag.pair("zone", endpoint.zone.as_deref().unwrap_or_default());
    let address = match text.parse::<IpAddr>() {
        Ok(ip) => Ok(SocketAddr::new(ip, port).into()),
        Err(_) => format!("{text}:{port}").parse::<hedge_fleet::Address>(),
    };
    Some(
        address
            .map(|address| Server::new(address, tag.into_tag()))
            .map_err(|error| (shown(text.clone(), secrets), error)),
    )
}

fn names(ports: Option<&[SlicePort]>, secrets: &Secrets) -> String {
    let Some(ports) = ports else { return "any number".into() };
    let name = |port: &SlicePort| {
        let number = port.port.map_or_else(|| "any".into(), |number| number.to_string());
        match port.name.as_deref() {
            Some(name) if !name.is_empty() => format!("{}={number}", shown(name.to_owned(), secrets)),
            _ => number,
        }
    };
    let names: Vec<_> = ports.iter().take(NAMED).map(name).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(text: &str) -> Slice {
        serde_json::from_str(text).unwrap()
    }

    fn texts(slices: &Slices, port: &str) -> Result<Vec<String>, String> {
        match slices.update(&Port::parse(port).unwrap(), &Secrets::default()) {
            Ok(Update::Reset { servers, .. }) => Ok(servers.iter().map(ToString::to_string).collect()),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn n1_ready_endpoints_of_all_slices_are_servers() {
        let mut slices = Slices::default();
        let port = Port::parse("http").unwrap();
        for text in [
            r#"{"metadata":{"name":"a"},"addressType":"IPv4","ports":[{"name":"http","port":8080,"protocol":"TCP"}],
                "endpoints":[{"addresses":["10.0.0.1","10.0.0.9"],"conditions":{"ready":true,"serving":true},"zone":"z1"},
                {"addresses":["10.0.0.2"],"conditions":{"ready":false,"serving":true,"terminating":true}},
                {"addresses":["10.0.0.3"],"conditions":{}},{"addresses":["10.0.0.4"]},{"addresses":[]},{}]}"#,
            r#"{"metadata":{"name":"b"},"addressType":"IPv6","ports":[{"name":"http","port":8081}],
                "endpoints":[{"addresses":["fd00::1"],"zone":"z2"}]}"#,
            r#"{"metadata":{"name":"c"},"addressType":"FQDN","ports":[{"name":"http","port":80}],
                "endpoints":[{"addresses":["db.example.com"]},{"addresses":["not a host"]}]}"#,
            r#"{"metadata":{"name":"d"},"ports":[{"name":"other","port":9}],"endpoints":[{"addresses":["10.0.0.5"]}]}"#,
        ] {
            slices.put(slice(text), &port, &Secrets::default()).unwrap();
        }
        let expected =
            ["10.0.0.1:8080 zone=z1", "10.0.0.3:8080", "10.0.0.4:8080", "[fd00::1]:8081 zone=z2", "db.example.com:80"];
        assert_eq!(texts(&slices, "http").unwrap(), expected);
        let Ok(Update::Reset { rejected, .. }) = slices.update(&port, &Secrets::default()) else { unreachable!() };
        assert_eq!(rejected.len(), 1);
        slices.delete("a");
        assert_eq!(texts(&slices, "http").unwrap().len(), 2);
    }

    #[test]
    fn n1_a_port_is_a_number_or_a_name_and_a_missing_one_is_an_error() {
        let text = r#"{"metadata":{"name":"a"},"ports":[{"name":"http","port":8080},{"name":"","port":9}],
            "endpoints":[{"addresses":["10.0.0.1"]}]}"#;
        let all = r#"{"metadata":{"name":"a"},"ports":null,"endpoints":[{"addresses":["10.0.0.1"]}]}"#;
        let any = r#"{"metadata":{"name":"a"},"ports":[{"name":"http","port":null}],
            "endpoints":[{"addresses":["10.0.0.1"]}]}"#;
        for (text, port, expected) in [
            (any, "80", Ok("10.0.0.1:80")),
            (any, "http", Err("there are: http=any")),
            (text, "8080", Ok("10.0.0.1:8080")),
            (text, "9", Ok("10.0.0.1:9")),
            (text, "80", Err("no endpoint has the port 80; there are: http=8080, 9")),
            (text, "grpc", Err("no endpoint has the port \\\"grpc\\\"; there are: http=8080, 9")),
            (all, "80", Ok("10.0.0.1:80")),
            (all, "http", Err("there are: any number")),
        ] {
            let mut slices = Slices::default();
            slices.put(slice(text), &Port::parse(port).unwrap(), &Secrets::default()).unwrap();
            match (texts(&slices, port), expected) {
                (Ok(list), Ok(expected)) => assert_eq!(list, [expected], "{port}"),
                (Err(error), Err(expected)) => assert!(error.contains(expected), "{error}"),
                (got, _) => panic!("{port}: {got:?}"),
            }
        }
        let mut none = Slices::default();
        let text = r#"{"metadata":{"name":"a"},"ports":[],"endpoints":[]}"#;
        none.put(slice(text), &Port::parse("80").unwrap(), &Secrets::default()).unwrap();
        assert_eq!(texts(&none, "80").unwrap(), [""; 0], "no endpoint is an empty list");
    }
}
