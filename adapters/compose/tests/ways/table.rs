//! Cases for all ways, each with its rule. What happens in a call is the same in every way.

use std::sync::mpsc;
use std::thread;

use hedge_compose::{Ended, Handle, WayError};
use hedge_core::outcome::End;
use hedge_fleet::{CallOptions, CancelToken};

use crate::board::Board;
use crate::service::Does::{self, Answers, Panics, Refuses};
use crate::service::{Result, TestWays, ways};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Callback,
    Inline,
    Blocking,
    SemiSync,
}

const WAYS: [Way; 4] = [Way::Callback, Way::Inline, Way::Blocking, Way::SemiSync];

/// What happens to a call from outside.
#[derive(Clone, Copy, Debug)]
enum Event {
    Cancel,
    /// Another thread cancels, and is joined.
    CancelElsewhere,
    /// The caller's own token is raised.
    CancelToken,
    /// The runtime ends.
    RuntimeEnds,
    /// The last channel outside of calls is dropped.
    ChannelDropped,
}

/// What the program gets, and after how many milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Gets {
    Reply(u64),
    Failure(End, u64),
    NoRuntime,
    Panicked,
}

struct Case {
    name: &'static str,
    rule: &'static str,
    servers: u16,
    does: &'static [Does],
    timeout: u64,
    backup: Option<u64>,
    /// At which millisecond what happens. The events at 0 happen before the call starts.
    events: &'static [(u64, Event)],
    gets: Gets,
}

const CASE: Case = Case {
    name: "",
    rule: "W1",
    servers: 3,
    does: &[Answers(5)],
    timeout: 100,
    backup: None,
    events: &[],
    gets: Gets::Reply(5),
};

const CASES: &[Case] = &[
    Case { name: "an answer", ..CASE },
    Case { name: "an answer at once", does: &[Answers(0)], gets: Gets::Reply(0), ..CASE },
    Case {
        name: "one server that refuses at once",
        servers: 1,
        does: &[Refuses(0)],
        timeout: 0,
        gets: Gets::Failure(End::Deadline, 0),
        rule: "L2",
        ..CASE
    },
    Case { name: "no server", servers: 0, gets: Gets::Failure(End::NoServer, 0), ..CASE },
    Case { name: "all servers refuse at once", does: &[Refuses(0)], gets: Gets::Failure(End::Failed, 0), ..CASE },
    Case { name: "a retry", does: &[Refuses(3), Answers(4)], gets: Gets::Reply(7), rule: "L3", ..CASE },
    Case {
        name: "a backup",
        does: &[Answers(90), Answers(4)],
        backup: Some(10),
        gets: Gets::Reply(14),
        rule: "L4",
        ..CASE
    },
    Case {
        name: "the deadline",
        does: &[Answers(90)],
        timeout: 20,
        gets: Gets::Failure(End::Deadline, 20),
        rule: "L2",
        ..CASE
    },
    Case {
        name: "cancelled before the start",
        events: &[(0, Event::Cancel)],
        gets: Gets::Failure(End::Cancelled, 0),
        rule: "L12",
        ..CASE
    },
    Case {
        name: "cancelled while it runs",
        events: &[(3, Event::Cancel)],
        gets: Gets::Failure(End::Cancelled, 3),
        rule: "L12",
        ..CASE
    },
    Case {
        name: "cancelled by another thread",
        events: &[(4, Event::CancelElsewhere)],
        gets: Gets::Failure(End::Cancelled, 4),
        rule: "L12",
        ..CASE
    },
    Case {
        name: "cancelled twice",
        events: &[(2, Event::Cancel), (3, Event::Cancel)],
        gets: Gets::Failure(End::Cancelled, 2),
        rule: "L12",
        ..CASE
    },
    Case { name: "cancelled after its end", events: &[(6, Event::Cancel)], ..CASE },
    Case { name: "cancelled in the millisecond of its answer", events: &[(5, Event::Cancel)], rule: "L1", ..CASE },
    Case {
        name: "cancelled while a backup runs",
        does: &[Answers(90)],
        backup: Some(10),
        events: &[(15, Event::Cancel)],
        gets: Gets::Failure(End::Cancelled, 15),
        rule: "L12",
        ..CASE
    },
    Case {
        name: "the caller's own token",
        events: &[(3, Event::CancelToken)],
        gets: Gets::Failure(End::Cancelled, 3),
        rule: "L12",
        ..CASE
    },
    Case { name: "no runtime", events: &[(0, Event::RuntimeEnds)], gets: Gets::NoRuntime, ..CASE },
    Case { name: "the runtime ends first", events: &[(3, Event::RuntimeEnds)], gets: Gets::NoRuntime, ..CASE },
    Case { name: "the runtime ends later", events: &[(6, Event::RuntimeEnds)], ..CASE },
    Case { name: "the transport panics", does: &[Panics], gets: Gets::Panicked, ..CASE },
    Case { name: "a retry panics", does: &[Refuses(3), Panics], gets: Gets::Panicked, ..CASE },
    Case { name: "the channel is dropped while the call runs", events: &[(2, Event::ChannelDropped)], ..CASE },
];

#[test]
fn w1_every_way_has_the_same_results() {
    assert!(CASES.len() >= 15);
    for case in CASES {
        for way in WAYS {
            println!("{} ({way:?}): {}", case.rule, case.name);
            let (gets, ended) = run(case, way);
            assert_eq!((gets, ended), (case.gets, Ended::Completed), "{} ({way:?})", case.name);
        }
    }
}

fn run(case: &Case, way: Way) -> (Gets, Ended) {
    let board = Board::default();
    let mut channel = Some(ways(&board, case.servers));
    let token = CancelToken::new();
    let mut options = CallOptions::new().with_timeout(std::time::Duration::from_millis(case.timeout));
    options.backup =
        case.backup.map(|millis| hedge_core::policy::BackupDelay::after(std::time::Duration::from_millis(millis)));
    options.cancel = Some(token.clone());
    let call = channel.as_ref().unwrap().call_with(case.does.to_vec(), options);
    let handle = call.handle();
    assert_eq!(handle.ended(), None);
    let events_at = |at| case.events.iter().filter(move |event| event.0 == at);
    for (_, event) in events_at(0) {
        happens(*event, &handle, &token, &board, &mut channel);
    }
    let (result, results) = mpsc::channel();
    match way {
        Way::Callback => drop(call.callback(move |got| result.send(got).unwrap())),
        Way::Inline => drop(call.callback_inline(move |got| result.send(got).unwrap())),
        Way::Blocking => {
            let waits = thread::spawn(move || result.send(call.wait()).unwrap());
            if !matches!(case.gets, Gets::NoRuntime) || case.events[0].0 > 0 {
                board.spawned(1);
            }
            drop(waits);
        }
        Way::SemiSync => {
            let started = call.start();
            thread::spawn(move || result.send(started.join()).unwrap());
        }
    }
    for at in 0..=100 {
        board.at(at);
        if at > 0 {
            events_at(at).for_each(|(_, event)| happens(*event, &handle, &token, &board, &mut channel));
            board.at(at);
        }
    }
    let got = results.recv().unwrap();
    (gets(got), handle.join().unwrap())
}

fn happens(event: Event, handle: &Handle, token: &CancelToken, board: &Board, channel: &mut Option<TestWays>) {
    match event {
        Event::Cancel => handle.cancel(),
        Event::CancelElsewhere => {
            let handle = handle.clone();
            thread::spawn(move || handle.cancel()).join().unwrap();
        }
        Event::CancelToken => token.cancel(),
        Event::RuntimeEnds => board.end(),
        Event::ChannelDropped => *channel = None,
    }
}

fn gets(result: Result) -> Gets {
    let millis = |report: &hedge_fleet::Report| u64::try_from(report.elapsed().as_millis()).unwrap();
    match result {
        Ok(reply) => Gets::Reply(millis(&reply.trace)),
        Err(WayError::Call(failure)) => Gets::Failure(failure.end, millis(&failure.trace)),
        Err(WayError::NoRuntime) => Gets::NoRuntime,
        Err(WayError::Panicked) => Gets::Panicked,
        Err(error) => panic!("{error:?}"),
    }
}
