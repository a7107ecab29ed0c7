//! Running a model.

use std::fmt::Debug;
use std::sync::Arc as Plain;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use loom::sync::Arc;
use loom::thread;

use crate::atomic::STEPS;

/// A thread's stack, in words: a recorder is on it, with loom's books for each of its words.
const STACK: usize = 1 << 16;

/// Runs a model in all its interleavings, and says how many there were. The first that fails ends the program.
pub(crate) fn check(name: &str, model: fn()) {
    run(name, true, usize::MAX, model);
}

/// As [`check`], but with two preemptions at most: what takes many steps has too many interleavings with more.
pub(crate) fn check_long(name: &str, model: fn()) {
    run(name, true, 2, model);
}

/// As [`check_long`], and of what two threads do to different words only one order is tried: a walk through all buckets of
/// a recorder would have too many.
pub(crate) fn check_walks(name: &str, model: fn()) {
    run(name, false, 2, model);
}

fn run(name: &str, steps: bool, preemptions: usize, model: fn()) {
    STEPS.store(steps, Ordering::Relaxed);
    println!("{name}");
    let (count, start) = (Plain::new(AtomicUsize::new(0)), Instant::now());
    let counted = Plain::clone(&count);
    let mut builder = loom::model::Builder::new();
    builder.max_branches = 100_000;
    builder.preemption_bound = builder.preemption_bound.map(|bound| bound.min(preemptions));
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        joined(spawn(model));
    });
    println!("{:>9} interleavings in {} ms", count.load(Ordering::Relaxed), start.elapsed().as_millis());
}

/// Does all of it at once, the last on this thread, and answers what each has answered.
pub(crate) fn together<S: Debug + Send + Sync + 'static, T: Send + 'static, const N: usize>(
    shared: &Arc<S>,
    tasks: [fn(&S) -> T; N],
) -> Vec<T> {
    // Every word of it is made before any other thread knows of it.
    let _ = format!("{:?}", **shared);
    let (last, others) = tasks.split_last().expect("a task");
    let started = |task: &fn(&S) -> T| {
        let (shared, task) = (Arc::clone(shared), *task);
        spawn(move || task(&shared))
    };
    let others: Vec<_> = others.iter().map(started).collect();
    let last = last(shared);
    others.into_iter().map(joined).chain([last]).collect()
}

fn spawn<T: Send + 'static>(task: impl FnOnce() -> T + Send + 'static) -> thread::JoinHandle<T> {
    thread::Builder::new().stack_size(STACK).spawn(task).expect("loom's threads start")
}

fn joined<T>(thread: thread::JoinHandle<T>) -> T {
    thread.join().expect("a model's thread ends")
}
