//! Partitions of one name, in virtual time.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use hedge_compose::hedge_core::drive::Timer as _;
use hedge_compose::hedge_core::time::Instant;
use hedge_compose::hedge_fleet::{
    CallOptions, Caller, LineError, Naming, NamingError, NamingErrorKind, Observer, Outcome, ServerChange, ServerRef,
    Update, parse_servers,
};
use hedge_compose::{
    BoxError, BuildError, DynamicPartition, Mapped, Parallel, ParallelBuilder, PartList, Partition, PartitionStatus,
    Parts, Unmapped,
};

use crate::tree::shown;
use crate::world::{Answer, Clock, Leaf, Said, Wrong};

/// The channel of a partition. It says which servers it has, or that it has none.
struct Listed {
    clock: Clock,
    list: PartList,
}

impl Caller<String> for Listed {
    type Reply = Said;
    type Error = Wrong;

    async fn call_with(&self, request: &String, options: &CallOptions) -> Result<Said, Wrong> {
        let servers = self.list.servers();
        let answer = if servers.is_empty() { Answer::Down } else { Answer::Ok };
        let ports: Vec<_> =
            servers.iter().map(|it| it.address.to_string().split(':').next_back().unwrap().to_owned()).collect();
        let name = format!("{}:{}", self.list.partition(), ports.join(","));
        Leaf::new(&self.clock, &name, &[(answer, 1)]).call_with(request, options).await
    }

    fn has_usable_server(&self) -> bool {
        !self.list.servers().is_empty()
    }
}

fn servers(text: &str) -> Vec<hedge_compose::hedge_fleet::Server> {
    parse_servers(&format!("list://{text}")).unwrap()
}

type Merge = fn(&Parts<Said, Wrong>) -> Result<String, BoxError>;
type Made = Parallel<Listed, Clock, Unmapped, Merge>;

fn shown_parts(parts: &Parts<Said, Wrong>) -> Result<String, BoxError> {
    Ok(shown(parts))
}

fn builder(clock: &Clock) -> ParallelBuilder<Listed, Clock, Unmapped, Merge> {
    Partition::builder(clock.clone()).merger(shown_parts as Merge)
}

fn three(clock: &Clock, fail_limit: usize) -> Partition<Made> {
    let of = |list| Ok::<_, BuildError>(Listed { clock: clock.clone(), list });
    builder(clock).fail_limit(fail_limit).partitions(3, of).unwrap()
}

fn call(
    clock: &Clock,
    channel: &impl Caller<String, Reply = impl std::ops::Deref<Target = String>, Error = impl std::fmt::Display>,
) -> String {
    match clock.run(channel.call_with(&String::new(), &CallOptions::new())) {
        Ok(reply) => reply.clone(),
        Err(error) => error.to_string(),
    }
}

fn warnings(status: &PartitionStatus) -> Vec<String> {
    status.warnings.iter().map(ToString::to_string).collect()
}

/// A list, the `fail_limit`, what a call gives, and what the warnings begin with.
type Case = (&'static str, &'static str, usize, &'static str, &'static [&'static str]);

const CASES: &[Case] = &[
    ("each partition has its servers", "h:1 0/3,h:2 1/3,h:3 2/3", 1, "0/3:1+1/3:2+2/3:3", &[]),
    ("a partition may have several", "h:1 0/3,h:2 1/3,h:3 2/3,h:4 0/3", 1, "0/3:1,4+1/3:2+2/3:3", &[]),
    ("the order of the list does not matter", "h:3 2/3,h:1 0/3,h:2 1/3", 1, "0/3:1+1/3:2+2/3:3", &[]),
    ("a server that is listed twice counts once", "h:1 0/3,h:1 0/3,h:2 1/3,h:3 2/3", 1, "0/3:1+1/3:2+2/3:3", &[]),
    ("a server may hold two partitions", "h:1 0/3,h:1 1/3,h:3 2/3", 1, "0/3:1+1/3:1+2/3:3", &[]),
    (
        "the partition may be a word among others",
        "h:1 zone=a 0/3 5,h:2 partition=1/3,h:3 2/3 canary",
        1,
        "0/3:1+1/3:2+2/3:3",
        &[],
    ),
    (
        "a missing partition fails its part",
        "h:1 0/3,h:3 2/3",
        2,
        "0/3:1+!down+2/3:3",
        &["1 of 3 partitions have no server: 1/3"],
    ),
    (
        "fail_limit decides about the call",
        "h:1 0/3,h:3 2/3",
        1,
        "failed after 1 ms: 1 of 3 parts, and the limit is 1; part 1 at 1/3: down",
        &["1 of 3 partitions have no server: 1/3"],
    ),
    (
        "an index that is not below the number",
        "h:1 0/3,h:2 1/3,h:3 2/3,h:4 3/3",
        1,
        "0/3:1+1/3:2+2/3:3",
        &["h:4 3/3: tag: partition must be i/n with i below n"],
    ),
    (
        "a number of partitions of 0",
        "h:1 0/3,h:2 1/3,h:3 2/3,h:4 0/0",
        1,
        "0/3:1+1/3:2+2/3:3",
        &["h:4 0/0: tag: partition must be i/n with i below n"],
    ),
    (
        "two partitions in one tag",
        "h:1 0/3,h:2 1/3,h:3 2/3,h:4 0/3 1/3",
        1,
        "0/3:1+1/3:2+2/3:3",
        &["h:4 0/3 1/3: tag: partition is stated twice"],
    ),
    (
        "no partition in a tag",
        "h:1 0/3,h:2 1/3,h:3 2/3,h:4,h:5 canary",
        1,
        "0/3:1+1/3:2+2/3:3",
        &["h:4: the tag names no partition", "h:5 canary: the tag names no partition"],
    ),
    (
        "another number of partitions",
        "h:1 0/3,h:2 1/3,h:3 2/3,h:4 0/4",
        1,
        "0/3:1+1/3:2+2/3:3",
        &["h:4 0/4: the channel has 3 partitions"],
    ),
    (
        "a number that is too large to count",
        "h:1 0/3,h:2 1/3,h:3 2/3,h:4 0/99999999999",
        1,
        "0/3:1+1/3:2+2/3:3",
        &["h:4 0/99999999999: tag: partition must be"],
    ),
    (
        "a weight that cannot be read",
        "h:1 0/3,h:2 1/3,h:3 2/3,h:4 0/3 weight=x",
        1,
        "0/3:1+1/3:2+2/3:3",
        &["h:4 0/3 weight=x: tag: weight must be"],
    ),
];

#[test]
fn x3_cases_of_partitions() {
    for (what, list, fail_limit, expected, warned) in CASES {
        let clock = Clock::default();
        let partition = three(&clock, *fail_limit);
        let status = partition.set_servers(servers(list));
        assert_eq!(call(&clock, &partition), *expected, "{what}: {list}");
        let warnings = warnings(&status);
        assert_eq!(warnings.len(), warned.len(), "{what}: {warnings:?}");
        assert!(warnings.iter().zip(*warned).all(|(got, expected)| got.starts_with(expected)), "{what}: {warnings:?}");
        assert_eq!(partition.status(), status);
    }
}

#[test]
fn x3_partitions_follow_the_list_and_keep_what_stays() {
    let clock = Clock::default();
    let partition = three(&clock, 3);
    assert_eq!(call(&clock, &partition), "failed after 1 ms: 3 of 3 parts, and the limit is 3; part 0 at 0/3: down");
    assert!(!Caller::<String>::has_usable_server(&partition));
    partition.set_servers(servers("h:1 0/3,h:2 1/3,h:3 2/3"));
    assert_eq!(call(&clock, &partition), "0/3:1+1/3:2+2/3:3");
    partition.set_servers(servers("h:1 0/3,h:2 2/3,h:3 2/3"));
    assert_eq!(call(&clock, &partition), "0/3:1+!down+2/3:2,3");
    partition.set_servers(Vec::new());
    assert!(!Caller::<String>::has_usable_server(&partition));
}

#[test]
fn x3_a_list_of_a_partition_is_news_once_n3() {
    let clock = Clock::default();
    let lists = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&lists);
    let partition = Partition::new(2, move |made| {
        kept.lock().unwrap().extend(made);
        Ok::<_, BuildError>(())
    });
    let partition = partition.unwrap();
    let mut lists = std::mem::take(&mut *lists.lock().unwrap());
    let mut next = |index: usize| {
        let list: &mut PartList = &mut lists[index];
        let update = clock.run_until(clock.millis() + 1, list.next());
        update.map(|update| match update.unwrap() {
            Update::Reset { servers, .. } => servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            Update::Change { .. } => panic!("whole lists"),
        })
    };
    assert_eq!(next(0), None, "there is no list before the first");
    partition.set_servers(servers("h:1 0/2"));
    assert_eq!((next(0).as_deref(), next(1).as_deref()), (Some("h:1 0/2"), Some("")));
    partition.set_servers(servers("h:1 0/2,h:2 1/2"));
    assert_eq!((next(0), next(1).as_deref()), (None, Some("h:2 1/2")), "what has not changed is no news");
    // A future that is dropped loses nothing, and a waiting one is woken.
    let set = partition.clone();
    clock.at(clock.millis() + 5, move || drop(set.set_servers(Vec::new())));
    let update = clock.run(lists[0].next()).unwrap();
    assert!(matches!(update, Update::Reset { servers, .. } if servers.is_empty()));
}

#[test]
fn x3_a_mapper_gets_the_index_of_the_partition() {
    let clock = Clock::default();
    let of = |list| Ok::<_, BuildError>(Listed { clock: clock.clone(), list });
    let builder = Partition::<Parallel<Listed, Clock>>::builder(clock.clone());
    let builder = builder.map(|index, keys: &Vec<String>| match keys.iter().find(|key| key.len() % 2 == index) {
        Some(key) => Mapped::Borrowed(key),
        None => Mapped::Skip,
    });
    let partition = builder.merger(shown_parts).partitions(2, of).unwrap();
    partition.set_servers(servers("h:1 0/2,h:2 1/2"));
    let run = |keys: &[&str]| {
        let keys: Vec<_> = keys.iter().map(ToString::to_string).collect();
        clock.run(partition.call_with(&keys, &CallOptions::new())).map(|reply| reply.clone()).unwrap()
    };
    assert_eq!(run(&["aa", "b"]), "0/2:1aa+1/2:2b");
    assert_eq!(run(&["b"]), "-+1/2:2b");
}

#[test]
fn x3_a_number_of_partitions_has_limits_and_an_error_of_the_program_is_told() {
    let new = |count| Partition::new(count, |_| Ok::<_, BuildError>(())).map(drop).map_err(|error| error.to_string());
    assert_eq!(new(0).unwrap_err(), "0 partitions; write a number from 1 to 65536");
    assert!(new(65_537).is_err() && new(65_536).is_ok());
    let clock = Clock::default();
    let failing = |list: PartList| {
        if list.partition().index() == 1 { Err("no channel") } else { Ok(Listed { clock: clock.clone(), list }) }
    };
    let error = builder(&clock).partitions(2, failing).unwrap_err();
    assert_eq!(error.to_string(), "channel of a partition: no channel");
}

fn dynamic(clock: &Clock, seed: u64) -> DynamicPartition<Made, Clock> {
    let clock = clock.clone();
    DynamicPartition::builder(clock.clone())
        .seed(seed)
        .partitions(move |count: NonZeroU32, lists| {
            let mut parallel = builder(&clock).fail_limit(1);
            for list in lists {
                if count.get() == 13 {
                    return Err("thirteen".into());
                }
                let name = list.partition().to_string();
                parallel = parallel.channel(name, Listed { clock: clock.clone(), list });
            }
            parallel.build().map_err(BoxError::from)
        })
        .unwrap()
}

/// Makes calls, and counts by the number of partitions that has answered.
fn spread(clock: &Clock, channel: &DynamicPartition<Made, Clock>, calls: usize) -> BTreeMap<String, usize> {
    let mut spread = BTreeMap::new();
    for _ in 0..calls {
        let reply = clock.run(channel.call_with(&String::new(), &CallOptions::new()));
        let answered = reply.map_or_else(|error| error.kind().into(), |reply| reply.channel().unwrap().to_string());
        *spread.entry(answered).or_insert(0) += 1;
    }
    spread
}

#[test]
fn x3_calls_are_spread_over_the_numbers_of_partitions_by_their_servers() {
    let clock = Clock::default();
    let channel = dynamic(&clock, 7);
    let status = channel.set_servers(servers("h:1 0/1,h:2 0/2,h:3 1/2,h:4 1/2"));
    assert!(status.groups.iter().all(|group| group.is_complete) && status.warnings.is_empty());
    let got = spread(&clock, &channel, 2_000);
    assert!((400..600).contains(&got["1"]) && got["1"] + got["2"] == 2_000, "a quarter and the rest: {got:?}");
    // A server more changes the shares.
    channel.set_servers(servers("h:1 0/1,h:5 0/1,h:6 0/1,h:2 0/2,h:3 1/2,h:4 1/2"));
    let got = spread(&clock, &channel, 2_000);
    assert!((900..1_100).contains(&got["1"]), "one half: {got:?}");
}

#[test]
fn x3_an_incomplete_number_of_partitions_gets_no_calls() {
    let clock = Clock::default();
    let channel = dynamic(&clock, 7);
    assert_eq!(spread(&clock, &channel, 1), [("no_server".into(), 1)].into());
    let status = channel.set_servers(servers("h:1 0/2,h:2 0/3,h:3 1/3,h:4 2/3,h:5 6/7"));
    assert_eq!(
        warnings(&status),
        ["1 of 2 partitions have no server: 1/2", "6 of 7 partitions have no server: 0/7, 1/7, 2/7, 3/7, 4/7, 5/7"]
    );
    assert_eq!(spread(&clock, &channel, 20), [("3".into(), 20)].into());
    // The data is split anew: first both are complete, then the old one goes.
    channel.set_servers(servers("h:1 0/2,h:2 0/3,h:3 1/3,h:4 2/3,h:5 1/2"));
    assert_eq!(spread(&clock, &channel, 60).len(), 2);
    channel.set_servers(servers("h:1 0/2,h:4 2/3,h:5 1/2"));
    assert_eq!(spread(&clock, &channel, 20), [("2".into(), 20)].into());
    channel.set_servers(Vec::new());
    assert_eq!(spread(&clock, &channel, 1), [("no_server".into(), 1)].into());
    assert!(!Caller::<String>::has_usable_server(&channel));
}

#[test]
fn x3_a_call_goes_on_while_the_list_changes_l20() {
    let clock = Clock::default();
    let channel = dynamic(&clock, 7);
    channel.set_servers(servers("h:1 0/1"));
    let changed = channel.clone();
    let set = changed.clone();
    // In the middle of the call, which takes a millisecond.
    clock.at(0, move || drop(set.set_servers(servers("h:2 0/2,h:3 1/2"))));
    let reply = clock.run(channel.call_with(&String::new(), &CallOptions::new())).unwrap();
    assert_eq!((reply.as_str(), reply.tree().depth()), ("0/1:1", 3));
    assert_eq!(spread(&clock, &changed, 5), [("2".into(), 5)].into());
    let names = channel.selective().names();
    assert_eq!(names.iter().map(|name| channel.selective().in_flight(name)).sum::<u32>(), 0);
}

#[test]
fn x3_a_number_of_partitions_that_cannot_be_made_is_named() {
    let clock = Clock::default();
    let channel = dynamic(&clock, 7);
    let list: Vec<_> = (0..13).map(|index| format!("h:{} {index}/13", index + 1)).collect();
    let status = channel.set_servers(servers(&format!("{},h:99 0/1", list.join(","))));
    assert_eq!(warnings(&status), ["the channel of 13 partitions was not made: thirteen"]);
    assert_eq!(spread(&clock, &channel, 5), [("1".into(), 5)].into());
}

/// A source of scripted answers, one every 10 ms.
struct Script(Clock, VecDeque<Result<&'static str, ()>>);

impl Naming for Script {
    async fn next(&mut self) -> Result<Update, NamingError> {
        let at = Instant::from_millis(self.0.millis() + 10);
        self.0.sleep_until(at).await;
        match self.1.pop_front() {
            Some(Ok(list)) => {
                let (servers, rejected): (Vec<_>, Vec<(usize, LineError)>) = (servers(list), Vec::new());
                Ok(Update::Reset { servers, rejected })
            }
            Some(Err(())) => Err(NamingError::new("script", NamingErrorKind::Panicked)),
            None => poll_fn(|_| Poll::Pending).await,
        }
    }
}

#[test]
fn x3_a_channel_follows_a_source_and_keeps_the_last_list_n2() {
    let clock = Clock::default();
    let partition = three(&clock, 3);
    let answers = [Ok("h:1 0/3,h:2 1/3,h:3 2/3"), Err(()), Ok("h:9 0/3,h:2 1/3,h:3 2/3")];
    let mut follow = Box::pin(partition.follow(clock.clone(), "script", Script(clock.clone(), answers.into())));
    let run = |follow: Pin<&mut dyn Future<Output = ()>>, until| assert!(clock.run_until(until, follow).is_none());
    run(follow.as_mut(), 15);
    assert_eq!(call(&clock, &partition), "0/3:1+1/3:2+2/3:3");
    run(follow.as_mut(), 100);
    assert!(partition.status().source_error.is_some_and(|error| error.contains("script")));
    assert_eq!(call(&clock, &partition), "0/3:1+1/3:2+2/3:3", "the last list stays");
    run(follow.as_mut(), 2_000);
    assert_eq!(call(&clock, &partition), "0/3:9+1/3:2+2/3:3");
    assert_eq!(partition.status().source_error, None);
    let channel = dynamic(&clock, 1);
    let mut follow = Box::pin(channel.follow(clock.clone(), "script", Script(clock.clone(), [Ok("h:1 0/1")].into())));
    run(follow.as_mut(), 2_500);
    assert_eq!(spread(&clock, &channel, 3), [("1".into(), 3)].into());
}

#[test]
fn x3_what_is_woken_by_a_list_may_ask_for_the_status() {
    /// Asks for the status whenever it is told or woken.
    #[derive(Default)]
    struct Asks(Mutex<Option<Box<dyn Fn() -> usize + Send + Sync>>>, AtomicUsize);
    impl Asks {
        fn ask(&self) {
            let ask = self.0.lock().unwrap();
            self.1.fetch_add(ask.as_ref().map_or(0, |ask| 1 + ask()), Ordering::SeqCst);
        }
    }
    impl Observer for Asks {
        fn server_changed(&self, _: &ServerRef<'_>, _: ServerChange) {
            self.ask();
        }
    }
    impl Wake for Asks {
        fn wake(self: Arc<Self>) {
            self.ask();
        }
    }
    let clock = Clock::default();
    let asks = Arc::<Asks>::default();
    let builder = DynamicPartition::builder(clock.clone()).observer(Arc::clone(&asks) as Arc<dyn Observer>);
    let channel = builder.partitions(|_, mut lists| lists.pop().ok_or("no lists")).unwrap();
    let other = channel.clone();
    *asks.0.lock().unwrap() = Some(Box::new(move || other.status().groups.len()));
    channel.set_servers(servers("h:1 0/1"));
    assert_eq!(
        asks.1.load(Ordering::SeqCst),
        1,
        "it is told of one sub-channel, before the status of the list is there"
    );

    let mut lists = Vec::new();
    let partition = Partition::new(1, |made| {
        lists = made;
        Ok::<_, BuildError>(())
    });
    let partition = partition.unwrap();
    let asks = Arc::<Asks>::default();
    let other = partition.clone();
    *asks.0.lock().unwrap() = Some(Box::new(move || other.status().groups.len()));
    let waker = Waker::from(Arc::clone(&asks));
    let mut next = Box::pin(lists[0].next());
    assert!(next.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    partition.set_servers(servers("h:1 0/1"));
    assert_eq!((asks.1.load(Ordering::SeqCst), partition.status().groups.len()), (1, 1));
}
