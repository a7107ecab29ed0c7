//! A table of cases for the rules X1 and X2. Each has a tree of channels, and what one call of it does.

use hedge_compose::hedge_core::policy::Idempotency;
use hedge_compose::hedge_fleet::{CallOptions, Caller};

use crate::tree::Tree;
use crate::world::Clock;

/// A rule, what the case shows, the tree, and what must happen: the reply or the kind of the error, the time of the
/// end, the starts of the leaves, and the leaves whose calls were dropped.
type Case = (&'static str, &'static str, &'static str, &'static str);

const SELECTIVE: &[Case] = &[
    // The first sub-channel, and no other one, as long as it answers.
    ("X1", "a call goes to one sub-channel", "s=sel{}(a=ok@5 b=ok@5)", "a @5: a@0"),
    ("X1", "one sub-channel is enough", "s=sel{}(a=ok@5)", "a @5: a@0"),
    ("X1", "without sub-channels there is no server", "s=sel{}()", "no_server @0: "),
    ("X1", "a fast answer needs no backup", "s=sel{backup=10}(a=ok@9 b=ok@1)", "a @9: a@0"),
    // Backup between two clusters, the second way of brpc's document.
    (
        "X1",
        "a backup goes to the other cluster and wins",
        "s=sel{backup=10}(a=never b=ok@3)",
        "b @13: a@0 b@10; dropped a",
    ),
    ("X1", "the loser of a backup is cancelled", "s=sel{backup=10}(a=ok@12 b=ok@9)", "a @12: a@0 b@10; dropped b"),
    (
        "X1",
        "a backup that fails leaves the first alone",
        "s=sel{backup=10 retry=1}(a=ok@30 b=fail@1)",
        "a @30: a@0 b@10",
    ),
    (
        "X1",
        "a backup delay after the deadline sends none",
        "s=sel{backup=10 timeout=8}(a=never b=ok@1)",
        "deadline @8: a@0; dropped a",
    ),
    ("X1", "one sub-channel gets no backup", "s=sel{backup=10}(a=ok@30)", "a @30: a@0"),
    (
        "X1",
        "a second backup follows",
        "s=sel{backup=10 backups=2 unlimited}(a=never b=never c=ok@5)",
        "c @25: a@0 b@10 c@20; dropped a b",
    ),
    (
        "X1",
        "both clusters hang: the deadline",
        "s=sel{backup=10 timeout=50}(a=never b=never)",
        "deadline @50: a@0 b@10; dropped a b",
    ),
    // Retries.
    ("X1", "a failure goes to another sub-channel", "s=sel{}(a=fail@2 b=ok@5)", "b @7: a@0 b@2"),
    (
        "X1",
        "a used one is not used again while another is left",
        "s=sel{}(a=fail@1,ok@1 b=fail@1 c=ok@5)",
        "c @7: a@0 b@1 c@2",
    ),
    ("X1", "when all were used, one is used again", "s=sel{}(a=fail@1,ok@1 b=fail@1)", "a @3: a@0 b@1 a@2"),
    ("X1", "retries end with the last failure", "s=sel{retry=1}(a=fail@1 b=fail@1)", "failed @2: a@0 b@1"),
    ("X1", "without retries the first failure is the end", "s=sel{retry=0}(a=fail@1 b=ok@1)", "failed @1: a@0"),
    ("X1", "an internal error of a server is not retried", "s=sel{}(a=wait@4 b=ok@1)", "failed @4: a@0"),
    ("X1", "an internal error leaves the backup alone", "s=sel{backup=3}(a=wait@4 b=ok@5)", "b @8: a@0 b@3"),
    ("X1", "what no server accepts ends the call", "s=sel{}(a=fatal@2 b=ok@1)", "fatal @2: a@0"),
    ("X1", "it ends a backup too", "s=sel{backup=1}(a=fatal@4 b=ok@9)", "fatal @4: a@0 b@1; dropped b"),
    ("X1", "a sub-channel without servers hands over at once", "s=sel{}(a=down b=ok@5)", "b @5: a@0 b@0"),
    ("X1", "all without servers", "s=sel{}(a=down b=down)", "failed @0: a@0 b@0"),
    // What may not be sent twice.
    ("X1", "what may have left is not sent again", "s=sel{once=}(a=fail@2 b=ok@1)", "failed @2: a@0"),
    ("X1", "what never left is sent again", "s=sel{once=}(a=refused@2 b=ok@1)", "b @3: a@0 b@2"),
    ("X1", "it has no backup", "s=sel{once= backup=1}(a=ok@9 b=ok@1)", "a @9: a@0"),
    (
        "X1",
        "the sub-channel knows that a request may not be sent twice",
        "s=sel{backup=1}(a=fail@9! b=ok@1!)",
        "failed @9: a@0",
    ),
    ("X1", "one that says so is enough", "s=sel{backup=1}(a=ok@9 b=ok@1!)", "a @9: a@0"),
    ("X1", "a nested one says so too", "s=sel{backup=1}(x=sel{}(a=fail@9!) z=ok@1)", "failed @9: a@0"),
    ("X1", "also if its own options say so", "s=sel{backup=1}(x=sel{once=}(a=fail@9) z=ok@1)", "failed @9: a@0"),
    (
        "X1",
        "a sub-call that may have left in any attempt has left",
        "s=sel{once=}(x=sel{retry=1}(a=fail@1 b=refused@1) z=ok@1)",
        "failed @1: a@0",
    ),
    (
        "X1",
        "a sub-call of which nothing left is sent to the next",
        "s=sel{once=}(x=sel{retry=1}(a=refused@1 b=refused@1) z=ok@1)",
        "z @3: a@0 b@1 z@2",
    ),
    // Deadlines.
    (
        "X1",
        "a sub-call runs under the deadline of the call",
        "s=sel{timeout=20}(x=sel{timeout=500}(a=never) z=ok@1)",
        "deadline @20: a@0; dropped a",
    ),
    ("X1", "its own timeout has no effect", "s=sel{timeout=50}(x=sel{timeout=5}(a=ok@30) z=ok@1)", "a @30: a@0"),
    (
        "X1",
        "a limit for one sub-call hands over",
        "s=sel{timeout=50 attempt=10}(a=never b=ok@1)",
        "b @11: a@0 b@10; dropped a",
    ),
    ("X1", "an answer at the deadline still wins", "s=sel{timeout=20}(a=ok@20)", "a @20: a@0"),
    ("X1", "a failure at the deadline is the deadline", "s=sel{timeout=20}(a=fail@20 b=ok@1)", "deadline @20: a@0"),
    // Nested.
    (
        "X1",
        "each level retries by itself",
        "s=sel{retry=1}(x=sel{retry=1}(a=fail@1 b=fail@1) y=sel{retry=1}(c=fail@1 d=ok@1))",
        "d @4: a@0 b@1 c@2 d@3",
    ),
    (
        "X1",
        "each level's limit bounds its starts",
        "s=sel{retry=1}(x=sel{retry=0}(a=fail@1 b=ok@1) y=sel{retry=0}(c=fail@1 d=ok@1))",
        "failed @2: a@0 c@1",
    ),
    ("X1", "a level has its own backup", "s=sel{}(x=sel{backup=5}(a=never b=ok@1) z=ok@1)", "b @6: a@0 b@5; dropped a"),
    (
        "X1",
        "both levels have a backup",
        "s=sel{backup=8}(x=sel{backup=5}(a=never b=never) y=sel{}(c=ok@1 d=ok@1))",
        "c @9: a@0 b@5 c@8; dropped a b",
    ),
    (
        "X1",
        "a lost sub-call is cancelled at every level",
        "s=sel{backup=3}(x=sel{}(p=sel{}(a=never)) z=ok@1)",
        "z @4: a@0 z@3; dropped a",
    ),
    (
        "X1",
        "a nested one whose servers are all down hands over",
        "s=sel{}(x=sel{}(a=down b=down) z=ok@1)",
        "z @1: a@0 b@0 z@0",
    ),
    ("X1", "an empty one hands over", "s=sel{}(x=sel{}() z=ok@1)", "z @1: z@0"),
    ("X1", "so does an empty parallel one", "s=sel{once=}(x=par{}() z=ok@1)", "z @1: z@0"),
    ("X1", "and one whose parts are all down", "s=sel{once=}(x=par{}(a=down b=down) z=ok@1)", "z @1: a@0 b@0 z@0"),
    (
        "X1",
        "one that may have left in one part has left",
        "s=sel{once=}(x=par{}(a=down b=fail) z=ok@1)",
        "failed @0: a@0 b@0",
    ),
    ("X1", "while one is down, a used one is used again", "s=sel{}(a=fail@1,ok@1 b=down)", "a @2: a@0 a@1 b@1"),
    (
        "X1",
        "a backup that finds its cluster down leaves the first alone",
        "s=sel{backup=10}(a=ok@30 b=down)",
        "a @30: a@0 b@10",
    ),
    ("X1", "a merge that fails is not tried elsewhere", "s=sel{}(x=par{badmerge=}(a=ok@1) z=ok@1)", "failed @1: a@0"),
    ("X1", "a mapper that refuses ends the call", "s=sel{}(x=par{refuse=0}(a=ok@1) z=ok@1)", "fatal @0: "),
    (
        "X1",
        "a parallel one as a cluster",
        "s=sel{}(x=par{fail=1}(a=ok@1 b=fail@2) y=par{}(c=ok@1 d=ok@2))",
        "c+d @4: a@0 b@0 c@2 d@2",
    ),
    (
        "X1",
        "a backup to a parallel one",
        "s=sel{backup=5}(a=never x=par{}(c=ok@1 d=ok@2))",
        "c+d @7: a@0 c@5 d@5; dropped a",
    ),
];

const PARALLEL: &[Case] = &[
    (
        "X2",
        "all at once, joined in the order of the sub-channels",
        "p=par{}(a=ok@9 b=ok@3 c=ok@5)",
        "a+b+c @9: a@0 b@0 c@0",
    ),
    ("X2", "one part", "p=par{}(a=ok@9)", "a @9: a@0"),
    ("X2", "without sub-channels", "p=par{}()", "no_channels[] @0: "),
    // fail_limit.
    ("X2", "some parts may fail", "p=par{}(a=ok@9 b=fail@3 c=ok@5)", "a+!fail+c @9: a@0 b@0 c@0"),
    ("X2", "all failed by default fails", "p=par{}(a=fail@2 b=fail@3)", "failed[!fail+!fail] @3: a@0 b@0"),
    ("X2", "one success is enough by default", "p=par{}(a=fail@2 b=fail@3 c=ok@1)", "!fail+!fail+c @3: a@0 b@0 c@0"),
    (
        "X2",
        "fail_limit ends it early and cancels the rest",
        "p=par{fail=1}(a=ok@9 b=fail@3 c=ok@1)",
        "failed[x+!fail+c] @3: a@0 b@0 c@0; dropped a",
    ),
    ("X2", "below fail_limit it goes on", "p=par{fail=2}(a=ok@9 b=fail@3 c=ok@1)", "a+!fail+c @9: a@0 b@0 c@0"),
    (
        "X2",
        "at fail_limit it ends",
        "p=par{fail=2}(a=fail@9 b=fail@3 c=never)",
        "failed[!fail+!fail+x] @9: a@0 b@0 c@0; dropped c",
    ),
    (
        "X2",
        "fail_limit is at most the number of parts",
        "p=par{fail=9}(a=fail@2 b=fail@3)",
        "failed[!fail+!fail] @3: a@0 b@0",
    ),
    (
        "X2",
        "a refused part is a failed part",
        "p=par{fail=1}(a=never b=refused@2)",
        "failed[x+!refused] @2: a@0 b@0; dropped a",
    ),
    ("X2", "a fatal part is a failed part", "p=par{}(a=ok@5 b=fatal@2)", "a+!fatal @5: a@0 b@0"),
    // success_limit.
    (
        "X2",
        "success_limit ends it early and cancels the rest",
        "p=par{success=1}(a=ok@9 b=ok@3 c=never)",
        "x+b+x @3: a@0 b@0 c@0; dropped a c",
    ),
    (
        "X2",
        "success_limit counts successes alone",
        "p=par{success=2}(a=ok@9 b=fail@3 c=ok@5 d=never)",
        "a+!fail+c+x @9: a@0 b@0 c@0 d@0; dropped d",
    ),
    (
        "X2",
        "both limits: the failures come first",
        "p=par{success=2 fail=1}(a=ok@9 b=fail@3 c=ok@5)",
        "failed[x+!fail+x] @3: a@0 b@0 c@0; dropped a c",
    ),
    (
        "X2",
        "both limits: the successes come first",
        "p=par{success=2 fail=1}(a=ok@1 b=fail@3 c=ok@2)",
        "a+x+c @2: a@0 b@0 c@0; dropped b",
    ),
    (
        "X2",
        "a success_limit that is not reached leaves it to fail_limit",
        "p=par{success=2}(a=ok@1 b=fail@3)",
        "a+!fail @3: a@0 b@0",
    ),
    ("X2", "a success_limit above the parts waits for all", "p=par{success=9}(a=ok@1 b=ok@3)", "a+b @3: a@0 b@0"),
    // The deadline.
    (
        "X2",
        "a part that is missing at the deadline fails the call",
        "p=par{timeout=20}(a=ok@1 b=never)",
        "deadline[a+?] @20: a@0 b@0; dropped b",
    ),
    (
        "X2",
        "also if too few have failed",
        "p=par{timeout=20 fail=2}(a=ok@1 b=fail@2 c=never)",
        "deadline[a+!fail+?] @20: a@0 b@0 c@0; dropped c",
    ),
    (
        "X2",
        "success_limit is reached before it",
        "p=par{timeout=20 success=1}(a=ok@1 b=never)",
        "a+x @1: a@0 b@0; dropped b",
    ),
    (
        "X2",
        "a sub-channel that reports the deadline is missing",
        "p=par{timeout=20}(a=ok@1 x=sel{}(b=never))",
        "deadline[a+?] @20: a@0 b@0; dropped b",
    ),
    (
        "X2",
        "all sub-channels report it",
        "p=par{timeout=20}(x=sel{}(a=never) y=sel{}(b=never))",
        "deadline[?+?] @20: a@0 b@0; dropped a b",
    ),
    ("X2", "an answer at the deadline still counts", "p=par{timeout=20}(a=ok@1 b=ok@20)", "a+b @20: a@0 b@0"),
    (
        "X2",
        "the timeout of a sub-channel has no effect",
        "p=par{timeout=50}(a=ok@1 x=sel{timeout=5}(b=ok@30))",
        "a+b @30: a@0 b@0",
    ),
    // The mapper.
    ("X2", "the mapper makes the request of each part", "p=par{skip=9}(a=ok@1 b=ok@2)", "a0+b1 @2: a@0 b@0"),
    ("X2", "the mapper leaves a part out", "p=par{skip=1}(a=ok@1 b=ok@2 c=ok@3)", "a0+-+c2 @3: a@0 c@0"),
    ("X2", "a part that is left out does not fail", "p=par{skip=1}(a=fail@1 b=ok@2)", "failed[!fail+-] @1: a@0"),
    ("X2", "the mapper leaves all out", "p=par{skip=0 skip=1}(a=ok@1 b=ok@2)", "skipped[-+-] @0: "),
    ("X2", "the mapper refuses, and nothing is sent", "p=par{refuse=1}(a=ok@1 b=ok@2)", "refused[-+-] @0: "),
    // The merger.
    ("X2", "a merger that fails fails the call", "p=par{badmerge=}(a=ok@1 b=ok@2)", "merge[a+b] @2: a@0 b@0"),
    ("X2", "it is not asked if the parts fail", "p=par{badmerge=}(a=fail@1)", "failed[!fail] @1: a@0"),
    // Nested.
    (
        "X2",
        "each part has its own retries",
        "p=par{}(x=sel{}(a=fail@1 b=ok@1) y=sel{}(c=ok@1 d=ok@1))",
        "b+c @2: a@0 c@0 b@1",
    ),
    (
        "X2",
        "each part has its own backup",
        "p=par{}(x=sel{backup=5}(a=never b=ok@1) c=ok@1)",
        "b+c @6: a@0 c@0 b@5; dropped a",
    ),
    (
        "X2",
        "a parallel one of parallel ones",
        "p=par{}(x=par{}(a=ok@1 b=fail@1) y=par{success=1}(c=ok@1 d=never))",
        "a+!fail+c+x @1: a@0 b@0 c@0 d@0; dropped d",
    ),
    (
        "X2",
        "a failed inner one is one failed part",
        "p=par{fail=2}(x=par{}(a=fail@1 b=fail@1) c=ok@3)",
        "!failed[!fail+!fail]+c @3: a@0 b@0 c@0",
    ),
    (
        "X2",
        "a missing part of an inner one is missing",
        "p=par{timeout=20}(x=par{}(a=ok@1 b=never) c=ok@3)",
        "deadline[?+c] @20: a@0 b@0 c@0; dropped b",
    ),
    (
        "X2",
        "a cancel reaches every level",
        "p=par{fail=1}(x=par{}(y=sel{}(a=never)) b=fail@3)",
        "failed[x+!fail] @3: a@0 b@0; dropped a",
    ),
];

/// A pushback that reaches the level above. `later` asks for a delay of 40 ms, `stop` says "do not retry", and `-here`
/// means that the pushback concerns only the server.
const PUSHBACK: &[Case] = &[
    (
        "X1",
        "what may not be sent again, by the servers, is not sent to another cluster",
        "s=sel{}(a=stop@2 b=ok@1)",
        "failed @2: a@0",
    ),
    ("X1", "it ends the backup too", "s=sel{backup=5}(a=stop@2 b=ok@1)", "failed @2: a@0"),
    ("X1", "a backup in flight may still win", "s=sel{backup=1}(a=stop@4 b=ok@9)", "b @10: a@0 b@1"),
    ("X1", "a delay does not hold another cluster back", "s=sel{}(a=later@2 b=ok@1)", "b @3: a@0 b@2"),
    ("X1", "nor does one of a server", "s=sel{}(a=later-here@2 b=ok@1)", "b @3: a@0 b@2"),
    ("X1", "nor does an end for one server", "s=sel{}(a=stop-here@2 b=ok@1)", "b @3: a@0 b@2"),
    ("X1", "once all were tried, the delay counts", "s=sel{}(a=later@2,ok@1 b=fail@1,ok@1)", "a @4: a@0 b@2 a@3"),
    ("X1", "the last failure's delay", "s=sel{}(a=fail@2,ok@1 b=later@1)", "a @44: a@0 b@2 a@43"),
    ("X1", "with one cluster, it always counts", "s=sel{}(a=later@2,ok@1)", "a @43: a@0 a@42"),
    ("X1", "an end for one server is the end of the only cluster", "s=sel{}(a=stop-here@2,ok@1)", "failed @2: a@0"),
    ("X1", "a delay allows no second sending", "s=sel{once=}(a=later@2 b=ok@1)", "failed @2: a@0"),
    ("X1", "an option makes it count for all clusters", "s=sel{service=}(a=later@2 b=ok@1)", "b @43: a@0 b@42"),
    ("X1", "a delay past the deadline is an end", "s=sel{timeout=30}(a=fail@2 b=later@1)", "failed @3: a@0 b@2"),
    (
        "X1",
        "the next start waits, whatever its kind",
        "s=sel{service= backup=10 backups=2 unlimited}(a=never b=later@3 c=ok@1)",
        "c @54: a@0 b@10 c@53; dropped a",
    ),
    ("X1", "an end goes up every level", "s=sel{}(x=sel{}(y=sel{}(a=stop@2 b=ok@1)) z=ok@1)", "failed @2: a@0"),
    ("X1", "a delay goes up every level", "s=sel{}(x=sel{retry=0}(y=sel{retry=0}(a=later@2,ok@1)))", "a @43: a@0 a@42"),
    (
        "X1",
        "a server's delay says nothing about the failure of another",
        "s=sel{}(x=sel{retry=1}(a=later-here@2 b=fail@1,ok@1))",
        "b @4: a@0 b@2 b@3",
    ),
    (
        "X1",
        "a part that may not be sent again ends the whole",
        "s=sel{}(x=par{}(a=stop@2 b=fail@5) z=ok@1)",
        "failed @5: a@0 b@0",
    ),
    (
        "X1",
        "if the other parts are enough, nothing ends",
        "s=sel{}(x=par{}(a=stop@2 b=ok@5) z=ok@1)",
        "!stop+b @5: a@0 b@0",
    ),
    (
        "X1",
        "what is left of a part's delay",
        "s=sel{}(x=par{}(a=later@2,ok@1 b=fail@20,ok@1))",
        "a+b @43: a@0 b@0 a@42 b@42",
    ),
    (
        "X1",
        "of a part's delay nothing may be left",
        "s=sel{}(x=par{}(a=later@2,ok@1 b=fail@50,ok@1))",
        "a+b @51: a@0 b@0 a@50 b@50",
    ),
];

fn check(cases: &[Case]) {
    let mut wrong = Vec::new();
    for (rule, what, text, expected) in cases {
        let clock = Clock::default();
        let tree = Tree::new(&clock, text);
        let options = CallOptions { idempotency: Idempotency::Unset, ..CallOptions::new() };
        let result = clock.run(tree.root.call_with(&String::new(), &options));
        let result = result.map_or_else(|error| error.kind, |reply| reply.text);
        let got = format!("{result} @{}: {}", clock.millis(), tree.events());
        assert!(tree.is_idle() && clock.sleeps() == 0, "{rule} {what}: counts are left");
        if got != *expected {
            wrong.push(format!("{rule} {what}\n  {text}\n  expected {expected}\n  got      {got}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn x1_cases_of_selective_channels() {
    check(SELECTIVE);
}

#[test]
fn x2_cases_of_parallel_channels() {
    check(PARALLEL);
}

#[test]
fn x1_r4_cases_of_pushbacks_one_level_up() {
    check(PUSHBACK);
}
