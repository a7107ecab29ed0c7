//! One of three servers is killed and restarted under load, through every balancer (H1).

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hedge_net::http::Http;
use hedge_net::{Address, CallOptions, Channel, CheckInterval, CheckOptions, Runtime, Server, Spawn, hash};

use super::get;
use super::mortal::Mortal;
use super::signal::Signal;
use super::watched::{Ends, Watched};

/// As many as the machines that this runs on can serve at once beside other tests, each with a thread a connection.
const CALLERS: usize = 16;
const CALLS: usize = 20_000;
/// So many calls are made before the kill, and so many at least while the server is down.
const BEFORE: usize = 5_000;
const WHILE: usize = 5_000;
/// A share is measured over so many calls.
const WINDOW: usize = 2_000;
/// In one of so many windows, a share that returns at once is there.
const WINDOWS: usize = 4;
const INTERVAL: CheckInterval = CheckInterval::of_millis::<50>();
/// No call and no connection takes that long, however busy the machine is; for a failure p2c holds no more against a server.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What has to come back of a server's former share.
#[derive(Clone, Copy, PartialEq)]
enum Share {
    /// All of it, give or take a tenth, in one of the first windows. In a single one, chance gives more or less now and then.
    AtOnce,
    /// Half of it, some time.
    Half,
}

/// What the callers of one run share.
struct Run<R: Runtime> {
    channel: Channel<Watched<R>, Http<Watched<R>>>,
    /// The one that is killed.
    mortal: Server,
    killed: AtomicBool,
    restarted: AtomicBool,
    stop: AtomicBool,
    begun: AtomicU32,
    /// A call is over.
    done: Signal,
    /// It began when the dead server was known to be down, and was over before the restart.
    down: Signal,
    /// It began when the server was back.
    back: Signal,
    /// The mortal server's replies to all calls, and to those that began when it was back.
    replies: Signal,
    replies_since: Signal,
    /// Calls that failed, and such that went to the dead server although it was known to be down.
    faults: Mutex<Vec<String>>,
}

impl<R: Runtime> Run<R> {
    async fn call_on(self: Arc<Self>) {
        while !self.stop.load(SeqCst) {
            self.call().await;
        }
    }

    /// A call that names the mortal server before another (S8). Under prequal a server that is dead answers no probes, and so
    /// gets no calls: if no connection to it was being made when it died, no call of the balancer's finds out.
    async fn name(&self, other: SocketAddr) {
        let servers = Some(vec![self.mortal.clone(), Server::new(other, "1")]);
        let options = CallOptions { servers, ..CallOptions::new() };
        let reply = self.channel.call_with(get("/"), &options).await.unwrap();
        assert_ne!(*reply.server().unwrap(), self.mortal, "it is dead");
    }

    async fn call(&self) {
        let number = self.begun.fetch_add(1, SeqCst);
        let options = CallOptions { request_code: Some(hash::murmur3_32(&number.to_le_bytes())), ..CallOptions::new() };
        let (killed, restarted) = (self.killed.load(SeqCst), self.restarted.load(SeqCst));
        let usable = self.channel.usable(&self.mortal);
        let reply = match self.channel.call_with(get("/"), &options).await {
            Ok(reply) => reply,
            Err(error) => {
                self.faults.lock().unwrap().push(error.to_string());
                self.done.raise();
                return;
            }
        };
        if killed && !usable && !self.restarted.load(SeqCst) {
            let trace = reply.trace();
            if trace.ids().any(|attempt| trace.server(attempt) == Some(&self.mortal)) {
                self.faults.lock().unwrap().push(format!("went to the dead server: {trace:?}"));
            }
            self.down.raise();
        }
        let is_mortal = *reply.server().unwrap() == self.mortal;
        if is_mortal {
            self.replies.raise();
        }
        if restarted && usable {
            if is_mortal {
                self.replies_since.raise();
            }
            self.back.raise();
        }
        self.done.raise();
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few thousand")]
fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}

/// Three servers with the tags "1", "2", "1", of which the second is killed and restarted during 20,000 calls. No call
/// fails; while it is down it gets checks and nothing else; then its share returns.
///
/// Where latencies and failures count, its share need not be there at once: p2c holds a failure against a server as if it had
/// taken the whole timeout, and forgets with a time constant of 2 s, and so does prequal; la tries a server that has failed
/// after 2 s.
async fn survives<R: Runtime>(runtime: R, balancer: &str, share_again: Share) {
    let runtime = Watched::new(runtime);
    let mut servers = [Mortal::start(), Mortal::start(), Mortal::start()];
    servers.sort_by_key(|server| server.address);
    let [one, mortal, three] = &mut servers;
    let list = format!("list://{} 1,{} 2,{} 1", one.address, mortal.address, three.address);
    let loads = [&*one, &*mortal, &*three].map(|server| (Address::from(server.address), server.load.clone()));
    let channel = Channel::builder(runtime.clone(), list)
        .probe_with(move |address| {
            let load = loads.iter().find(|(there, _)| *there == address).and_then(|(_, load)| load.answer());
            async move { load }
        })
        .load_balancer(balancer)
        .timeout(TIMEOUT)
        .connect_timeout(TIMEOUT)
        .health_checks(CheckOptions { interval: INTERVAL, ..CheckOptions::DEFAULT })
        .seed(1)
        .build()
        .unwrap();
    let run = Arc::new(Run {
        channel,
        mortal: Server::new(mortal.address, "2"),
        killed: AtomicBool::new(false),
        restarted: AtomicBool::new(false),
        stop: AtomicBool::new(false),
        begun: AtomicU32::new(0),
        done: Signal::new(),
        down: Signal::new(),
        back: Signal::new(),
        replies: Signal::new(),
        replies_since: Signal::new(),
        faults: Mutex::default(),
    });
    let ended = Signal::new();
    for _ in 0..CALLERS {
        let (own, ends) = (Arc::clone(&run), Ends(ended.clone()));
        runtime.spawn(async move {
            let _ends = ends;
            own.call_on().await;
        });
    }

    run.done.reached(BEFORE).await;
    let former = share(run.replies.count(), run.done.count());
    assert!(former > 0.1, "{balancer}: a share of {former}");
    mortal.kill();
    run.killed.store(true, SeqCst);
    if balancer == "prequal" {
        run.name(one.address).await;
    }
    run.down.reached(WHILE).await;
    // Several checks, if the calls were over before that.
    let connects = runtime.connects(mortal.address);
    let (seen, accepted) = (connects.count(), mortal.accepted.count());
    connects.reached(seen + 2).await;
    assert_eq!(mortal.accepted.count(), accepted, "{balancer}: it is dead");
    assert!(!run.channel.usable(&run.mortal));

    run.restarted.store(true, SeqCst);
    mortal.restart();
    let (mut calls, mut replies, mut windows) = (0, 0, 0);
    loop {
        run.back.reached(calls + WINDOW).await;
        let (calls_now, replies_now) = (run.back.count(), run.replies_since.count());
        let again = share(replies_now - replies, calls_now - calls);
        (calls, replies, windows) = (calls_now, replies_now, windows + 1);
        match share_again {
            Share::AtOnce if (again - former).abs() <= former * 0.1 => break,
            Share::AtOnce => assert!(windows < WINDOWS, "{balancer}: a share of {again} instead of {former}"),
            Share::Half if again >= former * 0.5 => break,
            Share::Half => {}
        }
    }
    run.done.reached(CALLS).await;
    run.stop.store(true, SeqCst);
    ended.reached(CALLERS).await;
    assert_eq!(*run.faults.lock().unwrap(), [""; 0], "{balancer}");
    for server in run.channel.servers() {
        assert_eq!(run.channel.in_flight(&server), 0, "{balancer}");
    }
}

macro_rules! balancers {
    ($($name:ident: $balancer:literal, $share:ident;)*) => {
        $(pub async fn $name<R: Runtime>(runtime: R) {
            survives(runtime, $balancer, Share::$share).await;
        })*
    };
}

balancers! {
    h1_rr: "rr", AtOnce;
    h1_wrr: "wrr", AtOnce;
    h1_random: "random", AtOnce;
    h1_wr: "wr", AtOnce;
    h1_la: "la", Half;
    h1_p2c: "p2c", Half;
    h1_prequal: "prequal", Half;
    h1_c_murmurhash: "c_murmurhash", AtOnce;
    h1_c_md5: "c_md5", AtOnce;
    h1_c_ketama: "c_ketama", AtOnce;
}
