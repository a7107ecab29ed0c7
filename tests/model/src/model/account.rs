//! What the model tells: its host, its policies, its report.

use hedge_core::outcome::{Code, End, ErrorKind, Feedback, NotHedged, State};
use hedge_core::time::Micros;

use super::settings::micros;
use super::{Model, readings};
use crate::play::Account;
use crate::words::{self, Told};

impl Model<'_> {
    /// The call has ended; what is in flight is abandoned (L1).
    pub(super) fn finish_call(&mut self, end: End, now: u64) {
        self.end = Some((end, now));
        let early = if readings::ONLY_SUCCESS_IN_THE_FIRST_DELAY_FINISHES_FIRST {
            end == End::Accepted && now <= self.script.start.saturating_add(self.delay)
        } else {
            self.meant.is_some_and(|meant| now < meant)
        };
        if self.reason == NotHedged::FinishedFirst && self.meant.is_some() && !early {
            self.reason = NotHedged::Pushback;
        }
        if matches!(end, End::Deadline | End::Cancelled) {
            self.decisive = None;
        }
        if self.shadow.is_some_and(|shadow| shadow < now) {
            self.reason = NotHedged::Shadow;
        }
        for number in 0..self.attempts.len() {
            let Some(attempt) = self.attempts.get_mut(number).filter(|it| it.ended.is_none()) else { continue };
            (attempt.ended, attempt.state) = (Some(now), State::Abandoned);
            let age = now - attempt.started;
            self.to_abandon.push(number);
            let (feedback, code) = self.abandoned(end, age);
            self.tell_host("finished", now, number, feedback, code);
        }
        if self.polled {
            self.tell_end();
        }
    }

    /// What is told of an attempt that the call ended without (L13).
    fn abandoned(&self, end: End, age: u64) -> (Feedback, Code) {
        let half = |timeout| micros(timeout).is_some_and(|timeout| age.saturating_mul(2) >= timeout);
        let span = Micros::from_micros(age);
        if end == End::Deadline && half(self.settings.timeout) && half(self.settings.channel_timeout) {
            (Feedback::Failure { latency: span }, ErrorKind::Deadline.into())
        } else {
            (Feedback::Abandoned { age: span }, Code::NONE)
        }
    }

    pub(super) fn tell_host(&mut self, how: &str, now: u64, number: usize, feedback: Feedback, code: Code) {
        let Some(attempt) = self.attempts.get(number) else { return };
        let server = attempt.server;
        self.host.push(words::told(&Told {
            how,
            attempt: number,
            server: &format!("server {server}"),
            sent: attempt.started,
            now,
            feedback,
            code,
            max_retry: self.settings.max_retry,
            timeout: self.settings.timeout,
        }));
        if self.list.is_there(server) {
            self.host.push(format!("balancer hears of {number}"));
            if how == "finished" {
                self.list.count(server, false);
            }
        }
    }

    /// The policy that counts is told of the end, once, if the call was ever polled (B2).
    pub(super) fn tell_end(&mut self) {
        let Some((end, at)) = self.end else { return };
        if self.told {
            return;
        }
        self.seen.insert(words::end(end));
        if self.backups() == 0 {
            self.seen.insert(words::reason(self.reason));
        }
        self.told = true;
        let who = if self.script.call_policy.is_some() { "call" } else { "channel" };
        let states: Vec<String> = self.attempts.iter().map(|it| format!("{:?} {:?}", it.kind, it.state)).collect();
        let not_hedged = Some(self.reason).filter(|_| self.backups() == 0);
        self.policy.push(words::ended(who, end, at, at - self.script.start, not_hedged, &states));
    }

    /// The call is dropped, which is a cancel at the last time seen (L20).
    pub(super) fn account(mut self) -> Account {
        let end = self.end;
        let last = self.attempts.len().checked_sub(1);
        let not_hedged = end.and(Some(self.reason).filter(|_| self.backups() == 0));
        let accepted = matches!(end, Some((End::Accepted, _)));
        let mut report = vec![words::summary(
            end.map(|(end, _)| end),
            end.map_or(0, |(_, at)| at - self.script.start),
            self.decisive.filter(|_| accepted),
            self.decisive.or(last),
            not_hedged,
        )];
        report.push(format!("retried {}, backups {}", self.attempts.len().saturating_sub(1), self.backups()));
        for it in &self.attempts {
            let ended = it.ended.map(|ended| ended - self.script.start);
            let server = format!("server {}", it.server);
            report.push(words::attempt(it.kind, &server, it.started - self.script.start, ended, it.state, it.code));
        }
        let at_work = self.decisive.filter(|_| accepted && self.settings.streaming);
        let at_work = at_work.and_then(|winner| self.attempts.get(winner)).map(|it| it.server);
        report.push(format!("winner at work: {:?}", at_work.map(|server| format!("server {server}"))));
        if self.end.is_none() {
            let last_seen = self.last_seen;
            self.finish_call(End::Cancelled, last_seen);
        }
        if let Some(server) = at_work {
            self.list.count(server, false);
        }
        report.push(format!("in flight afterwards: {}", self.list.in_flight()));
        Account { actions: Vec::new(), host: self.host, policy: self.policy, report, seen: self.seen }
    }
}
