//! One script of 200 calls gives one log of everything that is decided in them, however it is run: by hand, on tokio with a
//! paused clock, on smol with a virtual timer, and on embassy with embassy-time's mock driver.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use hedge_core::balance::p2c::{P2c, P2cOptions};
use hedge_core::bounded::Bounded;
use hedge_core::call::{Action, Call, Input, Report, Start};
use hedge_core::channel::Channel;
use hedge_core::drive::{AttemptInfo, Driver, Timer, Transport, drive};
use hedge_core::health::{ConsecutiveFailures, FailureOptions, Health, IsolationLimit};
use hedge_core::id::AttemptId;
use hedge_core::limit::Limits;
use hedge_core::outcome::{ErrorKind, Pushback};
use hedge_core::policy::{
    AttemptError, Backoff, BackupDelay, CallOptions, ChannelOptions, DefaultRetryPolicy, RetryPolicy,
};
use hedge_core::time::{Duration, Instant, Micros};
use hedge_embassy_tests::World;

const SEED: u64 = 0x0DD5_EED5;
const CALLS: u64 = 200;
const SERVERS: u16 = 5;

type Client = Channel<u16, P2c, Limits, u8, 8, ConsecutiveFailures>;

// ---- the script ----

#[derive(Debug)]
struct Failed {
    kind: ErrorKind,
    pushback: Option<Pushback>,
}

impl AttemptError for Failed {
    fn kind(&self) -> ErrorKind {
        self.kind
    }

    fn pushback(&self) -> Option<Pushback> {
        self.pushback
    }
}

type Outcome = Result<u16, Failed>;

fn channel() -> Client {
    let options = ChannelOptions {
        timeout: Duration::from_millis(100).into(),
        backup: BackupDelay::after(Duration::from_millis(4)),
        backoff: Backoff::fixed(Duration::from_millis(3)),
        ..ChannelOptions::brpc()
    };
    let breaker = ConsecutiveFailures::new(FailureOptions { failures: Bounded::of::<3>(), ..FailureOptions::DEFAULT });
    let health = Health::new(breaker, IsolationLimit::DEFAULT);
    let mut channel = Client::with_health(options, P2c::new(P2cOptions::DEFAULT), Limits::default(), health, SEED);
    for server in 0..SERVERS {
        channel.insert(server, 0).unwrap();
    }
    channel
}

/// How long the caller waits before a call, in ms.
fn gap(call: u64) -> u64 {
    fastrand::Rng::with_seed(SEED ^ call).u64(1..=12)
}

/// How long an attempt takes, in ms, and its result.
fn fate(call: u64, attempt: AttemptId, server: u16) -> (u64, Outcome) {
    let mut random = fastrand::Rng::with_seed(SEED + call * 1_000 + attempt.index() as u64 * 10 + u64::from(server));
    let failed = |kind| Err(Failed { kind, pushback: None });
    // One server stalls more than others.
    let stalls = random.u32(..100) < if server == 0 { 40 } else { 6 };
    let took = random.u64(1..=5) + if stalls { random.u64(10..=150) } else { 0 };
    let outcome = match random.u32(..100) {
        0..5 => failed(ErrorKind::Refused),
        5..9 => failed(ErrorKind::Broken),
        9..11 => failed(ErrorKind::Internal),
        11 => failed(ErrorKind::BadRequest),
        12..14 => {
            let pushback = Some(Pushback::after(Duration::from_millis(random.u64(1..=9))));
            Err(Failed { kind: ErrorKind::OverLimit, pushback })
        }
        14 => Err(Failed { kind: ErrorKind::OverLimit, pushback: Some(Pushback::DO_NOT) }),
        _ => Ok(server),
    };
    (took, outcome)
}

/// Adds a call to the log: a line for each attempt, and one for the end.
fn entry(log: &mut Vec<String>, call: u64, report: &Report) {
    let (started, end) = (report.started().as_micros(), report.end());
    for (id, attempt) in report.ids().zip(report.attempts()) {
        let at = |offset: Micros| started + offset.as_micros();
        log.push(format!(
            "{} call {call} attempt {id} {:?} at {} until {:?} {:?} {}",
            at(attempt.started_micros()),
            attempt.kind(),
            attempt.server(),
            attempt.ended_micros().map(at),
            attempt.state(),
            attempt.code(),
        ));
    }
    log.push(format!(
        "{} call {call} {end:?} {:?}",
        started + report.elapsed_micros().as_micros(),
        report.not_hedged()
    ));
}

// ---- by hand ----

fn by_hand() -> Vec<String> {
    let (channel, options, mut log, mut now) = (channel(), CallOptions::new(), Vec::new(), 0);
    for number in 0..CALLS {
        now += gap(number);
        let mut call = channel.call(&options, Instant::from_millis(now)).unwrap();
        let mut under_way: BTreeMap<AttemptId, (u64, Outcome)> = BTreeMap::new();
        loop {
            // In the order of the attempts, as the driver polls them.
            let due: Vec<_> = under_way.iter().filter(|(_, (at, _))| *at <= now).map(|(id, _)| *id).collect();
            for attempt in due {
                let (_, outcome) = under_way.remove(&attempt).unwrap();
                let judgement = DefaultRetryPolicy.judge(outcome.as_ref());
                call.handle(Instant::from_millis(now), Input::Finished { attempt, judgement });
            }
            match call.poll(Instant::from_millis(now)) {
                Action::Start(Start { attempt, server, .. }) => {
                    let (took, outcome) = fate(number, attempt, *channel.cluster().address(server).unwrap());
                    under_way.insert(attempt, (now + took, outcome));
                }
                Action::Abandon { attempt } => _ = under_way.remove(&attempt),
                Action::Wait { until } => {
                    let timer = until.map(|at| at.as_micros() / 1_000);
                    now = under_way.values().map(|(at, _)| *at).chain(timer).min().unwrap();
                }
                Action::Done(_) => break,
            }
        }
        entry(&mut log, number, call.report());
    }
    log
}

// ---- over the driver ----

/// Servers that follow the script, on any timer.
struct Scripted<'t, T> {
    timer: &'t T,
    call: Cell<u64>,
}

impl<T: Timer> Transport for Scripted<'_, T> {
    type Address = u16;
    type Request = ();
    type Reply = u16;
    type Error = Failed;

    async fn start(&self, (): &(), attempt: AttemptInfo<u16>) -> Outcome {
        let (took, outcome) = fate(self.call.get(), attempt.attempt, attempt.address);
        self.timer.sleep_until(self.timer.now() + Duration::from_millis(took)).await;
        outcome
    }
}

async fn driven<T: Timer>(timer: T) -> Vec<String> {
    let (channel, options, mut log) = (channel(), CallOptions::new(), Vec::new());
    let transport = Scripted { timer: &timer, call: Cell::new(0) };
    for number in 0..CALLS {
        timer.sleep_until(timer.now() + Duration::from_millis(gap(number))).await;
        transport.call.set(number);
        let mut call: Call<'_, &Client> = Call::new(&channel, &options, timer.now()).unwrap();
        let driver = Driver::new(&timer, &DefaultRetryPolicy);
        let start = |attempt| transport.start(&(), attempt);
        let _ = drive(&mut call, [pin!(None), pin!(None)], driver, start).await;
        entry(&mut log, number, call.report());
    }
    log
}

// ---- on embassy ----

static LOG: Mutex<Option<Vec<String>>> = Mutex::new(None);
static STARTED: AtomicBool = AtomicBool::new(false);

#[embassy_executor::task]
async fn script() {
    STARTED.store(true, Ordering::Relaxed);
    let log = driven(hedge_embassy::Clock).await;
    *LOG.lock().unwrap() = Some(log);
}

/// Moves the clock by a millisecond, after all tasks have run at the instant that it shows.
#[embassy_executor::task]
async fn time() {
    loop {
        for _ in 0..3 {
            embassy_futures::yield_now().await;
        }
        if STARTED.load(Ordering::Relaxed) {
            embassy_time::MockDriver::get().advance(embassy_time::Duration::from_millis(1));
        }
    }
}

fn on_embassy() -> Vec<String> {
    // A world resets the clock to 0 and keeps other tests from moving it.
    let _world = World::new();
    let executor = Box::leak(Box::new(embassy_executor::Executor::new()));
    let tasks = |spawner: embassy_executor::Spawner| {
        spawner.spawn(script().unwrap());
        spawner.spawn(time().unwrap());
    };
    executor.run_until(tasks, || LOG.lock().unwrap().is_some());
    LOG.lock().unwrap().take().unwrap()
}

// ---- on tokio ----

struct Tokio(tokio::time::Instant);

impl Timer for Tokio {
    type Sleep = tokio::time::Sleep;

    fn now(&self) -> Instant {
        Instant::from_elapsed(self.0.elapsed())
    }

    fn sleep_until(&self, at: Instant) -> tokio::time::Sleep {
        tokio::time::sleep_until(self.0 + std::time::Duration::from_micros(at.as_micros().min(u64::from(u32::MAX))))
    }
}

fn on_tokio() -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async { driven(Tokio(tokio::time::Instant::now())).await })
}

// ---- on smol ----

/// A clock that stands still until it is moved, and the wakers that wait for it.
#[derive(Clone, Default)]
struct Virtual(Rc<Shared>);

#[derive(Default)]
struct Shared {
    now: Cell<Instant>,
    waiting: RefCell<Vec<(Instant, Waker)>>,
}

struct Until {
    clock: Virtual,
    at: Instant,
}

impl Virtual {
    /// Moves the clock to the next instant that is waited for.
    fn advance(&self) {
        let mut waiting = self.0.waiting.borrow_mut();
        let next = waiting.iter().map(|(at, _)| *at).filter(|at| *at > self.0.now.get()).min();
        self.0.now.set(next.expect("a waker waits"));
        waiting.retain(|(at, waker)| {
            let due = *at <= self.0.now.get();
            if due {
                waker.wake_by_ref();
            }
            !due
        });
    }
}

impl Timer for Virtual {
    type Sleep = Until;

    fn now(&self) -> Instant {
        self.0.now.get()
    }

    fn sleep_until(&self, at: Instant) -> Until {
        Until { clock: self.clone(), at }
    }
}

impl Future for Until {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.clock.now() >= self.at {
            return Poll::Ready(());
        }
        self.clock.0.waiting.borrow_mut().push((self.at, cx.waker().clone()));
        Poll::Pending
    }
}

fn on_smol() -> Vec<String> {
    let (clock, executor) = (Virtual::default(), smol::LocalExecutor::new());
    let task = executor.spawn(driven(clock.clone()));
    loop {
        while executor.try_tick() {}
        if task.is_finished() {
            return smol::block_on(task);
        }
        clock.advance();
    }
}

#[test]
fn one_script_gives_one_log_by_hand_on_tokio_on_smol_and_on_embassy() {
    let log = by_hand();
    for (name, other) in [("tokio", on_tokio()), ("smol", on_smol()), ("embassy", on_embassy())] {
        for (at, (ours, theirs)) in log.iter().zip(&other).enumerate() {
            assert_eq!(ours, theirs, "{name}, line {at}");
        }
        assert_eq!(log.len(), other.len(), "{name}");
    }
    // The logs cover everything that can happen.
    let has = |what: &str| log.iter().filter(|line| line.contains(what)).count();
    for what in ["Retry at", "Backup at", "Abandoned", "Some(Accepted)", "Some(Failed)", "Some(Fatal)", "Denied"] {
        assert!(has(what) > 0, "{what}");
    }
    println!(
        "{} lines, the same four times: {} calls, {} first attempts, {} retries, {} backups",
        log.len(),
        CALLS,
        has("First at"),
        has("Retry at"),
        has("Backup at")
    );
}
