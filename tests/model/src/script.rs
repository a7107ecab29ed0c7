//! What happens to one call, written down before it starts: [`Script`].

use std::fmt;

use hedge_core::outcome::{Denial, Judgement};
use hedge_core::policy::{BackupDelay, CallOptions, ChannelOptions};

/// Everything that a call meets. Times are microseconds after [`Script::start`], unless they say otherwise.
#[derive(Clone, Debug)]
pub struct Script {
    /// The channel's options.
    pub channel: ChannelOptions,
    /// What the call sets for itself, but for its policy.
    pub own: CallOptions<'static>,
    /// The servers that the call names, instead of the balancer (S8): those at the start, by number.
    pub named: Option<Vec<usize>>,
    /// What the channel's policy answers.
    pub channel_policy: Answers,
    /// What the call's own policy answers, if it has one.
    pub call_policy: Option<Answers>,
    /// The servers at the start.
    pub servers: Vec<Server>,
    /// Where in the list the balancer begins for a call's first attempt.
    pub first_offset: usize,
    /// Where it begins for further ones.
    pub further_offset: usize,
    /// Whether the k-th commit is lost to another call, unless it insists.
    pub lost_commits: Vec<bool>,
    /// The call's start on the driver's clock.
    pub start: u64,
    /// How long after the start the first poll comes.
    pub first_poll: u64,
    /// What becomes of the k-th attempt; of those beyond the list nothing does.
    pub attempts: Vec<Outcome>,
    /// What else happens.
    pub events: Vec<Event>,
    /// How late the k-th wake-up is; those beyond the list are in time.
    pub wakes: Vec<Wake>,
}

/// A server of the list.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    /// Its address.
    pub address: u16,
    /// Its tag.
    pub tag: u8,
    /// Whether it takes calls.
    pub usable: bool,
}

/// What a policy answers; after the end of a list it agrees.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// The delay.
    pub delay: Option<BackupDelay>,
    /// Whether the k-th backup that it is asked for may be sent.
    pub backups: Vec<Option<Denial>>,
    /// Whether the k-th retry that it is asked for may be sent.
    pub retries: Vec<Option<Denial>>,
}

/// What becomes of an attempt.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// How long after its start it ends; `None`: never.
    pub after: Option<u64>,
    /// What its result means.
    pub judgement: Judgement,
    /// Its place among what happens at one instant.
    pub tie: u8,
    /// Whether the call is polled before the next thing happens.
    pub poll: bool,
}

/// Something that happens from outside.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// When.
    pub at: u64,
    /// Its place among what happens at one instant.
    pub tie: u8,
    /// Whether the call is polled before the next thing happens.
    pub poll: bool,
    /// What.
    pub what: What,
}

/// Something that happens from outside.
#[derive(Clone, Copy, Debug)]
pub enum What {
    /// The caller cancels.
    Cancel,
    /// The caller drops the call.
    Drop,
    /// A server stops taking calls, or takes them again: the n-th that was ever in the list.
    Usable(usize, bool),
    /// A server is removed.
    Remove(usize),
    /// A server is added.
    Insert(Server),
    /// An attempt, if it was started, has a result, perhaps a second one.
    Result(usize, Judgement),
    /// Nothing but the poll.
    Nothing,
}

/// A wake-up by the timer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wake {
    /// How late it is.
    pub late: u64,
    /// Its place among what happens at one instant.
    pub tie: u8,
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = ChannelOptions::brpc();
        writeln!(f, "channel: {:?}", self.channel)?;
        if self.channel != plain {
            writeln!(f, "  (default: {plain:?})")?;
        }
        writeln!(f, "call: {:?}", self.own)?;
        if let Some(named) = &self.named {
            writeln!(f, "call names the servers {named:?}")?;
        }
        writeln!(f, "channel's policy: {:?}", self.channel_policy)?;
        if let Some(policy) = &self.call_policy {
            writeln!(f, "call's own policy: {policy:?}")?;
        }
        for (number, server) in self.servers.iter().enumerate() {
            writeln!(f, "server {number}: {server:?}")?;
        }
        writeln!(f, "balancer begins at {}, for further attempts at {}", self.first_offset, self.further_offset)?;
        writeln!(f, "lost commits: {:?}", self.lost_commits)?;
        writeln!(f, "start {} us, first poll {} us after it", self.start, self.first_poll)?;
        for (number, outcome) in self.attempts.iter().enumerate() {
            let Outcome { after, judgement, tie, poll } = outcome;
            writeln!(f, "attempt {number}: after {after:?} us {judgement:?}, tie {tie}, poll {poll}")?;
        }
        for Event { at, tie, poll, what } in &self.events {
            writeln!(f, "event at {at} us: {what:?}, tie {tie}, poll {poll}")?;
        }
        writeln!(f, "wakes: {:?}", self.wakes)
    }
}
