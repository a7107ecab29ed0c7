//! Smaller scripts: [`smaller`].

use hedge_core::outcome::{Code, Judgement};
use hedge_core::policy::{Backoff, CallKind, CallOptions, ChannelOptions, Idempotency, OnEarlyFailure, RetryTarget};
use hedge_core::time::{Duration, Timeout};

use crate::script::{Answers, Script, What};

type Change = fn(&mut Script);

/// What can be made simpler anywhere, once.
const CHANGES: &[Change] = &[
    |it| it.wakes.clear(),
    |it| it.lost_commits.clear(),
    |it| it.call_policy = None,
    |it| it.named = None,
    |it| it.own = CallOptions::new(),
    |it| it.own = CallOptions { timeout: None, ..it.own.clone() },
    |it| it.own = CallOptions { connect_timeout: None, ..it.own.clone() },
    |it| it.own = CallOptions { max_retry: None, ..it.own.clone() },
    |it| it.own = CallOptions { backup: None, ..it.own.clone() },
    |it| it.own = CallOptions { max_backups: None, ..it.own.clone() },
    |it| it.own = CallOptions { backoff: None, ..it.own.clone() },
    |it| it.own = CallOptions { retry_target: None, ..it.own.clone() },
    |it| it.own = CallOptions { idempotency: Idempotency::Unset, ..it.own.clone() },
    |it| it.own = CallOptions { kind: CallKind::Unary, ..it.own.clone() },
    |it| it.own = CallOptions { streaming: false, ..it.own.clone() },
    |it| it.channel.timeout = Timeout::NEVER,
    |it| it.channel.connect_timeout = Timeout::NEVER,
    |it| it.channel.backup = ChannelOptions::brpc().backup,
    |it| it.channel.backoff = Backoff::OFF,
    |it| it.channel.no_backoff_remaining = Duration::ZERO,
    |it| it.channel.retry_target = RetryTarget::Another,
    |it| it.channel.same_server_backup = false,
    |it| it.channel.on_early_failure = OnEarlyFailure::StartNext,
    |it| it.channel.pushback_for_service = false,
    |it| it.channel.idempotency = Idempotency::Unset,
    |it| it.channel.max_retry = it.channel.max_retry.saturating_sub(1),
    |it| it.channel.max_backups = it.channel.max_backups.saturating_sub(1),
    |it| it.channel_policy = Answers::default(),
    |it| it.channel_policy.delay = None,
    |it| it.channel_policy.backups.clear(),
    |it| it.channel_policy.retries.clear(),
    |it| it.start = 0,
    |it| it.first_poll = 0,
    |it| it.first_offset = 0,
    |it| it.further_offset = 0,
    |it| it.servers.truncate(it.servers.len().saturating_sub(1)),
    |it| it.attempts.truncate(it.attempts.len().saturating_sub(1)),
];

/// What can be made simpler of one attempt.
const OF_ATTEMPTS: &[fn(&mut crate::script::Outcome)] = &[
    |it| it.after = None,
    |it| it.judgement = Judgement::new(it.judgement.verdict, it.judgement.code),
    |it| it.judgement.pushback = None,
    |it| it.judgement.code = Code::NONE,
    |it| it.judgement.local = false,
    |it| it.poll = true,
    |it| it.tie = 1,
];

/// Scripts that are simpler than this one in one thing.
pub(crate) fn smaller(script: &Script) -> Vec<Script> {
    let mut all = Vec::new();
    for number in 0..script.events.len() {
        all.push(changed(script, |it| {
            it.events.remove(number);
        }));
    }
    all.extend(CHANGES.iter().map(|change| changed(script, change)));
    for number in 0..script.attempts.len() {
        for change in OF_ATTEMPTS {
            all.push(changed(script, |it| it.attempts.get_mut(number).map_or((), change)));
        }
    }
    for number in 0..script.events.len() {
        all.push(changed(script, |it| it.events.get_mut(number).map_or((), |event| event.poll = true)));
        all.push(changed(script, |it| {
            if let Some(What::Result(_, judgement)) = it.events.get_mut(number).map(|event| &mut event.what) {
                *judgement = judgement.verdict.into();
            }
        }));
    }
    for number in 0..script.wakes.len() {
        all.push(changed(script, |it| it.wakes.get_mut(number).map_or((), |wake| *wake = Default::default())));
    }
    for number in 0..script.servers.len() {
        all.push(changed(script, |it| it.servers.get_mut(number).map_or((), |server| server.usable = true)));
    }
    let same = script.to_string();
    all.retain(|it| it.to_string() != same);
    all
}

fn changed(script: &Script, change: impl FnOnce(&mut Script)) -> Script {
    let mut script = script.clone();
    change(&mut script);
    script
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::script;

    #[test]
    fn what_fails_whatever_happens_shrinks_to_nothing() {
        for seed in 0..20 {
            let mut smallest = script(seed);
            while let Some(next) = smaller(&smallest).into_iter().next() {
                smallest = next;
            }
            assert!(smallest.attempts.is_empty() && smallest.events.is_empty(), "seed {seed}: {smallest}");
            assert_eq!(smallest.channel.max_retry, 0, "seed {seed}");
        }
    }
}
