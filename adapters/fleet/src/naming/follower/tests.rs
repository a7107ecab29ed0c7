//! Tests of the follower, with a scripted source in virtual time.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Mutex;
use std::task::{Context, Waker};

use super::super::{Naming, NamingErrorKind};
use super::*;

/// A clock that stands still. When the future under test waits, [`Clock::run`] moves the clock to the end of the
/// earliest sleep.
#[derive(Clone, Default)]
struct Clock(Arc<Mutex<(Instant, Option<Instant>)>>);

struct Sleep(Clock, Instant);

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.0.lock().unwrap();
        if state.0 >= self.1 {
            return Poll::Ready(());
        }
        state.1 = Some(state.1.map_or(self.1, |next| next.min(self.1)));
        Poll::Pending
    }
}

impl Timer for Clock {
    type Sleep = Sleep;

    fn now(&self) -> Instant {
        self.0.lock().unwrap().0
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        Sleep(self.clone(), at)
    }
}

impl Clock {
    /// Runs a future to its end. When the future sleeps, the clock moves to the end of the sleep. Returns `None` if the
    /// future waits for something else than a sleep.
    fn run<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let mut idle = 0;
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return Some(output);
            }
            let mut state = self.0.lock().unwrap();
            match state.1.take() {
                Some(at) => state.0 = at,
                None => idle += 1,
            }
            if idle > 1 {
                return None;
            }
        }
    }

    fn ms(&self) -> u64 {
        self.now().micros_since(Instant::ZERO).as_millis()
    }
}

enum Step {
    Says(Update),
    Fails,
    Panics,
}

struct Scripted(VecDeque<Step>);

impl Naming for Scripted {
    async fn next(&mut self) -> Result<Update, NamingError> {
        match self.0.pop_front() {
            Some(Step::Says(update)) => Ok(update),
            Some(Step::Fails) => Err(NamingError::new("test://a", NamingErrorKind::Unreachable)),
            Some(Step::Panics) => std::panic::resume_unwind(Box::new("bad")),
            None => std::future::pending().await,
        }
    }
}

fn follower(steps: impl IntoIterator<Item = Step>, seed: u64) -> Follower {
    Follower::new("test://a", BoxNaming::new(Scripted(steps.into_iter().collect())), seed)
}

fn servers(text: &str) -> Vec<Server> {
    text.split(',').filter(|server| !server.is_empty()).map(|server| server.parse().unwrap()).collect()
}

fn change(insert: &str, remove: &str) -> Step {
    Step::Says(Update::Change { insert: servers(insert), remove: servers(remove) })
}

fn lines(text: &str) -> Step {
    Step::Says(Update::from_lines(text))
}

fn text(news: &News) -> String {
    news.servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

#[test]
fn n3_changes_add_up_to_a_list() {
    let clock = Clock::default();
    let steps = [
        lines("b:2\na:1 x\nb:2"),
        change("c:3,a:1 x", ""),
        change("b:2", "b:2,a:1 x,d:4"),
        lines("e:5"),
        lines("# nothing is left\n"),
        change("f:6", ""),
    ];
    let mut follower = follower(steps, 1);
    for expected in ["a:1 x,b:2", "a:1 x,b:2,c:3", "b:2,c:3", "e:5", "", "f:6"] {
        assert_eq!(text(&clock.run(follower.next(&clock)).unwrap().unwrap()), expected);
    }
    assert_eq!(clock.run(follower.next(&clock)), None, "it waits for the source");
    assert_eq!(clock.ms(), 0, "a source that answers is not kept waiting");
}

#[test]
fn n2_after_errors_a_source_is_asked_again_after_a_growing_pause_with_jitter() {
    let mut first = Vec::new();
    for seed in 0..50 {
        let clock = Clock::default();
        let mut follower = follower((0..8).map(|_| Step::Fails).chain([lines("a:1"), Step::Fails, Step::Fails]), seed);
        let mut before = None;
        for (failures, bounds) in (0..8).zip([500, 1_000, 2_000, 4_000, 5_000, 5_000, 5_000, 5_000]) {
            assert!(clock.run(follower.next(&clock)).unwrap().is_err());
            if let Some((at, shortest)) = before.replace((clock.ms(), bounds)) {
                let pause = clock.ms() - at;
                assert!((shortest..=2 * shortest).contains(&pause), "seed {seed}: {pause} ms after {failures} errors");
            }
            first.extend((failures == 1).then(|| clock.ms()));
        }
        assert_eq!(text(&clock.run(follower.next(&clock)).unwrap().unwrap()), "a:1");
        let at = clock.ms();
        assert!(clock.run(follower.next(&clock)).unwrap().is_err());
        assert!(clock.run(follower.next(&clock)).unwrap().is_err());
        assert!((500..=1_000).contains(&(clock.ms() - at)), "seed {seed}: a list resets the pause");
    }
    first.sort_unstable();
    first.dedup();
    assert!(first.len() > 30, "clients do not come back at once: {first:?}");
}

#[test]
fn n2_the_bounds_of_the_pauses_can_be_set() {
    for (pauses, bounds) in [
        (PauseRange::of_millis::<100, 300>(), [(100, 200), (150, 300), (150, 300)]),
        (PauseRange::of_millis::<70, 70>(), [(70, 70), (70, 70), (70, 70)]),
        (PauseRange::of_millis::<1, 3_600_000>(), [(1, 2), (2, 4), (4, 8)]),
    ] {
        let clock = Clock::default();
        let mut follower = follower((0..40).map(|_| Step::Fails), 1).with_pauses(pauses);
        let mut pause = || {
            let at = clock.ms();
            assert!(clock.run(follower.next(&clock)).unwrap().is_err());
            clock.ms() - at
        };
        assert_eq!(pause(), 0);
        for (least, most) in bounds {
            let pause = pause();
            assert!((least..=most).contains(&pause), "{pauses:?}: {pause} ms");
        }
        for _ in 0..35 {
            pause();
        }
        let most = u64::try_from(pauses.max().get().as_millis()).unwrap();
        assert!((most / 2..=most).contains(&pause()), "{pauses:?}: the longest pause is reached");
    }
}

#[test]
fn n2_a_bad_line_is_skipped_and_a_list_of_bad_lines_alone_is_a_failure() {
    let clock = Clock::default();
    let mut follower = follower([lines("a:1\nb\n"), lines("\nb\nc"), change("d:4", "")], 1);
    let news = clock.run(follower.next(&clock)).unwrap().unwrap();
    assert_eq!(text(&news), "a:1");
    assert_eq!((news.rejected.len(), news.rejected[0].0), (1, 2));
    let error = clock.run(follower.next(&clock)).unwrap().unwrap_err();
    assert_eq!(error.kind(), NamingErrorKind::NoValidLine);
    assert_eq!(error.to_string(), "test://a: no valid line, at line 2: \"b\": port missing; write host:port");
    let news = clock.run(follower.next(&clock)).unwrap().unwrap();
    assert_eq!(text(&news), "a:1,d:4", "the last list stays");
}

#[test]
fn n2_a_source_that_panics_has_failed() {
    let clock = Clock::default();
    let mut follower = follower([Step::Panics, lines("a:1")], 1);
    let error = clock.run(follower.next(&clock)).unwrap().unwrap_err();
    assert_eq!(error.to_string(), "test://a: the source panicked");
    assert!(clock.run(follower.next(&clock)).unwrap().is_ok());
    assert!(clock.ms() >= 500);
}

#[test]
fn n2_a_pause_is_not_forgotten_by_dropping_the_future() {
    let clock = Clock::default();
    let mut follower = follower([Step::Fails, lines("a:1")], 1);
    assert!(clock.run(follower.next(&clock)).unwrap().is_err());
    {
        let mut dropped = pin!(follower.next(&clock));
        for _ in 0..3 {
            assert!(dropped.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
    }
    assert!(clock.run(follower.next(&clock)).unwrap().is_ok());
    assert!(clock.ms() >= 500);
}
