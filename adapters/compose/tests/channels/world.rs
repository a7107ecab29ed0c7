//! Virtual time, and servers that answer as a script says.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};

use hedge_compose::hedge_core::drive::Timer;
use hedge_compose::hedge_core::outcome::{Pushback, Verdict};
use hedge_compose::hedge_core::time::{Duration, Instant};
use hedge_compose::hedge_fleet::{CallOptions, Caller, Outcome, Report, Trace};

/// A clock that goes on only when everything waits. Its times are milliseconds.
#[derive(Clone, Default)]
pub(crate) struct Clock(Arc<Mutex<Time>>);

#[derive(Default)]
struct Time {
    now: u64,
    next: u64,
    sleeps: BTreeMap<(u64, u64), Waker>,
    events: BTreeMap<(u64, u64), Box<dyn FnOnce() + Send>>,
}

impl Clock {
    fn lock(&self) -> MutexGuard<'_, Time> {
        self.0.lock().unwrap()
    }

    pub(crate) fn millis(&self) -> u64 {
        self.lock().now
    }

    /// How many sleeps wait. After a call there must be none.
    pub(crate) fn sleeps(&self) -> usize {
        self.lock().sleeps.len()
    }

    /// Runs `event` when the clock reaches this time.
    pub(crate) fn at(&self, millis: u64, event: impl FnOnce() + Send + 'static) {
        let mut time = self.lock();
        time.next += 1;
        let key = (millis, time.next);
        time.events.insert(key, Box::new(event));
    }

    /// Moves the clock on, if nothing waits for an earlier time.
    pub(crate) fn set(&self, millis: u64) {
        let mut time = self.lock();
        assert!(time.now <= millis && time.sleeps.is_empty());
        time.now = millis;
    }

    /// Runs a future to its end.
    pub(crate) fn run<F: Future>(&self, future: F) -> F::Output {
        self.run_until(u64::MAX, future).expect("it ends")
    }

    /// Runs a future to its end, or up to this time. Then it is dropped.
    pub(crate) fn run_until<F: Future>(&self, until: u64, future: F) -> Option<F::Output> {
        let mut future = std::pin::pin!(future);
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&woken));
        loop {
            while woken.0.swap(false, Ordering::SeqCst) {
                if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                    return Some(output);
                }
            }
            if !self.go_on(until) {
                return None;
            }
        }
    }

    /// Moves the clock to the next time at which something is due, and does it. Returns false if that is not before
    /// `until`.
    fn go_on(&self, until: u64) -> bool {
        let mut time = self.lock();
        let due = [time.sleeps.keys().next(), time.events.keys().next()];
        let due = due.into_iter().flatten().map(|(at, _)| *at).min();
        let Some(due) = due else {
            assert!(until < u64::MAX, "nothing is left to wait for");
            time.now = until;
            return false;
        };
        time.now = time.now.max(due.min(until));
        if due >= until {
            return false;
        }
        let mut events = Vec::new();
        while let Some(entry) = time.events.first_entry().filter(|entry| entry.key().0 <= due) {
            events.push(entry.remove());
        }
        let mut wakers = Vec::new();
        while let Some(entry) = time.sleeps.first_entry().filter(|entry| entry.key().0 <= due) {
            wakers.push(entry.remove());
        }
        drop(time);
        events.into_iter().for_each(|event| event());
        wakers.into_iter().for_each(Waker::wake);
        true
    }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Timer for Clock {
    type Sleep = Sleep;

    fn now(&self) -> Instant {
        Instant::from_millis(self.millis())
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        Sleep { clock: self.clone(), at: at.as_micros().div_ceil(1_000), key: None }
    }
}

pub(crate) struct Sleep {
    clock: Clock,
    at: u64,
    key: Option<(u64, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let clock = self.clock.clone();
        let mut time = clock.lock();
        if let Some(key) = self.key.take() {
            time.sleeps.remove(&key);
        }
        if self.at <= time.now {
            return Poll::Ready(());
        }
        time.next += 1;
        let key = (self.at, time.next);
        time.sleeps.insert(key, cx.waker().clone());
        self.key = Some(key);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.clock.lock().sleeps.remove(&key);
        }
    }
}

/// What a server answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    Ok,
    /// A failure after the request has left. Another server may succeed.
    Fail,
    /// A failure before the request has left.
    Refused,
    /// An internal error of the server.
    Wait,
    /// No server will accept the request.
    Fatal,
    /// The channel has no usable server.
    Down,
    Never,
    /// A failure like `Fail`, with a pushback of the servers.
    Asks(Pushback),
}

/// A delay that servers ask for.
const LATER: Pushback = Pushback::after(Duration::from_millis(40));

impl Answer {
    pub(crate) const ALL: [(&str, Self); 11] = [
        ("ok", Self::Ok),
        ("fail", Self::Fail),
        ("refused", Self::Refused),
        ("wait", Self::Wait),
        ("fatal", Self::Fatal),
        ("down", Self::Down),
        ("never", Self::Never),
        ("stop", Self::Asks(Pushback::DO_NOT)),
        ("later", Self::Asks(LATER)),
        ("stop-here", Self::Asks(Pushback::DO_NOT.for_server())),
        ("later-here", Self::Asks(LATER.for_server())),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, answer)| *answer == self).map_or("", |(name, _)| name)
    }
}

/// A channel whose answers are scripted. The last answer of the script is repeated.
#[derive(Clone)]
pub(crate) struct Leaf(pub(crate) Arc<LeafState>);

pub(crate) struct LeafState {
    pub(crate) name: String,
    clock: Clock,
    script: Mutex<VecDeque<(Answer, u64)>>,
    /// Whether the channel says that it has a usable server, as long as its next answer is not `Down`.
    pub(crate) is_usable: AtomicBool,
    pub(crate) not_idempotent: bool,
    /// When each call has started.
    pub(crate) starts: Mutex<Vec<u64>>,
    /// The timeout that each call had, in milliseconds.
    pub(crate) timeouts: Mutex<Vec<Option<u64>>>,
    pub(crate) in_flight: AtomicUsize,
    pub(crate) dropped: AtomicUsize,
    pub(crate) polls: AtomicUsize,
    pub(crate) asked: AtomicUsize,
}

impl Leaf {
    pub(crate) fn new(clock: &Clock, name: &str, script: &[(Answer, u64)]) -> Self {
        Self::with(clock, name, script, false)
    }

    pub(crate) fn with(clock: &Clock, name: &str, script: &[(Answer, u64)], not_idempotent: bool) -> Self {
        Self(Arc::new(LeafState {
            name: name.into(),
            clock: clock.clone(),
            script: Mutex::new(script.iter().copied().collect()),
            is_usable: AtomicBool::new(true),
            not_idempotent,
            starts: Mutex::default(),
            timeouts: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            dropped: AtomicUsize::new(0),
            polls: AtomicUsize::new(0),
            asked: AtomicUsize::new(0),
        }))
    }

    pub(crate) fn starts(&self) -> Vec<u64> {
        self.0.starts.lock().unwrap().clone()
    }

    pub(crate) fn dropped(&self) -> usize {
        self.0.dropped.load(Ordering::SeqCst)
    }

    pub(crate) fn set_usable(&self, usable: bool) {
        self.0.is_usable.store(usable, Ordering::SeqCst);
    }

    pub(crate) fn answers(&self, script: &[(Answer, u64)]) {
        *self.0.script.lock().unwrap() = script.iter().copied().collect();
    }
}

/// Counts a call until it ends or is dropped.
struct Running<'a>(&'a LeafState, bool);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
        if !self.1 {
            self.0.dropped.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Caller<String> for Leaf {
    type Reply = Said;
    type Error = Wrong;

    async fn call_with(&self, request: &String, options: &CallOptions) -> Result<Said, Wrong> {
        let leaf = &*self.0;
        let now = leaf.clock.millis();
        leaf.starts.lock().unwrap().push(now);
        let timeout = options.timeout.and_then(|timeout| timeout.limit());
        leaf.timeouts.lock().unwrap().push(timeout.map(|limit| u64::try_from(limit.as_millis()).unwrap()));
        leaf.in_flight.fetch_add(1, Ordering::SeqCst);
        let mut running = Running(leaf, false);
        let (answer, delay) = {
            let mut script = leaf.script.lock().unwrap();
            let step = script.pop_front().expect("a script has a step");
            if script.is_empty() {
                script.push_back(step);
            }
            step
        };
        let trace = Trace::nowhere(Report::new(leaf.clock.now()));
        if answer == Answer::Never {
            std::future::pending::<()>().await;
        }
        if delay > 0 {
            let mut sleep = std::pin::pin!(leaf.clock.sleep_until(Instant::from_millis(now + delay)));
            poll_fn(|cx| {
                leaf.polls.fetch_add(1, Ordering::SeqCst);
                sleep.as_mut().poll(cx)
            })
            .await;
        }
        running.1 = true;
        match answer {
            Answer::Ok => {
                Ok(Said { text: format!("{}{request}", leaf.name), outcome: Box::new(Plain { answer, trace }) })
            }
            _ => Err(Wrong { kind: answer.name().into(), outcome: Box::new(Plain { answer, trace }) }),
        }
    }

    fn has_usable_server(&self) -> bool {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        let next = self.0.script.lock().unwrap().front().map(|step| step.0);
        self.0.is_usable.load(Ordering::SeqCst) && next != Some(Answer::Down)
    }

    fn idempotency(&self, _: &String) -> hedge_compose::hedge_core::policy::Idempotency {
        use hedge_compose::hedge_core::policy::Idempotency;
        if self.0.not_idempotent { Idempotency::NotIdempotent } else { Idempotency::Unset }
    }
}

struct Plain {
    answer: Answer,
    trace: Trace,
}

impl Outcome for Plain {
    fn trace(&self) -> &Trace {
        &self.trace
    }

    fn verdict(&self) -> Verdict {
        match self.answer {
            Answer::Ok => Verdict::Accept,
            Answer::Fatal => Verdict::Fatal,
            Answer::Wait => Verdict::Wait,
            _ => Verdict::Retry,
        }
    }

    fn never_left(&self) -> bool {
        matches!(self.answer, Answer::Refused | Answer::Down)
    }

    fn all_down(&self) -> bool {
        self.answer == Answer::Down
    }

    fn pushback(&self) -> Option<Pushback> {
        match self.answer {
            Answer::Asks(pushback) => Some(pushback),
            _ => None,
        }
    }
}

/// A reply of any channel.
pub(crate) struct Said {
    pub(crate) text: String,
    pub(crate) outcome: Box<dyn Outcome + Send>,
}

/// An error of any channel.
pub(crate) struct Wrong {
    pub(crate) kind: String,
    pub(crate) outcome: Box<dyn Outcome + Send>,
}

macro_rules! outcome_of_any {
    ($($name:ident),*) => {
        $(
            impl Outcome for $name {
                fn trace(&self) -> &Trace {
                    self.outcome.trace()
                }

                fn verdict(&self) -> Verdict {
                    self.outcome.verdict()
                }

                fn never_left(&self) -> bool {
                    self.outcome.never_left()
                }

                fn all_down(&self) -> bool {
                    self.outcome.all_down()
                }

                fn pushback(&self) -> Option<Pushback> {
                    self.outcome.pushback()
                }

                fn sub_calls(&self) -> Vec<hedge_compose::hedge_fleet::SubCall> {
                    self.outcome.sub_calls()
                }
            }
        )*
    };
}

outcome_of_any!(Said, Wrong);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)
    }
}

impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Said({})", self.text)
    }
}

impl fmt::Debug for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wrong({})", self.kind)
    }
}

impl std::error::Error for Wrong {}
