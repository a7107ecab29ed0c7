//! Suites `list_naming_parse`, `file_naming_parse` and `naming_service_unit_cases`: how brpc's naming services read lists.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use hedge_fleet::{
    BoxNaming, LineError, Naming as _, NamingError, NamingErrorKind, ParsedName, Server, Update, parse_servers,
};
use hedge_link::{BoxResolve, Resolve};
use hedge_naming::{FileNaming, HostNaming, Sources};
use hedge_smol::Smol;
use serde::Deserialize;

use crate::{Case, Verdict, compare};

const NAME: &str = "N4: a host name is one server, and each connection looks it up; the others are the same";
const LIST: &str = "N1: a list that a program names is checked when its channel is made, so a bad entry is an error; the others are the same";
const ZEROS: &str = "N4: an IPv4 address with leading zeros is an error, since some systems read them as octal";
const REDIS: &str = "N1: redis is a protocol here, not a scheme of names";
const REMOTE: &str = "N1: remotefile is not a source of this runner; its lines are read like those of a file";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    addr: String,
    #[serde(default)]
    tag: String,
}

impl Entry {
    fn text(&self) -> String {
        format!("{} {}", self.addr, self.tag).trim_end().to_owned()
    }
}

#[derive(Deserialize)]
struct Lists {
    cases: Vec<List>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    r#in: String,
    rc: i32,
    servers: Vec<Entry>,
}

pub(crate) fn lists(text: &str) -> Result<Vec<Case>, serde_json::Error> {
    let table: Lists = serde_json::from_str(text)?;
    Ok(table
        .cases
        .iter()
        .map(|list| Case { name: format!("list://{:?}", list.r#in), verdict: list_verdict(list) })
        .collect())
}

fn list_verdict(list: &List) -> Verdict {
    let expected: Vec<String> = list.servers.iter().map(Entry::text).collect();
    let fail = |got: String| Verdict::Fail { expected: format!("{} {expected:?}", list.rc), got };
    // As lines, one bad entry does not hide the others.
    let lines = read(&list.r#in.replace(',', "\n"));
    let parsed = parse_servers(&format!("list://{}", list.r#in));
    match parsed {
        _ if list.rc != 0 => fail("a return code that brpc has not".into()),
        Ok(servers) if texts(&servers) == expected => Verdict::Ok,
        Ok(servers) if resolved(&servers) == expected => Verdict::Differs { why: NAME.into() },
        Ok(servers) => fail(format!("{:?}", texts(&servers))),
        Err(_) if resolved(&lines.servers) == expected => Verdict::Differs { why: LIST.into() },
        Err(_) if list.r#in.starts_with('0') && lines.servers.is_empty() => Verdict::Differs { why: ZEROS.into() },
        Err(error) => fail(error.to_string()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    file: String,
    rc: i32,
    servers: Vec<Entry>,
    missing_file_rc: i32,
}

pub(crate) fn files(text: &str) -> Result<Vec<Case>, serde_json::Error> {
    let table: File = serde_json::from_str(text)?;
    let expected: Vec<String> = table.servers.iter().map(Entry::text).collect();
    let servers = read(&table.file).servers;
    let verdict = match texts(&servers) {
        got if table.rc == 0 && got == expected => Verdict::Ok,
        _ if table.rc == 0 && resolved(&servers) == expected => Verdict::Differs { why: NAME.into() },
        got => Verdict::Fail { expected: format!("{} {expected:?}", table.rc), got: format!("{got:?}") },
    };
    let missing = std::env::temp_dir().join("hedge-conformance/no such file");
    let got = smol::block_on(FileNaming::new(Smol::new(), missing).next()).err().map(|error| error.kind());
    // 2 is ENOENT.
    let expected = (table.missing_file_rc == 2).then_some(NamingErrorKind::NotFound);
    Ok(vec![Case { name: "file".into(), verdict }, compare("missing file".into(), &expected, Ok(got))])
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Units {
    #[serde(rename = "source")]
    _source: String,
    dns: Vec<Dns>,
    list_and_file_bad: Bad,
    remotefile: Remote,
    filter: Filtered,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Dns {
    Name { name: String, port: Option<u16>, rc: i32 },
    Scheme { scheme: String, default_port: u16 },
    Note { scheme: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bad {
    lines: Vec<String>,
    accepted: Vec<String>,
    rc: i32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Remote {
    url_forms: Vec<String>,
    body: String,
    servers: Vec<(String, String)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Filtered {
    file: Vec<String>,
    accept_tag: String,
    only_pick: String,
}

pub(crate) fn units(text: &str) -> Result<Vec<Case>, serde_json::Error> {
    let table: Units = serde_json::from_str(text)?;
    let mut cases: Vec<Case> = table.dns.iter().map(dns).collect();
    cases.push(bad(&table.list_and_file_bad));
    let remote = &table.remotefile;
    let servers = remote.servers.iter().map(|(addr, tag)| Entry { addr: addr.clone(), tag: tag.clone() }.text());
    let servers: Vec<String> = servers.collect();
    cases.push(compare("remotefile body".into(), &servers, Ok(texts(&read(&remote.body).servers))));
    cases.extend(remote.url_forms.iter().map(|form| differs(format!("remotefile://{form}"), REMOTE)));
    cases.push(filter(table.filter));
    Ok(cases)
}

fn differs(name: String, why: &str) -> Case {
    Case { name, verdict: Verdict::Differs { why: why.into() } }
}

fn dns(case: &Dns) -> Case {
    match case {
        Dns::Name { name, port, rc } => {
            let url = name.replace("HOST", "host.test");
            let source = HostNaming::parse(Smol::new(), "http", &url, 80).map(|source| source.resolver(loopback()));
            let got = source.map_or(Ok(None), |source| port_of(BoxNaming::new(source)).map(Some));
            compare(format!("http://{name}"), &port.filter(|_| *rc == 0), got)
        }
        Dns::Scheme { scheme, default_port } => {
            let schemes = Sources::new(Smol::new()).resolver(loopback()).schemes();
            let got = match schemes.open(&format!("{scheme}://host.test")) {
                Ok(ParsedName::Followed(naming)) => port_of(naming),
                other => Err(format!("{other:?}")),
            };
            compare(format!("{scheme}://HOST"), default_port, got)
        }
        Dns::Note { scheme } => differs(format!("{scheme}://HOST"), REDIS),
    }
}

/// The port of the servers that a source gives.
fn port_of(mut naming: BoxNaming) -> Result<u16, String> {
    match smol::block_on(naming.next()).map_err(|error: NamingError| error.to_string())? {
        Update::Reset { servers, .. } => match servers.first().map(|server| &server.address) {
            Some(hedge_fleet::Address::Socket(address)) => Ok(address.port()),
            other => Err(format!("{other:?}")),
        },
        change @ Update::Change { .. } => Err(format!("{change:?}")),
    }
}

/// Resolves every name to loopback.
struct Loopback;

impl Resolve for Loopback {
    async fn resolve(&self, _: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(vec![(Ipv4Addr::LOCALHOST, port).into()])
    }
}

fn loopback() -> BoxResolve {
    BoxResolve::new(Loopback)
}

/// A name that brpc could not resolve is not in its list. Here it is a server.
fn bad(case: &Bad) -> Case {
    let named = |line: &String| line.replace("<resolvable>", "resolvable.test");
    let lines: Vec<String> = case.lines.iter().map(named).collect();
    let accepted: BTreeSet<String> = case.accepted.iter().map(named).collect();
    let read = read(&lines.join("\n"));
    let got: BTreeSet<String> = texts(&read.servers).into_iter().collect();
    let unresolved: Vec<&String> = got.difference(&accepted).collect();
    let is_known = case.rc == 0 && got.is_superset(&accepted) && read.rejected.len() + got.len() == lines.len();
    let verdict = match unresolved.as_slice() {
        [] if is_known => Verdict::Ok,
        [name] if is_known && name.starts_with("local:") => Verdict::Differs { why: NAME.into() },
        _ => Verdict::Fail { expected: format!("{} {accepted:?}", case.rc), got: format!("{got:?}") },
    };
    Case { name: "bad lines".into(), verdict }
}

/// The filter of a real channel.
fn filter(case: Filtered) -> Case {
    let builder = hedge_smol::builder(format!("list://{}", case.file.join(","))).load_balancer("rr");
    let channel = builder.filter(move |server| *server.tag == *case.accept_tag).build();
    let got = channel
        .map_err(|error| error.to_string())
        .map(|channel| channel.servers().iter().map(|server| server.address.to_string()).collect::<Vec<_>>());
    compare("filter".into(), &vec![case.only_pick], got)
}

/// What lines hold.
struct Lines {
    servers: Vec<Server>,
    rejected: Vec<(usize, LineError)>,
}

fn read(text: &str) -> Lines {
    match Update::from_lines(text) {
        Update::Reset { servers, rejected } => Lines { servers, rejected },
        Update::Change { insert, .. } => Lines { servers: insert, rejected: Vec::new() },
    }
}

/// Each server once, in order, as text.
fn texts(servers: &[Server]) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    for server in servers {
        let text = server.to_string();
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    texts
}

/// The same, where `localhost` is resolved, as brpc does when it reads a list.
fn resolved(servers: &[Server]) -> Vec<String> {
    texts(servers).into_iter().map(|text| text.replace("localhost:", "127.0.0.1:")).collect()
}
