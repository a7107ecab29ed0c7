//! What consul answers about the health of a service.

use std::net::IpAddr;

use hedge_fleet::{Address, AddressError, Server, Update};
use serde::Deserialize;

use crate::client::{Fault, Secrets};
use crate::few::Few;
use crate::lines::{Lines, MOST_SERVERS};
use crate::words::Words;

/// The most tags of an instance.
const MOST_TAGS: usize = 1_000;

/// The instances of a service.
pub(super) type Instances = Few<Instance, MOST_SERVERS>;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Instance {
    #[serde(default)]
    node: Node,
    service: Service,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    #[serde(default)]
    address: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Service {
    #[serde(default)]
    address: String,
    #[serde(default)]
    /// It is checked later, so that one bad entry does not make the whole list bad. The same is true for the weight.
    port: i64,
    #[serde(default)]
    tags: Few<String, MOST_TAGS>,
    weights: Option<Weights>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Weights {
    passing: Option<i64>,
}

/// The list of these instances. A bad one is reported with its number, counted from 1.
pub(super) fn update(instances: &Instances, secrets: &Secrets) -> Result<Update, Fault> {
    let mut lines = Lines::new(secrets);
    for (instance, number) in instances.0.iter().zip(1..) {
        let text = || format!("{}:{}", instance.host(), instance.service.port);
        lines.add(number, instance.server(), text)?;
    }
    Ok(lines.into_update())
}

impl Instance {
    fn host(&self) -> &str {
        if self.service.address.is_empty() { &self.node.address } else { &self.service.address }
    }

    fn server(&self) -> Result<Server, AddressError> {
        let port = self.service.port;
        if port == 0 {
            return Err(AddressError::NoPort);
        }
        let port = u16::try_from(port).map_err(|_| AddressError::PortRange)?;
        let address = match self.host().parse::<IpAddr>() {
            Ok(ip) => Address::Socket((ip, port).into()),
            Err(_) => format!("{}:{port}", self.host()).parse()?,
        };
        Ok(Server::new(address, self.tag()))
    }

    fn tag(&self) -> String {
        let tags = &self.service.tags.0;
        let mut words = Words::default();
        let weight = self.service.weights.as_ref().and_then(|weights| weights.passing).filter(|weight| *weight != 1);
        if let Some(weight) = weight.filter(|_| !tags.iter().any(|tag| tag.starts_with("weight="))) {
            words.pair("weight", &weight.to_string());
        }
        for tag in tags {
            words.word(tag);
        }
        words.into_tag()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n1_an_instance_has_the_address_of_its_service_or_of_its_node() {
        let text = r#"[
            {"Node":{"Node":"n1","Address":"10.0.0.1","Datacenter":"dc1"},
             "Service":{"ID":"a","Service":"users","Address":"","Port":80,"Tags":["zone=b","canary","a b","zone=b"],
                        "Weights":{"Passing":5,"Warning":1},"Meta":null},"Checks":[]},
            {"Node":{"Address":"10.0.0.1"},"Service":{"Address":"fd00::1","Port":81,"Tags":null,"Weights":{"Passing":1}}},
            {"Node":{"Address":"10.0.0.1"},"Service":{"Address":"db.example.com","Port":82,"Tags":["weight=7"],
                        "Weights":{"Passing":3}}},
            {"Service":{"Address":"10.0.0.4","Port":0}},
            {"Service":{"Port":1}},
            {"Service":{"Address":"10.0.0.5","Port":70000}},
            {"Service":{"Address":"10.0.0.6","Port":-1}},
            {"Service":{"Address":"10.0.0.7","Port":80,"Weights":{"Passing":-1}}},
            {"Service":{"Address":"10.0.0.8","Port":80,"Weights":{"Passing":4294967296}}}]"#;
        let instances: Instances = serde_json::from_str(text).unwrap();
        let Ok(Update::Reset { servers, rejected }) = update(&instances, &Secrets::default()) else { unreachable!() };
        let texts: Vec<_> = servers.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "10.0.0.1:80 canary weight=5 zone=b",
                "[fd00::1]:81",
                "db.example.com:82 weight=7",
                // A balancer that needs weights leaves these two out, and says why.
                "10.0.0.7:80 weight=-1",
                "10.0.0.8:80 weight=4294967296"
            ]
        );
        let numbers: Vec<_> = rejected.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [4, 5, 6, 7]);
        assert_eq!(rejected[2].1.to_string(), "\"10.0.0.5:70000\": port out of range; it must be in [0, 65535]");
    }
}
