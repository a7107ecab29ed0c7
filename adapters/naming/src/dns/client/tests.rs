use std::collections::BTreeMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Mutex;
use std::thread;

use super::*;

/// What a name server knows of a name, by the type of the record: 1 for A and 28 for AAAA.
type Zone = BTreeMap<(&'static str, u16), Known>;

#[derive(Clone)]
enum Known {
    Addresses(Vec<IpAddr>),
    /// The name exists, and has no records of the type.
    Nothing,
    /// The server does not answer.
    Silence,
    Failure,
}

/// Starts a name server that answers from a table. A name that is not in the table does not exist. Returns the server's
/// address, and the log of the questions.
fn serve(zone: Zone) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (address, asked) = (socket.local_addr().unwrap(), Arc::<Mutex<Vec<String>>>::default());
    let log = Arc::clone(&asked);
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((_, from)) = socket.recv_from(&mut buffer) {
            let (mut name, mut at) = (String::new(), 12);
            while buffer[at] != 0 {
                let length = usize::from(buffer[at]);
                name.push_str(&String::from_utf8_lossy(&buffer[at + 1..=at + length]));
                name.push('.');
                at += length + 1;
            }
            let kind = u16::from_be_bytes([buffer[at + 1], buffer[at + 2]]);
            let question = &buffer[12..at + 5];
            log.lock().unwrap().push(format!("{kind} {name}"));
            let (code, addresses) = match zone.get(&(&*name, kind)) {
                None => (3, Vec::new()),
                Some(Known::Silence) => continue,
                Some(Known::Failure) => (2, Vec::new()),
                Some(Known::Nothing) => (0, Vec::new()),
                Some(Known::Addresses(addresses)) => (0, addresses.clone()),
            };
            let count = u8::try_from(addresses.len()).unwrap();
            let mut answer = [&buffer[..2], &[0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0], question].concat();
            for ip in addresses {
                let bytes = match ip {
                    IpAddr::V4(ip) => ip.octets().to_vec(),
                    IpAddr::V6(ip) => ip.octets().to_vec(),
                };
                answer.extend_from_slice(&[0xc0, 12, 0, u8::try_from(kind).unwrap(), 0, 1, 0, 0, 0, 60, 0]);
                answer.push(u8::try_from(bytes.len()).unwrap());
                answer.extend(bytes);
            }
            socket.send_to(&answer, from).unwrap();
        }
    });
    (address, asked)
}

fn some(addresses: &[&str]) -> Known {
    Known::Addresses(addresses.iter().map(|ip| ip.parse().unwrap()).collect())
}

type Found = (Result<Vec<String>, NamingErrorKind>, Result<Vec<String>, NamingErrorKind>);

/// Looks `db1` up with the domains `a.corp` and `b.corp`, and returns what was asked for too, sorted.
fn look_up(zone: Zone, hosts: &str) -> (Found, Vec<String>) {
    let (server, asked) = serve(zone);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let found = runtime.block_on(async {
        let client = Client::new(hedge_tokio::Tokio::new(), "dns://db1:1".into());
        let mut table = Hosts::default();
        table.read_hosts_conf(hosts.as_bytes()).unwrap();
        let search = ["a.corp", "b.corp"].map(|domain| Name::from_ascii(domain).unwrap());
        let own = System::own(&[server]);
        let session = client.asking(System { search: search.to_vec(), hosts: Arc::new(table), ..own }).unwrap();
        let list = |answer: Answer<IpAddr>| {
            answer.map(|found| found.list.iter().map(ToString::to_string).collect()).map_err(|error| {
                assert!(error.kind() != NamingErrorKind::NotFound || error.place() == Some("A of db1"), "{error}");
                error.kind()
            })
        };
        let (v4, v6) = session.addresses("db1", session.deadline).await;
        (list(v4), list(v6))
    });
    let mut asked = std::mem::take(&mut *asked.lock().unwrap());
    asked.sort_unstable();
    asked.dedup();
    (found, asked)
}

fn ips(addresses: &[&str]) -> Result<Vec<String>, NamingErrorKind> {
    Ok(addresses.iter().map(ToString::to_string).collect())
}

#[test]
fn n1_both_families_are_of_one_name() {
    // A wildcard below the second domain has IPv6 addresses, which are those of another host.
    let zone = BTreeMap::from([
        (("db1.a.corp.", 1), some(&["10.0.0.1"])),
        (("db1.a.corp.", 28), Known::Nothing),
        (("db1.b.corp.", 1), some(&["10.0.0.66"])),
        (("db1.b.corp.", 28), some(&["fd00::66"])),
    ]);
    let (found, asked) = look_up(zone, "");
    assert_eq!(found, (ips(&["10.0.0.1"]), ips(&[])));
    assert_eq!(asked, ["1 db1.a.corp.", "28 db1.a.corp."]);
}

#[test]
fn n2_a_name_that_exists_without_addresses_ends_the_search() {
    let zone = BTreeMap::from([(("db1.a.corp.", 1), Known::Nothing), (("db1.a.corp.", 28), Known::Nothing)]);
    assert_eq!(look_up(zone, "").0, (ips(&[]), ips(&[])));
}

#[test]
fn n1_a_name_that_does_not_exist_is_tried_with_the_next_domain() {
    let zone = BTreeMap::from([(("db1.b.corp.", 1), some(&["10.0.0.2"])), (("db1.b.corp.", 28), some(&["fd00::2"]))]);
    let (found, asked) = look_up(zone, "");
    assert_eq!(found, (ips(&["10.0.0.2"]), ips(&["fd00::2"])));
    assert_eq!(asked, ["1 db1.a.corp.", "1 db1.b.corp.", "28 db1.a.corp.", "28 db1.b.corp."]);
    let not_found = || Err(NamingErrorKind::NotFound);
    let (found, asked) = look_up(Zone::new(), "");
    assert_eq!(found, (not_found(), not_found()));
    assert_eq!(asked.len(), 6, "{asked:?}");
}

#[test]
fn n2_a_look_up_that_fails_does_not_go_on_with_another_host() {
    let zone = BTreeMap::from([
        (("db1.a.corp.", 1), Known::Failure),
        (("db1.a.corp.", 28), Known::Failure),
        (("db1.b.corp.", 1), some(&["10.0.0.66"])),
    ]);
    let failed = || Err(NamingErrorKind::Unreachable);
    let (found, asked) = look_up(zone, "");
    assert_eq!(found, (failed(), failed()));
    assert_eq!(asked, ["1 db1.a.corp.", "28 db1.a.corp."]);
}

#[test]
fn n2_a_server_that_knows_no_ipv6_name_says_that_there_are_no_such_addresses() {
    let zone = BTreeMap::from([(("db1.a.corp.", 1), some(&["10.0.0.1"]))]);
    assert_eq!(look_up(zone, "").0, (ips(&["10.0.0.1"]), ips(&[])));
}

#[test]
fn n2_a_family_without_an_answer_does_not_hold_up_the_other_one() {
    let zone = BTreeMap::from([(("db1.a.corp.", 1), some(&["10.0.0.1"])), (("db1.a.corp.", 28), Known::Silence)]);
    assert_eq!(look_up(zone, "").0, (ips(&["10.0.0.1"]), Err(NamingErrorKind::TimedOut)));
    let zone = BTreeMap::from([(("db1.a.corp.", 28), Known::Silence), (("db1.b.corp.", 1), some(&["10.0.0.2"]))]);
    assert_eq!(look_up(zone, "").0, (ips(&["10.0.0.2"]), ips(&[])), "the search goes on");
}

#[test]
fn n1_the_hosts_file_has_names_without_a_domain() {
    let zone = BTreeMap::from([(("db1.a.corp.", 1), some(&["10.0.0.66"])), (("db1.", 28), some(&["fd00::66"]))]);
    let (found, asked) = look_up(zone, "10.0.0.1 db1 db2\n10.0.0.3 db1\n");
    assert_eq!(found, (ips(&["10.0.0.1", "10.0.0.3"]), ips(&[])));
    assert!(asked.is_empty(), "{asked:?}");
}

#[test]
fn n1_a_name_of_the_hosts_file_is_looked_up_again_soon() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let client = Client::new(hedge_tokio::Tokio::new(), "dns://db1:1".into());
    let mut table = Hosts::default();
    table.read_hosts_conf(&b"10.0.0.1 db1"[..]).unwrap();
    let session = client.asking(System { hosts: Arc::new(table), ..System::own(&[]) }).unwrap();
    let (v4, _) = session.in_hosts(&Name::from_ascii("DB1").unwrap()).unwrap();
    assert_eq!(v4.unwrap().valid, Some(Duration::from_secs(5)));
    assert!(session.in_hosts(&Name::from_ascii("db2").unwrap()).is_none());
}
