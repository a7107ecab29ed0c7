use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use hedge_fleet::{Address, Spawn};
use hyper::rt::{Read, ReadBufCursor, Write};

use super::*;
use crate::connect_error::{ConnectError, ConnectStep};
use crate::{BoxResolve, Connector, Dial, Dialed, Resolve, Runtime, SocketOptions};

/// A runtime in tokio's virtual time. A table determines how connecting to each address ends.
#[derive(Clone)]
struct Virtual {
    epoch: tokio::time::Instant,
    /// For each address: how long connecting takes, in milliseconds, and the error if it fails. Other addresses never
    /// answer.
    table: Arc<HashMap<SocketAddr, (u64, Option<io::ErrorKind>)>>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Virtual {
    fn new(table: &[(&str, u64, Option<io::ErrorKind>)]) -> Self {
        let entry = |(address, after, error): &(&str, u64, Option<io::ErrorKind>)| (at(address), (*after, *error));
        let table = Arc::new(table.iter().map(entry).collect());
        Self { epoch: tokio::time::Instant::now(), table, log: Arc::default() }
    }

    fn millis(&self) -> u128 {
        self.epoch.elapsed().as_millis()
    }

    fn note(&self, what: &str, address: SocketAddr) {
        self.log.lock().unwrap().push(format!("{} {what} {}", self.millis(), address.ip()));
    }

    fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Connects to a name with these addresses. The time limit is `within` milliseconds.
    async fn connect(&self, addresses: &[&str], within: Option<u64>) -> Result<SocketAddr, ConnectError> {
        let resolver = BoxResolve::new(Fixed(addresses.iter().map(|address| at(address)).collect()));
        let connector = Connector::new(self.clone()).resolver(resolver);
        self.connect_by(&connector, within).await
    }

    async fn connect_by(&self, connector: &Connector<Self>, within: Option<u64>) -> Result<SocketAddr, ConnectError> {
        let by = within.map(|millis| self.now() + Duration::from_millis(millis));
        let to = Address::Name { host: "host".into(), port: 80 };
        match connector.connect(&to, by).await?.info.remote {
            Endpoint::Tcp(address) => Ok(address),
            Endpoint::Unix(path) => panic!("{path:?}"),
        }
    }
}

impl Timer for Virtual {
    type Sleep = tokio::time::Sleep;

    fn now(&self) -> Instant {
        Instant::from_elapsed(self.epoch.elapsed())
    }

    fn sleep_until(&self, at: Instant) -> tokio::time::Sleep {
        tokio::time::sleep_until(self.epoch + at.since(Instant::ZERO))
    }

    fn reset(&self, sleep: Pin<&mut tokio::time::Sleep>, at: Instant) {
        sleep.reset(self.epoch + at.since(Instant::ZERO));
    }
}

impl Spawn for Virtual {
    fn spawn(&self, _: impl Future<Output = ()> + Send + 'static) {
        panic!("connecting needs no task");
    }
}

impl Runtime for Virtual {}

impl Dial for Virtual {
    type Io = Nothing;

    async fn dial(&self, to: &Endpoint, _: &SocketOptions) -> io::Result<Dialed<Nothing>> {
        let Endpoint::Tcp(address) = *to else { panic!("{to}") };
        self.note("dials", address);
        let mut given_up = GivenUp { runtime: self, address, done: false };
        let (after, error) = self.table.get(&address).copied().unwrap_or((u64::MAX, None));
        tokio::time::sleep(Duration::from_millis(after)).await;
        given_up.done = true;
        let local = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 1);
        error.map_or_else(|| Ok(Dialed { io: Nothing, addresses: Some((local, address)) }), |error| Err(error.into()))
    }
}

struct GivenUp<'a> {
    runtime: &'a Virtual,
    address: SocketAddr,
    done: bool,
}

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.runtime.note("drops", self.address);
        }
    }
}

/// A connection on which nothing ever happens.
#[derive(Debug)]
struct Nothing;

impl Read for Nothing {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl Write for Nothing {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

/// A resolver that always returns the same addresses.
struct Fixed(Vec<SocketAddr>);

impl Resolve for Fixed {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        assert_eq!((host, port), ("host", 80));
        Ok(self.0.clone())
    }
}

fn at(address: &str) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), 80)
}

fn texts(addresses: &[SocketAddr]) -> Vec<String> {
    addresses.iter().map(|address| address.ip().to_string()).collect()
}

const REFUSED: Option<io::ErrorKind> = Some(io::ErrorKind::ConnectionRefused);

#[test]
fn c5_families_take_turns_beginning_with_the_first() {
    let order = |addresses: &[&str], local: Option<&str>| {
        let addresses: Vec<_> = addresses.iter().map(|address| at(address)).collect();
        texts(&super::order(&addresses, local.map(|local| local.parse().unwrap())))
    };
    let both = ["::1", "::2", "::3", "1.0.0.1", "1.0.0.2", "::2"];
    assert_eq!(order(&both, None), ["::1", "1.0.0.1", "::2", "1.0.0.2", "::3"]);
    assert_eq!(order(&["1.0.0.1", "1.0.0.2", "::1"], None), ["1.0.0.1", "::1", "1.0.0.2"]);
    assert_eq!(order(&both, Some("10.0.0.1")), ["1.0.0.1", "1.0.0.2"], "C8: what the local address can reach");
    assert_eq!(order(&both, Some("::9")), ["::1", "::2", "::3"]);
    assert!(order(&[], None).is_empty());
    let many: Vec<_> = (0..10_000_u16).map(|port| SocketAddr::from(([10, 0, 0, 1], port))).collect();
    assert_eq!(super::order(&many, None).len(), MOST_TRIED);
    let same = vec![at("10.0.0.1"); 10_000];
    assert_eq!(super::order(&same, None).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn c5_the_next_address_is_tried_after_250_ms_and_the_losers_are_dropped() {
    let runtime = Virtual::new(&[("1.0.0.1", 400, None), ("::2", 40, None)]);
    let won = runtime.connect(&["::1", "::2", "1.0.0.1"], None).await.unwrap();
    assert_eq!(won, at("::2"));
    let expected = ["0 dials ::1", "250 dials 1.0.0.1", "500 dials ::2", "540 drops ::1", "540 drops 1.0.0.1"];
    assert_eq!(runtime.log(), expected);
}

#[tokio::test(start_paused = true)]
async fn c5_an_earlier_address_may_still_win() {
    let runtime = Virtual::new(&[("::1", 300, None)]);
    assert_eq!(runtime.connect(&["::1", "::2"], None).await.unwrap(), at("::1"));
    assert_eq!(runtime.log(), ["0 dials ::1", "250 dials ::2", "300 drops ::2"]);
}

#[tokio::test(start_paused = true)]
async fn c5_a_failure_has_the_next_address_tried_at_once() {
    let runtime = Virtual::new(&[("::1", 10, REFUSED), ("::2", 0, REFUSED), ("::3", 300, REFUSED), ("::4", 1, None)]);
    let won = runtime.connect(&["::1", "::2", "::3", "::4"], None).await.unwrap();
    assert_eq!(won, at("::4"));
    let dials: Vec<_> = runtime.log().into_iter().filter(|line| line.contains("dials")).collect();
    assert_eq!(dials, ["0 dials ::1", "10 dials ::2", "10 dials ::3", "260 dials ::4"]);
}

#[tokio::test(start_paused = true)]
async fn c5_if_every_address_fails_the_error_blames_the_server_if_it_can() {
    let no_room = Some(io::ErrorKind::OutOfMemory);
    let runtime = Virtual::new(&[("::1", 1, no_room), ("1.0.0.1", 5, REFUSED), ("1.0.0.2", 1, no_room)]);
    let error = runtime.connect(&["::1", "1.0.0.1", "1.0.0.2"], None).await.unwrap_err();
    assert_eq!(error.to_string(), "connection refused by 1.0.0.1:80");
    assert!(!error.is_local() && error.step() == ConnectStep::Dial);
    assert_eq!(runtime.millis(), 7, "no waiting for what cannot come");
    let error = runtime.connect(&["::1", "1.0.0.2"], None).await.unwrap_err();
    assert!(error.is_local() && error.to_string().starts_with("cannot connect to [::1]:80: "), "{error}");
    let error = runtime.connect(&[], None).await.unwrap_err();
    assert!(error.is_local() && matches!(error, ConnectError::NoAddress { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn c5_the_deadline_covers_all_addresses() {
    let runtime = Virtual::new(&[]);
    let error = runtime.connect(&["::1", "1.0.0.1", "::2"], Some(600)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Timeout(ConnectStep::Dial)), "{error}");
    assert_eq!(runtime.millis(), 600);
    let log = runtime.log();
    assert_eq!(log.iter().filter(|line| line.contains("dials")).count(), 3);
    assert_eq!(log.iter().filter(|line| line.starts_with("600 drops")).count(), 3);
}

#[tokio::test(start_paused = true)]
async fn c5_the_deadline_covers_resolving() {
    struct Silent;

    impl Resolve for Silent {
        async fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
            std::future::pending().await
        }
    }

    let runtime = Virtual::new(&[]);
    let connector = Connector::new(runtime.clone()).resolver(BoxResolve::new(Silent));
    let error = runtime.connect_by(&connector, Some(100)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Timeout(ConnectStep::Resolve)) && error.is_local(), "{error}");
    assert_eq!(runtime.millis(), 100);
}

#[tokio::test(start_paused = true)]
async fn c5_ten_thousand_addresses_cost_no_more_than_sixteen() {
    let addresses: Vec<_> = (0..10_000_u32).map(|last| Ipv4Addr::from(0x0a00_0000 + last).to_string()).collect();
    let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
    let runtime = Virtual::new(&[]);
    runtime.connect(&addresses, Some(3_600_000)).await.unwrap_err();
    assert_eq!(runtime.log().len(), 2 * MOST_TRIED, "each begun and dropped");
}

#[tokio::test(start_paused = true)]
async fn c5_a_connection_to_itself_is_refused() {
    let runtime = Virtual::new(&[("127.0.0.1", 0, None)]);
    let to = Address::Socket(SocketAddr::from(([127, 0, 0, 1], 1)));
    let table = HashMap::from([(SocketAddr::from(([127, 0, 0, 1], 1)), (0, None))]);
    let runtime = Virtual { table: Arc::new(table), ..runtime };
    let error = Connector::new(runtime).connect(&to, None).await.unwrap_err();
    assert_eq!(error.to_string(), "connection refused by 127.0.0.1:1");
}
