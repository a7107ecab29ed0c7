//! Suite `endpoint_parse`: the text of an address, as brpc's `str2endpoint` and `hostname2endpoint` read it.

use hedge_fleet::Address;
use serde::Deserialize;

use crate::{Case, compare};

#[derive(Deserialize)]
struct Table {
    cases: Vec<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    r#in: String,
    str2endpoint: i32,
    out: String,
    hostname2endpoint: i32,
}

pub(crate) fn run(text: &str) -> Result<Vec<Case>, serde_json::Error> {
    let table: Table = serde_json::from_str(text)?;
    Ok(table.cases.iter().map(case).collect())
}

/// Here one parser reads what brpc has two for. `str2endpoint` takes what needs no look-up: IP addresses and Unix sockets.
/// `hostname2endpoint` takes names and IPv4 addresses.
fn case(text: &Text) -> Case {
    let parsed = text.r#in.parse::<Address>().ok();
    let numeric = parsed.as_ref().filter(|address| !matches!(address, Address::Name { .. }));
    let is_host = match &parsed {
        Some(Address::Name { .. }) => true,
        Some(Address::Socket(address)) => address.is_ipv4(),
        Some(Address::Unix(_)) | None => false,
    };
    let expected = (text.str2endpoint == 0, text.out.clone(), text.hostname2endpoint == 0);
    let got = (numeric.is_some(), numeric.map(ToString::to_string).unwrap_or_default(), is_host);
    compare(format!("address {:?}", text.r#in), &expected, Ok(got))
}
