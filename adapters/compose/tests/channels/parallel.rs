//! What a table cannot show of parallel channels: mergers, results of parts, cancels, wake-ups and settings.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hedge_compose::hedge_core::outcome::Verdict;
use hedge_compose::hedge_core::policy::Idempotency;
use hedge_compose::hedge_fleet::{CallOptions, Caller, CancelToken, Outcome};
use hedge_compose::{
    BuildError, Collect, Concat, First, JsonArrays, JsonObjects, Mapped, Parallel, ParallelBuilder, ParallelCause,
    PartResult,
};

use crate::tree::Tree;
use crate::world::{Answer, Clock, Leaf, Said};

fn three(clock: &Clock, answers: [(Answer, u64); 3]) -> (ParallelBuilder<Leaf, Clock>, Vec<Leaf>) {
    let named = ["a", "b", "c"].into_iter().zip(answers);
    let leaves: Vec<_> = named.map(|(name, answer)| Leaf::new(clock, name, &[answer])).collect();
    let mut builder = Parallel::builder(clock.clone());
    for leaf in &leaves {
        builder = builder.channel(leaf.0.name.as_str(), leaf.clone());
    }
    (builder, leaves)
}

const OK: [(Answer, u64); 3] = [(Answer::Ok, 3), (Answer::Ok, 1), (Answer::Ok, 2)];

#[test]
fn x2_ready_mergers_join_in_the_order_of_the_sub_channels() {
    let clock = Clock::default();
    let request = String::from("!");
    let options = CallOptions::new();
    let bytes = three(&clock, OK).0.merger(Concat::new(|said: &Said| said.text.as_bytes())).build().unwrap();
    assert_eq!(**clock.run(bytes.call_with(&request, &options)).unwrap(), *b"a!b!c!");
    let owned = three(&clock, OK).0.build().unwrap();
    let reply = clock.run(owned.call_with(&request, &options)).unwrap();
    let texts = |parts: hedge_compose::Parts<Said, _>| {
        let text = |part: hedge_compose::Part<Said, _>| match part.result {
            PartResult::Reply(said) => said.text,
            _ => String::new(),
        };
        parts.into_vec().into_iter().map(text).collect::<Vec<_>>()
    };
    assert_eq!(texts(reply.into_inner().1), ["a!", "b!", "c!"]);
}

/// A reply that can be copied.
#[derive(Clone, Debug)]
struct Text(&'static str);

struct Says(&'static str);

impl Outcome for Text {
    fn trace(&self) -> &hedge_compose::hedge_fleet::Trace {
        unreachable!("nothing asks for the report")
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

impl Caller<()> for Says {
    type Reply = Text;
    type Error = hedge_compose::SelectiveError<Text, std::convert::Infallible>;

    async fn call_with(&self, (): &(), _: &CallOptions) -> Result<Text, Self::Error> {
        Ok(Text(self.0))
    }
}

fn saying(texts: &[&'static str]) -> ParallelBuilder<Says, Clock> {
    let mut builder = Parallel::builder(Clock::default());
    for (index, text) in texts.iter().enumerate() {
        builder = builder.channel(format!("p{index}"), Says(text));
    }
    builder
}

#[test]
fn x2_replies_are_collected_or_the_first_is_taken() {
    let clock = Clock::default();
    let all = saying(&["x", "y"]).merger(Collect).build().unwrap();
    let reply = clock.run(all.call_with(&(), &CallOptions::new())).unwrap();
    assert_eq!(reply.iter().map(|text| text.0).collect::<Vec<_>>(), ["x", "y"]);
    let first = saying(&["x", "y"]).success_limit(1).merger(First).build().unwrap();
    assert_eq!(clock.run(first.call_with(&(), &CallOptions::new())).unwrap().0, "x");
}

#[test]
fn x2_json_is_joined_and_what_cannot_be_joined_is_named() {
    let clock = Clock::default();
    fn text(text: &Text) -> &[u8] {
        text.0.as_bytes()
    }
    let arrays = |texts: &[&'static str]| {
        let merged = saying(texts).merger(JsonArrays::new(text)).build().unwrap();
        clock.run(merged.call_with(&(), &CallOptions::new())).map(|it| it.to_vec()).map_err(|it| it.to_string())
    };
    assert_eq!(serde_json::to_string(&arrays(&["[1,2]", "[]", "[3]"]).unwrap()).unwrap(), "[1,2,3]");
    let error = arrays(&["[1]", "{}"]).unwrap_err();
    assert!(error.starts_with("merging the replies: reply of p1: invalid type: map"), "{error}");
    let objects = |texts: &[&'static str]| {
        let merged = saying(texts).merger(JsonObjects::new(text)).build().unwrap();
        clock.run(merged.call_with(&(), &CallOptions::new())).map(|it| it.clone()).map_err(|it| it.to_string())
    };
    assert_eq!(
        serde_json::to_string(&objects(&[r#"{"a":1}"#, r#"{"b":[2]}"#]).unwrap()).unwrap(),
        r#"{"a":1,"b":[2]}"#
    );
    let error = objects(&[r#"{"a":1}"#, r#"{"a":2}"#]).unwrap_err();
    assert_eq!(error, r#"merging the replies: reply of p1: an earlier part has the member "a" too"#);
    let error = objects(&["{"]).unwrap_err();
    assert!(error.contains("reply of p0: EOF"), "{error}");
}

#[test]
fn x2_the_error_has_the_result_of_every_part() {
    let clock = Clock::default();
    let answers = [(Answer::Ok, 1), (Answer::Fail, 2), (Answer::Never, 0)];
    let (builder, leaves) = three(&clock, answers);
    let parallel = builder.fail_limit(1).build().unwrap();
    let error = clock.run(parallel.call_with(&String::new(), &CallOptions::new())).unwrap_err();
    assert!(matches!(error.cause(), ParallelCause::TooManyFailed { failed: 1, limit: 1 }));
    assert_eq!(error.to_string(), "failed after 2 ms: 1 of 3 parts, and the limit is 1; part 1 at b: fail");
    assert!(!error.never_left() && !error.all_down() && error.verdict() == Verdict::Retry);
    let [a, b, c] = &error.parts()[..] else { panic!("three parts") };
    assert!(matches!(&a.result, PartResult::Reply(said) if said.text == "a"));
    assert!(matches!(&b.result, PartResult::Failed(wrong) if wrong.kind == "fail"));
    assert!(matches!(c.result, PartResult::Cancelled));
    assert_eq!((leaves[2].dropped(), &*b.name), (1, "b"));
    let counters = parallel.counters();
    assert_eq!((counters.failed, counters.calls(), counters.attempts()), (1, 1, 1));
}

#[test]
fn x2_what_became_of_the_parts_says_what_became_of_the_call() {
    let clock = Clock::default();
    let run = |answers, limit| {
        let parallel = three(&clock, answers).0.fail_limit(limit).build().unwrap();
        let error = clock.run(parallel.call_with(&String::new(), &CallOptions::new())).unwrap_err();
        (error.verdict(), error.never_left(), error.all_down())
    };
    use Answer::{Down, Fail, Fatal, Ok, Refused};
    assert_eq!(run([(Down, 0), (Down, 0), (Down, 0)], 3), (Verdict::Retry, true, true));
    assert_eq!(run([(Down, 0), (Refused, 0), (Down, 0)], 3), (Verdict::Retry, true, false));
    assert_eq!(run([(Down, 1), (Ok, 0), (Down, 1)], 2), (Verdict::Retry, false, true));
    assert_eq!(run([(Fatal, 0), (Fatal, 0), (Fatal, 0)], 3), (Verdict::Fatal, false, false));
    assert_eq!(run([(Fatal, 0), (Fail, 0), (Fatal, 0)], 3), (Verdict::Retry, false, false));
}

#[test]
fn x2_a_parallel_channel_is_usable_while_too_few_sub_channels_are_down() {
    let clock = Clock::default();
    let usable = |down: usize, limit: Option<usize>| {
        let (mut builder, leaves) = three(&clock, OK);
        leaves.iter().take(down).for_each(|leaf| leaf.set_usable(false));
        if let Some(limit) = limit {
            builder = builder.fail_limit(limit);
        }
        Caller::<String>::has_usable_server(&builder.build().unwrap())
    };
    assert_eq!([0, 1, 2, 3].map(|down| usable(down, None)), [true, true, true, false]);
    assert_eq!([0, 1, 2, 3].map(|down| usable(down, Some(1))), [true, false, false, false]);
    let none = Parallel::<Leaf, _>::builder(clock.clone()).build().unwrap();
    assert!(!Caller::<String>::has_usable_server(&none));
}

#[test]
fn x2_a_request_may_be_sent_twice_only_if_every_part_may() {
    let clock = Clock::default();
    let leaf = |name, once| Leaf::with(&clock, name, &[(Answer::Ok, 0)], once);
    let builder = || Parallel::builder(clock.clone()).channel("a", leaf("a", false)).channel("b", leaf("b", true));
    let request = String::new();
    assert_eq!(builder().build().unwrap().idempotency(&request), Idempotency::NotIdempotent);
    let only_a = builder().map(|index, request: &String| match index {
        0 => Mapped::Borrowed(request),
        _ => Mapped::Skip,
    });
    assert_eq!(only_a.build().unwrap().idempotency(&request), Idempotency::Unset);
}

#[test]
fn x2_the_mapper_may_send_parts_of_another_type() {
    /// A request that cannot be copied.
    struct Batch(Vec<String>);
    let clock = Clock::default();
    let parallel = three(&clock, OK).0.map(|index, batch: &Batch| match batch.0.get(index) {
        Some(part) if part == "refuse" => Mapped::Refuse("no such thing".into()),
        Some(part) => Mapped::Borrowed(part),
        None => Mapped::Skip,
    });
    let parallel = parallel.merger(Concat::new(|said: &Said| said.text.as_bytes())).build().unwrap();
    let run = |parts: &[&str]| {
        let batch = Batch(parts.iter().map(ToString::to_string).collect());
        clock.run(parallel.call_with(&batch, &CallOptions::new()))
    };
    assert_eq!(**run(&["1", "2", "3"]).unwrap(), *b"a1b2c3");
    let reply = run(&["1", "2"]).unwrap();
    assert_eq!((&**reply, reply.parts().replies().count()), (&b"a1b2"[..], 2));
    let error = run(&["1", "refuse"]).unwrap_err();
    assert_eq!(error.to_string(), "refused by the mapper for b: no such thing");
    assert!(error.never_left() && error.verdict() == Verdict::Fatal);
    assert_eq!(error.parts().iter().filter(|part| matches!(part.result, PartResult::Skipped)).count(), 3);
    assert_eq!(run(&[]).unwrap_err().to_string(), "the mapper left every part out");
}

#[test]
fn x2_a_cancel_and_a_drop_end_every_part_l12() {
    let clock = Clock::default();
    let (builder, leaves) = three(&clock, [(Answer::Ok, 1), (Answer::Never, 0), (Answer::Fail, 99)]);
    let parallel = builder.build().unwrap();
    let token = CancelToken::new();
    let options = CallOptions { cancel: Some(token.clone()), ..CallOptions::new() };
    clock.at(30, move || token.cancel());
    let error = clock.run(parallel.call_with(&String::new(), &options)).unwrap_err();
    assert!(matches!(error.cause(), ParallelCause::Cancelled) && clock.millis() == 30);
    assert_eq!(error.to_string(), "cancelled after 30 ms");
    let results: Vec<_> = error.parts().iter().map(|part| matches!(part.result, PartResult::Cancelled)).collect();
    assert_eq!(results, [false, true, true]);
    assert!(clock.run_until(50, parallel.call_with(&String::new(), &CallOptions::new())).is_none());
    let dropped: Vec<_> = leaves.iter().map(Leaf::dropped).collect();
    assert_eq!((dropped, parallel.in_flight(), clock.sleeps()), (vec![0, 2, 2], 0, 0));
    assert_eq!(parallel.counters().cancelled, 2);
}

#[test]
fn x2_a_wake_up_polls_only_the_parts_that_were_woken() {
    let clock = Clock::default();
    let mut builder = Parallel::builder(clock.clone());
    let leaves: Vec<_> =
        (0..64).map(|index| Leaf::new(&clock, &format!("{index}"), &[(Answer::Ok, 1 + index)])).collect();
    for leaf in &leaves {
        builder = builder.channel(leaf.0.name.as_str(), leaf.clone());
    }
    let parallel = builder.build().unwrap();
    clock.run(parallel.call_with(&String::new(), &CallOptions::new())).unwrap();
    let polls: usize = leaves.iter().map(|leaf| leaf.0.polls.load(Ordering::SeqCst)).sum();
    assert_eq!(polls, 128, "each part is polled at its start and at its end");
}

#[test]
fn x2_limits_of_zero_are_refused() {
    let clock = Clock::default();
    let error = three(&clock, OK).0.fail_limit(0).build().unwrap_err();
    assert!(matches!(error, BuildError::ZeroLimit { limit: "fail_limit" }));
    assert_eq!(error.to_string(), "fail_limit is 0; write 1 or more, or leave it out");
    assert!(three(&clock, OK).0.success_limit(0).build().is_err());
    assert!(three(&clock, OK).0.timeout(Duration::ZERO).build().is_err());
    let parallel = three(&clock, [(Answer::Ok, 900); 3]).0.no_timeout().build().unwrap();
    assert!(clock.run(parallel.call_with(&String::new(), &CallOptions::new())).is_ok());
}

/// Takes so many milliseconds at its first poll, before its call starts.
struct Busy(Clock, u64, Leaf);

impl Caller<String> for Busy {
    type Reply = Said;
    type Error = crate::world::Wrong;

    async fn call_with(&self, request: &String, options: &CallOptions) -> Result<Said, Self::Error> {
        let said = self.2.call_with(request, options).await;
        self.0.set(self.0.millis() + self.1);
        said
    }
}

#[test]
fn x2_a_part_is_told_the_time_that_remains_at_its_start_l2() {
    let clock = Clock::default();
    let run = |busy| {
        let leaves = ["a", "b", "c"].map(|name| Leaf::new(&clock, name, &[(Answer::Ok, 0)]));
        let mut builder = Parallel::builder(clock.clone()).timeout(Duration::from_millis(100));
        for leaf in &leaves {
            builder = builder.channel(leaf.0.name.as_str(), Busy(clock.clone(), busy, leaf.clone()));
        }
        let result = clock.run(builder.build().unwrap().call_with(&String::new(), &CallOptions::new()));
        let timeouts = leaves.map(|leaf| leaf.0.timeouts.lock().unwrap().first().copied().flatten());
        (result.map(drop).map_err(|error| (error.kind(), error.parts().missing())), timeouts)
    };
    assert_eq!(run(30), (Ok(()), [Some(100), Some(70), Some(40)]));
    assert_eq!(run(60), (Err(("deadline", 1)), [Some(100), Some(40), None]), "nothing starts at the deadline");
}

#[test]
fn x2_retries_and_backups_in_the_options_do_not_repeat_the_fan_out() {
    let clock = Clock::default();
    let (builder, leaves) = three(&clock, [(Answer::Fail, 9); 3]);
    let parallel = builder.build().unwrap();
    let options = CallOptions { max_retry: Some(3), ..CallOptions::new().with_backup(Duration::from_millis(1)) };
    assert!(clock.run(parallel.call_with(&String::new(), &options)).is_err());
    assert!(leaves.iter().all(|leaf| leaf.starts().len() == 1));
}

#[test]
fn x4_the_report_of_a_parallel_call_is_a_tree() {
    let clock = Clock::default();
    let tree =
        Tree::new(&clock, "p=par{timeout=20 success=3}(a=ok@1 x=sel{backup=4}(b=never c=never) d=fail@2 e=never)");
    let error = clock.run(tree.root.call_with(&String::new(), &CallOptions::new())).unwrap_err();
    let report = error.tree();
    let text = report.to_string();
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("deadline passed after 20 ms;") && lines[0].ends_with("0.0 is p"), "{text}");
    assert!(lines[1].starts_with("  0 a: "), "{text}");
    assert!(lines[2].starts_with("  1 x: deadline passed after 20 ms;"), "{text}");
    assert_eq!(lines[3..5], ["    0 b: missing at the deadline", "    1 c: missing at the deadline"], "{text}");
    assert!(lines[5].starts_with("  2 d: "), "{text}");
    assert_eq!(lines[6], "  3 e: missing at the deadline", "{text}");
    assert_eq!((lines.len(), report.depth(), report.sub_calls().len()), (7, 2, 4));
}
