//! A runtime in virtual time, for tests: [`Fake`].

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};

use hedge_core::drive::Timer;
use hedge_core::time::{Duration, Instant};
use hedge_fleet::Spawn;

use crate::dial::{Dial, Dialed};
use crate::endpoint::Endpoint;
use crate::runtime::{Runtime, RuntimeId};
use crate::socket_options::SocketOptions;

/// One runtime, or several runtimes with one clock (see [`Fake::on`]). The seed decides the order in which ready tasks
/// run.
#[derive(Clone)]
pub(crate) struct Fake {
    world: Arc<Mutex<World>>,
    /// How far this clock is ahead of the clock of `world`.
    ahead: Duration,
}

struct World {
    now: Instant,
    here: u64,
    random: u64,
    tasks: Vec<Task>,
    sleeps: Vec<(Instant, Waker)>,
}

struct Task {
    future: Pin<Box<dyn Future<Output = ()> + Send>>,
    runtime: u64,
    woken: Arc<Woken>,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Fake {
    pub(crate) fn new(seed: u64) -> Self {
        let random = seed.wrapping_mul(2).wrapping_add(1);
        let world = World { now: Instant::from_millis(1), here: 0, random, tasks: Vec::new(), sleeps: Vec::new() };
        Self { world: Arc::new(Mutex::new(world)), ahead: Duration::ZERO }
    }

    /// Returns this runtime with another clock. The other clock is ahead of the clock of `world` by `ahead`.
    pub(crate) fn ahead(&self, ahead: Duration) -> Self {
        Self { ahead, ..self.clone() }
    }

    /// Makes `runtime` the runtime on which the test runs from now on.
    pub(crate) fn on(&self, runtime: u64) {
        self.lock().here = runtime;
    }

    /// Ends a runtime: drops its tasks.
    pub(crate) fn end(&self, runtime: u64) {
        let gone: Vec<_> = self.lock().tasks.extract_if(.., |task| task.runtime == runtime).collect();
        drop(gone);
    }

    /// Returns how many tasks there are.
    pub(crate) fn tasks(&self) -> usize {
        self.lock().tasks.len()
    }

    pub(crate) fn random(&self, below: u64) -> u64 {
        let mut world = self.lock();
        // xorshift64
        world.random ^= world.random << 13;
        world.random ^= world.random >> 7;
        world.random ^= world.random << 17;
        world.random % below
    }

    /// Runs tasks until no task is ready.
    pub(crate) fn run(&self) {
        loop {
            let ready: Vec<usize> = {
                let world = self.lock();
                let is_woken = |task: &Task| task.woken.0.load(Ordering::SeqCst);
                (0..world.tasks.len()).filter(|index| is_woken(&world.tasks[*index])).collect()
            };
            if ready.is_empty() {
                return;
            }
            let choice = usize::try_from(self.random(ready.len() as u64)).unwrap();
            self.step(ready[choice]);
        }
    }

    /// Polls the task at this index once.
    fn step(&self, index: usize) {
        let mut task = self.lock().tasks.swap_remove(index);
        task.woken.0.store(false, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(&task.woken));
        let before = std::mem::replace(&mut self.lock().here, task.runtime);
        if task.future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            self.lock().tasks.push(task);
        }
        self.lock().here = before;
    }

    /// Advances the clock by `time`, and runs all tasks that become ready in this time.
    pub(crate) fn advance(&self, time: Duration) {
        let until = self.lock().now + time;
        loop {
            self.run();
            let next = self.lock().sleeps.iter().map(|(at, _)| *at).filter(|at| *at <= until).min();
            self.lock().now = next.unwrap_or(until);
            let Some(next) = next else { return self.run() };
            let due: Vec<_> = self.lock().sleeps.extract_if(.., |(at, _)| *at <= next).collect();
            due.into_iter().for_each(|(_, waker)| waker.wake());
        }
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }
}

pub(crate) struct Sleep {
    fake: Fake,
    at: Instant,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.fake.now() >= self.at {
            return Poll::Ready(());
        }
        let of_world = Instant::ZERO + self.at.since(Instant::ZERO + self.fake.ahead);
        self.fake.lock().sleeps.push((of_world, cx.waker().clone()));
        Poll::Pending
    }
}

impl Timer for Fake {
    type Sleep = Sleep;

    fn now(&self) -> Instant {
        self.lock().now + self.ahead
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        Sleep { fake: self.clone(), at }
    }

    fn reset(&self, mut sleep: Pin<&mut Sleep>, at: Instant) {
        sleep.at = at;
    }
}

impl Spawn for Fake {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut world = self.lock();
        let (runtime, woken) = (world.here, Arc::new(Woken(AtomicBool::new(true))));
        world.tasks.push(Task { future: Box::pin(task), runtime, woken });
    }
}

/// A connection that transports no bytes.
pub(crate) struct NoIo;

impl hyper::rt::Read for NoIo {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: hyper::rt::ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl hyper::rt::Write for NoIo {
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

impl Dial for Fake {
    type Io = NoIo;

    async fn dial(&self, _: &Endpoint, _: &SocketOptions) -> io::Result<Dialed<NoIo>> {
        Err(io::ErrorKind::ConnectionRefused.into())
    }
}

impl Runtime for Fake {
    fn id(&self) -> RuntimeId {
        RuntimeId::new(self.lock().here)
    }
}
