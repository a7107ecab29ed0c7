//! How often calls of combined channels allocate, and how large their futures are.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use allocation_counter::measure;
use hedge_compose::hedge_core::drive::Timer;
use hedge_compose::hedge_core::outcome::Verdict;
use hedge_compose::hedge_core::time::Instant;
use hedge_compose::hedge_fleet::{CallOptions, Caller, Outcome, Report, Trace};
use hedge_compose::{Parallel, Selective};

/// A clock that stands still.
#[derive(Clone, Copy)]
struct Still;

impl Timer for Still {
    type Sleep = std::future::Pending<()>;

    fn now(&self) -> Instant {
        Instant::ZERO
    }

    fn sleep_until(&self, _: Instant) -> Self::Sleep {
        pending()
    }
}

/// A channel that answers when it is polled for the second time, and does not allocate.
#[derive(Clone, Copy)]
struct Quick;

struct Answer(Trace);

impl Outcome for Answer {
    fn trace(&self) -> &Trace {
        &self.0
    }

    fn verdict(&self) -> Verdict {
        Verdict::Accept
    }

    fn never_left(&self) -> bool {
        false
    }

    fn all_down(&self) -> bool {
        false
    }
}

struct PendingOnce(bool);

impl Future for PendingOnce {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        cx.waker().wake_by_ref();
        if std::mem::replace(&mut self.0, true) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Caller<u32> for Quick {
    type Reply = Answer;
    type Error = Answer;

    async fn call_with(&self, _: &u32, _: &CallOptions) -> Result<Answer, Answer> {
        PendingOnce(false).await;
        Ok(Answer(Trace::nowhere(Report::new(Instant::ZERO))))
    }
}

fn selective<C: Caller<u32> + Clone + 'static>(channel: C) -> Selective<C, Still> {
    let builder = Selective::builder(Still).seed(1).backup(Duration::from_millis(50)).on_end(|_| {});
    builder.channel("a", channel.clone()).channel("b", channel).build().unwrap()
}

/// How often a call allocates from its start to its end.
fn allocations(channel: &impl Caller<u32>) -> u64 {
    let options = CallOptions::new();
    let allocations = measure(|| {
        let mut future = pin!(channel.call_with(&7, &options));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(future.as_mut().poll(&mut cx).is_pending());
        while future.as_mut().poll(&mut cx).is_pending() {}
    });
    assert_eq!(allocations.count_current, 0, "what a call allocates is freed at its end");
    allocations.count_total
}

#[test]
fn x1_a_selective_call_allocates_nothing_beyond_its_sub_calls() {
    let one = selective(Quick);
    // The first time that a thread reads a list, arc-swap registers the thread, which allocates.
    allocations(&one);
    assert_eq!(allocations(&one), 0);
    assert_eq!(allocations(&selective(selective(Quick))), 0, "three levels of channels");
}

#[test]
fn x2_a_parallel_call_allocates_once_for_each_part_and_a_few_times_more() {
    let parallel = |parts: usize| {
        let mut builder = Parallel::builder(Still);
        for part in 0..parts {
            builder = builder.channel(format!("{part}"), Quick);
        }
        builder.build().unwrap()
    };
    allocations(&parallel(1));
    let [one, ten, hundred] = [1, 10, 100].map(|parts| allocations(&parallel(parts)));
    println!("1 part: {one} allocations, 10 parts: {ten}, 100 parts: {hundred}");
    assert_eq!((ten - one, hundred - ten), (9, 90));
    assert!(one <= 5, "{one}");
}

#[test]
fn x1_a_selective_future_has_room_for_two_sub_calls() {
    let (one, options) = (selective(Quick), CallOptions::new());
    let inner = size_of_val(&Quick.call_with(&7, &options));
    let level = size_of_val(&one.call_with(&7, &options));
    println!("a sub-call: {inner} bytes, a selective call over it: {level} bytes");
    assert!(level <= 3_072 + 2 * inner, "{level}");
}
