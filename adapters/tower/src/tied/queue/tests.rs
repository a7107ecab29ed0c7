//! Every order of events of a few servers, and the rules of one queue.

use std::collections::HashSet;

use hedge_core::id::IdempotencyKey;

use super::{Answer, CopyId, CopyState, Effect, QueueFull, TieQueue};

const KEY: IdempotencyKey = IdempotencyKey::from_bytes([7; 16]);
const OTHER: IdempotencyKey = IdempotencyKey::from_bytes([1; 16]);

/// A message on its way. Messages may overtake each other, and may be lost.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
enum Message {
    Ask { from: usize, to: usize },
    Answer { to: usize, begun: bool },
    Tell { to: usize },
}

/// What can happen next.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// The copy of the call arrives at this server.
    Arrive(usize),
    /// The work of another call ends at this server.
    Free(usize),
    /// The server that was asked did not answer in time.
    Release(usize),
    /// The copy's own work ends at this server.
    Finish(usize),
    Deliver(usize),
    Lose(usize),
}

/// Servers with one worker each and a copy of one call each. The first server has the first attempt.
#[derive(Clone)]
struct World {
    queues: Vec<TieQueue<usize>>,
    /// The work of another call that a server is busy with.
    others: Vec<Option<CopyId>>,
    copies: Vec<Option<CopyId>>,
    /// Copies that ever began, and copies that were dropped.
    begun: Vec<bool>,
    dropped: Vec<bool>,
    messages: Vec<Message>,
}

impl World {
    fn new(busy: &[bool]) -> Self {
        let mut queues: Vec<TieQueue<usize>> = busy.iter().map(|_| TieQueue::new(1, 4)).collect();
        let others = queues.iter_mut().zip(busy).map(|(queue, busy)| busy.then(|| queue.arrive(None, None).unwrap()));
        let others = others.collect();
        queues.iter_mut().for_each(|queue| while queue.next_effect().is_some() {});
        let no = vec![false; busy.len()];
        let copies = vec![None; busy.len()];
        Self { queues, others, copies, begun: no.clone(), dropped: no, messages: Vec::new() }
    }

    fn events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for server in 0..self.queues.len() {
            let state = self.copies[server].and_then(|copy| self.queues[server].state(copy));
            match (self.copies[server], state) {
                (None, _) => events.push(Event::Arrive(server)),
                (_, Some(CopyState::Held)) => events.push(Event::Release(server)),
                (_, Some(CopyState::Begun)) => events.push(Event::Finish(server)),
                _ => {}
            }
            if self.others[server].is_some() {
                events.push(Event::Free(server));
            }
        }
        // Equal messages have the same effect, so it is enough to try one of them.
        let distinct: Vec<usize> =
            (0..self.messages.len()).filter(|&n| !self.messages[..n].contains(&self.messages[n])).collect();
        events.extend(distinct.iter().flat_map(|&n| [Event::Deliver(n), Event::Lose(n)]));
        events
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Arrive(at) => {
                let first = (at > 0).then_some(0);
                self.copies[at] = Some(self.queues[at].arrive(Some(KEY), first).unwrap());
            }
            Event::Free(at) => self.queues[at].leave(self.others[at].take().unwrap()),
            Event::Release(at) => self.queues[at].release(self.copies[at].unwrap()),
            Event::Finish(at) => self.queues[at].leave(self.copies[at].unwrap()),
            Event::Lose(n) => _ = self.messages.remove(n),
            Event::Deliver(n) => match self.messages.remove(n) {
                Message::Ask { from, to } => {
                    let begun = self.queues[to].asked(from, KEY) == Answer::Begun;
                    self.messages.push(Message::Answer { to: from, begun });
                }
                Message::Answer { to, begun } => {
                    let answer = if begun { Answer::Begun } else { Answer::NotBegun };
                    self.queues[to].answered(self.copies[to].unwrap(), answer);
                }
                Message::Tell { to } => _ = self.queues[to].told(KEY),
            },
        }
        for at in 0..self.queues.len() {
            while let Some(effect) = self.queues[at].next_effect() {
                match effect {
                    Effect::Changed(_) => {}
                    Effect::Ask { to, .. } => self.messages.push(Message::Ask { from: at, to }),
                    Effect::Tell { to, .. } => self.messages.push(Message::Tell { to }),
                }
            }
        }
    }

    /// Notes what became of the copies, and checks what must hold after each event.
    fn check(&mut self) {
        for at in 0..self.queues.len() {
            match self.copies[at].and_then(|copy| self.queues[at].state(copy)) {
                Some(CopyState::Begun) => self.begun[at] = true,
                Some(CopyState::Dropped) => self.dropped[at] = true,
                _ => {}
            }
            assert!(!(self.begun[at] && self.dropped[at]), "a copy that has begun is dropped");
        }
        assert!(!self.dropped.contains(&true) || self.begun.contains(&true), "dropped, though no copy has begun");
    }

    /// Everything that decides what can happen next. It tells whether this state was seen already.
    fn key(&self) -> impl Eq + std::hash::Hash + use<> {
        let queues = self.queues.iter().zip(&self.copies).map(|(queue, copy)| {
            let tie = copy.and_then(|copy| queue.copies.get(&copy)).map(|copy| (copy.state, copy.tie.clone()));
            (tie.map(|(state, tie)| (state, tie.map(|tie| tie.peers))), copy.is_some(), queue.at_work, queue.waiting())
        });
        let mut messages = self.messages.clone();
        messages.sort_unstable();
        let others: Vec<bool> = self.others.iter().map(Option::is_some).collect();
        (queues.collect::<Vec<_>>(), others, self.begun.clone(), self.dropped.clone(), messages)
    }
}

/// How many states were reached, and in how many of the last ones how many copies had begun.
#[derive(Default)]
struct Seen {
    states: usize,
    ends: [usize; 4],
}

/// Walks through every order of events, from a state on.
fn walk(start: World) -> Seen {
    let (mut seen, mut known, mut todo) = (Seen::default(), HashSet::new(), vec![start]);
    while let Some(world) = todo.pop() {
        let events = world.events();
        seen.states += 1;
        if events.is_empty() {
            let begun = world.begun.iter().filter(|begun| **begun).count();
            assert!(begun > 0, "every event has happened, and no copy has begun");
            for at in 0..world.queues.len() {
                assert!(world.begun[at] != world.dropped[at], "a copy is forgotten: {at}");
                assert_eq!((world.queues[at].waiting(), world.queues[at].at_work()), (0, 0));
            }
            seen.ends[begun] += 1;
        }
        for event in events {
            let mut next = world.clone();
            next.apply(event);
            next.check();
            if known.insert(next.key()) {
                todo.push(next);
            }
        }
    }
    seen
}

#[test]
fn y1_two_copies_are_never_both_dropped_in_any_order_of_events() {
    let mut dropped = 0;
    for busy in [[false, false], [false, true], [true, false], [true, true]] {
        let seen = walk(World::new(&busy));
        assert!(seen.states > 50, "{}", seen.states);
        dropped += seen.ends[1];
    }
    assert!(dropped > 0, "no order of events drops a copy");
}

#[test]
fn y1_three_copies_are_never_all_dropped_in_any_order_of_events() {
    for busy in [[false, true, true], [true, true, true]] {
        let seen = walk(World::new(&busy));
        assert!(seen.ends[1] > 0 && seen.ends[3] > 0, "{:?}", seen.ends);
    }
}

fn effects(queue: &mut TieQueue<u8>) -> Vec<Effect<u8>> {
    std::iter::from_fn(|| queue.next_effect()).collect()
}

#[test]
fn y1_a_backup_asks_before_it_begins() {
    let mut queue = TieQueue::new(1, 1);
    let copy = queue.arrive(Some(KEY), Some(1)).unwrap();
    assert_eq!(effects(&mut queue), [Effect::Ask { to: 1, key: KEY, copy }]);
    assert_eq!(queue.state(copy), Some(CopyState::Held));
    queue.answered(copy, Answer::NotBegun);
    assert_eq!(effects(&mut queue), [Effect::Changed(copy), Effect::Tell { to: 1, key: KEY }]);
    assert!(!queue.told(KEY), "a copy that has begun is dropped");
    assert_eq!(queue.state(copy), Some(CopyState::Begun));
    queue.answered(copy, Answer::Begun);
    assert_eq!(queue.state(copy), Some(CopyState::Begun));
}

#[test]
fn y1_a_held_copy_keeps_its_place() {
    let mut queue = TieQueue::new(1, 9);
    let busy = queue.arrive(None, None).unwrap();
    let held = queue.arrive(Some(KEY), Some(1)).unwrap();
    let later = queue.arrive(None, None).unwrap();
    queue.release(held);
    queue.leave(busy);
    assert_eq!((queue.state(held), queue.state(later)), (Some(CopyState::Begun), Some(CopyState::Waiting)));
}

#[test]
fn y1_later_copies_overtake_a_held_one() {
    let mut queue = TieQueue::new(1, 9);
    let held = queue.arrive(Some(KEY), Some(1)).unwrap();
    let later = queue.arrive(None, None).unwrap();
    assert_eq!((queue.state(held), queue.state(later)), (Some(CopyState::Held), Some(CopyState::Begun)));
}

#[test]
fn y1_a_full_queue_refuses_and_holds_nothing() {
    let mut queue = TieQueue::new(1, 1);
    queue.arrive(None, None).unwrap();
    let waits = queue.arrive(None, None).unwrap();
    assert_eq!(queue.arrive(Some(KEY), Some(1)), Err(QueueFull));
    queue.leave(waits);
    queue.arrive(Some(KEY), None).unwrap();

    // Without a place to wait, a backup begins at once. It still tells the other server.
    let mut queue = TieQueue::new(1, 0);
    let copy = queue.arrive(Some(KEY), Some(1)).unwrap();
    assert_eq!(effects(&mut queue), [Effect::Changed(copy), Effect::Tell { to: 1, key: KEY }]);
    assert_eq!(queue.arrive(None, None), Err(QueueFull));
}

#[test]
fn y1_a_copy_that_leaves_frees_its_place_and_its_key() {
    let mut queue = TieQueue::new(1, 9);
    let busy = queue.arrive(Some(OTHER), None).unwrap();
    let gone = queue.arrive(Some(KEY), None).unwrap();
    let last = queue.arrive(None, None).unwrap();
    queue.leave(gone);
    queue.leave(gone);
    assert!(!queue.told(KEY));
    assert_eq!(queue.asked(1, OTHER), Answer::Begun);
    queue.leave(busy);
    assert_eq!(queue.asked(1, OTHER), Answer::NotBegun, "work that has ended holds no copy back");
    assert_eq!(queue.state(last), Some(CopyState::Begun));
    queue.leave(last);
    assert_eq!((queue.waiting(), queue.at_work(), queue.copies.len(), queue.keys.len()), (0, 0, 0, 0));
}

#[test]
fn y1_a_second_copy_of_a_key_on_one_server_is_not_tied() {
    let mut queue = TieQueue::new(1, 9);
    let busy = queue.arrive(None, None).unwrap();
    let tied = queue.arrive(Some(KEY), None).unwrap();
    let second = queue.arrive(Some(KEY), Some(1)).unwrap();
    assert!(queue.told(KEY));
    assert_eq!((queue.state(tied), queue.state(second)), (Some(CopyState::Dropped), Some(CopyState::Waiting)));
    queue.leave(tied);
    queue.leave(busy);
    assert_eq!(queue.state(second), Some(CopyState::Begun));
}

#[test]
fn y1_a_copy_tells_four_servers_at_most() {
    let mut queue = TieQueue::new(1, 9);
    let busy = queue.arrive(None, None).unwrap();
    let copy = queue.arrive(Some(KEY), None).unwrap();
    for from in [1, 2, 2, 3, 4, 5] {
        assert_eq!(queue.asked(from, KEY), Answer::NotBegun);
    }
    effects(&mut queue);
    queue.leave(busy);
    let told = [1, 2, 3, 4].map(|to| Effect::Tell { to, key: KEY });
    assert_eq!(effects(&mut queue), [&[Effect::Changed(copy)], &told[..]].concat());
}
