//! Plays a script before a call, whichever implementation that is: [`play`].

use std::collections::BTreeSet;

use hedge_core::outcome::{End, Judgement};

use crate::script::{Outcome, Script, Server, Wake, What};

/// An implementation of a call. Times are the driver's clock in microseconds.
pub trait Machine {
    /// What to do next.
    fn poll(&mut self, now: u64) -> Step;
    /// An attempt has a result.
    fn finish(&mut self, now: u64, attempt: usize, judgement: Judgement);
    /// The caller cancels.
    fn cancel(&mut self, now: u64);
    /// The n-th server that was ever in the list takes calls or does not.
    fn set_usable(&mut self, now: u64, server: usize, usable: bool);
    /// The n-th server that was ever in the list is removed.
    fn remove(&mut self, now: u64, server: usize);
    /// A server is added.
    fn insert(&mut self, server: Server);
    /// The call is dropped; answers all that can be told of it.
    fn finish_up(self) -> Account;
}

/// What a call answers to a poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// An attempt starts: its number and what is said of it.
    Start(usize, String),
    /// An attempt is abandoned.
    Abandon(usize),
    /// Nothing to do before then.
    Wait(Option<u64>),
    /// The call is over.
    Done(End),
}

/// All that can be told of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// What it answered to polls.
    pub actions: Vec<String>,
    /// What its host was told.
    pub host: Vec<String>,
    /// What policies were asked and told.
    pub policy: Vec<String>,
    /// Its report.
    pub report: Vec<String>,
    /// Which branches of the rules the model took; the core does not tell.
    pub seen: BTreeSet<&'static str>,
}

/// More polls than any call needs.
const POLLS: usize = 1_000;

/// What is still to happen, at a time of the driver's clock.
#[derive(Clone, Copy, Debug)]
struct Due {
    at: u64,
    tie: u8,
    poll: bool,
    what: What,
}

/// Plays `script` before `machine`.
pub fn play<M: Machine>(script: &Script, machine: M) -> Account {
    let events = script.events.iter();
    let due = events.map(|it| Due { at: script.start + it.at, tie: it.tie, poll: it.poll, what: it.what }).collect();
    let wake = Some((script.start + script.first_poll, script.wakes.first().map_or(0, |wake| wake.tie)));
    Player { script, machine, due, wake, wakes: 0, polls: 0, now: script.start, actions: Vec::new() }.run()
}

struct Player<'a, M> {
    script: &'a Script,
    machine: M,
    due: Vec<Due>,
    /// When the timer wakes the driver, and its place among what happens then.
    wake: Option<(u64, u8)>,
    wakes: usize,
    polls: usize,
    now: u64,
    actions: Vec<String>,
}

impl<M: Machine> Player<'_, M> {
    fn run(mut self) -> Account {
        while self.polls < POLLS {
            let next = self.due.iter().enumerate().min_by_key(|(_, due)| (due.at, due.tie));
            let next = next.map(|(place, due)| (place, *due));
            match (next, self.wake) {
                (Some((place, due)), wake) if wake.is_none_or(|wake| (due.at, due.tie) < wake) => {
                    self.due.remove(place);
                    self.now = self.now.max(due.at);
                    if !self.happen(due.what) {
                        break;
                    }
                    if due.poll {
                        self.settle();
                    }
                }
                (_, Some((at, _))) => {
                    self.now = self.now.max(at);
                    self.settle();
                }
                (_, None) => break,
            }
        }
        let mut account = self.machine.finish_up();
        account.actions = self.actions;
        account
    }

    /// False where that was the call's last moment.
    fn happen(&mut self, what: What) -> bool {
        let now = self.now;
        match what {
            What::Cancel => self.machine.cancel(now),
            What::Drop => return false,
            What::Usable(server, usable) => self.machine.set_usable(now, server, usable),
            What::Remove(server) => self.machine.remove(now, server),
            What::Insert(server) => self.machine.insert(server),
            What::Result(attempt, judgement) => self.machine.finish(now, attempt, judgement),
            What::Nothing => {}
        }
        true
    }

    /// Polls until there is nothing to do.
    fn settle(&mut self) {
        while self.polls < POLLS {
            self.polls += 1;
            let step = self.machine.poll(self.now);
            let text = match &step {
                Step::Start(attempt, said) => format!("start {attempt}: {said}"),
                Step::Abandon(attempt) => format!("abandon {attempt}"),
                Step::Wait(None) => "wait".into(),
                Step::Wait(Some(until)) => format!("wait until {until}"),
                Step::Done(end) => format!("done: {end}"),
            };
            self.actions.push(format!("{}: {text}", self.now));
            match step {
                Step::Start(attempt, _) => self.started(attempt),
                Step::Abandon(_) => {}
                Step::Wait(until) => return self.sleep(until),
                Step::Done(_) => {
                    self.wake = None;
                    return;
                }
            }
        }
        self.actions.push("and so on".into());
    }

    fn started(&mut self, attempt: usize) {
        let Some(Outcome { after: Some(after), judgement, tie, poll }) = self.script.attempts.get(attempt).copied()
        else {
            return;
        };
        if after == 0 && tie == 0 {
            // The transport knows at once.
            self.machine.finish(self.now, attempt, judgement);
        } else {
            self.due.push(Due { at: self.now + after, tie, poll, what: What::Result(attempt, judgement) });
        }
    }

    fn sleep(&mut self, until: Option<u64>) {
        self.wakes += 1;
        let Wake { late, tie } = self.script.wakes.get(self.wakes).copied().unwrap_or_default();
        self.wake = until.map(|until| (until.max(self.now).saturating_add(late), tie));
    }
}
