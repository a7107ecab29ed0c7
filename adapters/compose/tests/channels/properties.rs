//! Properties of random trees of channels, up to three levels of channels of channels, with faults and cancels.

use std::fmt::Write as _;

use hedge_compose::hedge_fleet::{CallOptions, Caller, CancelToken, Outcome, SubCall, SubEnd};

use crate::tree::Tree;
use crate::world::Clock;

/// How many trees each test makes.
const TREES: u64 = 600;

/// Makes a random channel as text. Returns how many calls of leaves one call of it can make at most.
fn channel(random: &mut fastrand::Rng, levels: usize, names: &mut usize, text: &mut String) -> u64 {
    *names += 1;
    let name = *names;
    if levels == 0 || (levels < 3 && random.u8(..4) == 0) {
        let answers =
            ["ok", "ok", "ok", "fail", "refused", "wait", "fatal", "down", "never", "stop", "later", "later-here"];
        let steps: Vec<_> = (0..random.usize(1..4))
            .map(|_| format!("{}@{}", random.choice(answers).unwrap(), random.u8(..40)))
            .collect();
        let once = if random.u8(..10) == 0 { "!" } else { "" };
        write!(text, "n{name:03}={}{once}", steps.join(",")).unwrap();
        return 1;
    }
    let count = random.usize(1..4);
    if random.bool() {
        let retry = random.u8(..4);
        write!(text, "n{name:03}=sel{{retry={retry} timeout={}", random.u8(20..150)).unwrap();
        if random.bool() {
            write!(text, " backup={} backups={} unlimited", random.u8(1..30), random.u8(1..4)).unwrap();
        }
        if random.u8(..4) == 0 {
            write!(text, " attempt={}", random.u8(5..60)).unwrap();
        }
        if random.u8(..10) == 0 {
            text.push_str(" once=");
        }
        text.push_str("}(");
        let most = (0..count).map(|_| sub(random, levels, names, text)).max().unwrap_or(0);
        text.push(')');
        return (1 + u64::from(retry)) * most;
    }
    write!(text, "n{name:03}=par{{timeout={}", random.u8(20..150)).unwrap();
    for limit in ["fail", "success"] {
        if random.u8(..3) == 0 {
            write!(text, " {limit}={}", random.u8(1..4)).unwrap();
        }
    }
    if random.u8(..6) == 0 {
        write!(text, " skip={}", random.usize(..count)).unwrap();
    }
    if random.u8(..20) == 0 {
        text.push_str(" badmerge=");
    }
    text.push_str("}(");
    let all = (0..count).map(|_| sub(random, levels, names, text)).sum();
    text.push(')');
    all
}

fn sub(random: &mut fastrand::Rng, levels: usize, names: &mut usize, text: &mut String) -> u64 {
    let most = channel(random, levels - 1, names, text);
    text.push(' ');
    most
}

/// Makes a random tree of three levels for each seed, and one to three calls of each. Some calls are cancelled or
/// dropped. `check` gets the seed and the text, the tree, and the number of calls of leaves that are allowed in all.
fn trees(check: impl Fn(&str, &Clock, &Tree, u64)) {
    let first = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    for seed in first..first + TREES {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut names, mut text) = (0, String::new());
        let most = channel(&mut random, 3, &mut names, &mut text);
        let clock = Clock::default();
        let tree = Tree::new(&clock, &text);
        let calls = random.u64(1..4);
        for _ in 0..calls {
            one_call(&mut random, &clock, &tree, &format!("seed {seed}: {text}"));
        }
        check(&format!("seed {seed}: {text}"), &clock, &tree, most * calls);
    }
}

/// Makes one call, and checks what can be told of one call.
fn one_call(random: &mut fastrand::Rng, clock: &Clock, tree: &Tree, text: &str) {
    let started = clock.millis();
    let before: Vec<_> = tree.leaves.iter().map(|leaf| leaf.starts().len()).collect();
    let timeout = random.u64(5..120);
    let mut options = CallOptions::new().with_timeout(std::time::Duration::from_millis(timeout));
    let deadline = started + timeout;
    let request = String::new();
    let until = if random.u8(..4) == 0 { started + random.u64(..60) } else { u64::MAX };
    if random.u8(..4) == 0 {
        let token = CancelToken::new();
        options.cancel = Some(token.clone());
        clock.at(started + random.u64(..60), move || token.cancel());
    }
    if let Some(result) = clock.run_until(until, tree.root.call_with(&request, &options)) {
        let report = result.as_ref().map_or_else(Outcome::tree, Outcome::tree);
        assert!(!report.to_string().is_empty() && report.depth() <= 4, "{text}");
        assert!(report.sub_calls().iter().all(is_whole), "{text}\n{report}");
        assert!(clock.millis() <= deadline, "{text}: it ended at {}, and its deadline was {deadline}", clock.millis());
    }
    for (leaf, before) in tree.leaves.iter().zip(before) {
        let timeouts = leaf.0.timeouts.lock().unwrap();
        for (at, timeout) in leaf.starts().iter().zip(&*timeouts).skip(before) {
            assert!(*at < deadline, "{text}: {} started at {at}, and the deadline was {deadline}", leaf.0.name);
            assert!(timeout.is_some_and(|timeout| timeout > 0 && at + timeout <= deadline), "{text}");
        }
    }
    assert!(tree.is_idle(), "{text}: counts are left");
    assert_eq!(clock.sleeps(), 0, "{text}: timers are left");
}

/// Whether the report of a sub-call that has ended says how, unless it is the report of a scripted leaf.
fn is_whole(sub: &SubCall) -> bool {
    match &sub.end {
        SubEnd::Ended(tree) => {
            let is_leaf = tree.sub_calls().is_empty() && tree.trace().attempts().is_empty();
            (is_leaf || tree.trace().end().is_some()) && tree.sub_calls().iter().all(is_whole)
        }
        _ => true,
    }
}

#[test]
fn x1_random_trees_end_every_call_once_and_start_no_more_than_the_product_of_their_levels() {
    trees(|text, _, tree, most| {
        let starts: u64 = tree.leaves.iter().map(|leaf| leaf.starts().len() as u64).sum();
        assert!(starts <= most, "{text}: {starts} calls of leaves, and {most} are allowed");
        for level in &tree.levels {
            let (ended, attempts) = (level.calls)();
            let begun = level.begun.load(std::sync::atomic::Ordering::SeqCst) as u64;
            assert_eq!(ended, begun, "{text}: {} calls of {} ended, and {begun} began", ended, level.name);
            assert!(attempts <= ended * level.per_call as u64, "{text}: {} has made {attempts} attempts", level.name);
        }
    });
}

#[test]
fn x1_random_trees_do_the_same_again() {
    use std::sync::Mutex;
    let runs = [Mutex::new(Vec::new()), Mutex::new(Vec::new())];
    for run in &runs {
        trees(|_, clock, tree, _| run.lock().unwrap().push(format!("{} {}", clock.millis(), tree.events())));
    }
    assert_eq!(*runs[0].lock().unwrap(), *runs[1].lock().unwrap());
}
