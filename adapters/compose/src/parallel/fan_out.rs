//! Runs all parts of a parallel call in one future.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hedge_core::drive::{AttemptInfo, Timer};
use hedge_core::outcome::{Code, End, ErrorKind, Judgement, Verdict};
use hedge_core::time::{Duration, Instant, Timeout};
use hedge_fleet::{CallOptions, Caller, Outcome, Pushbacks};

use super::error::ParallelCause;
use super::mapper::{Mapped, Mapper};
use super::merger::Merger;
use super::parts::PartResult;
use super::{Inner, Kept};
use crate::judge::{Told, code_of, pushback_of, told};
use crate::options::for_sub_call;

/// What a call that runs keeps of its parts.
type SharedParts<C, M, Request, Merged> = Mutex<
    Kept<
        <C as Caller<<M as Mapper<Request>>::Part>>::Reply,
        <C as Caller<<M as Mapper<Request>>::Part>>::Error,
        Merged,
    >,
>;

/// A part that is about to be sent.
struct Outgoing<'a, C, Part> {
    index: usize,
    channel: &'a C,
    request: PartRequest<'a, Part>,
}

/// The request of a part.
enum PartRequest<'a, Part> {
    Borrowed(&'a Part),
    Owned(Part),
}

/// What all parts of a call inherit from it.
struct Inherited<'a, T> {
    options: &'a CallOptions,
    idempotent: bool,
    deadline: Option<Instant>,
    timer: &'a T,
}

impl<T: Timer> Inherited<'_, T> {
    /// Returns the options of a part that starts now. Returns `None` if the deadline has passed, since nothing may start
    /// then ([L2](hedge_core::rules#L2)).
    fn options(&self) -> Option<CallOptions> {
        let remaining = self.deadline.map(|deadline| deadline.since(self.timer.now()));
        if remaining == Some(Duration::ZERO) {
            return None;
        }
        Some(for_sub_call(self.options, self.idempotent, remaining.map_or(Timeout::NEVER, Timeout::after)))
    }
}

impl<C, Part> Outgoing<'_, C, Part> {
    /// Sends the part, at the first poll. The parts that are polled before it may take a while, so the time that remains
    /// is read then. Returns the index of the part and its result. The result is `None` if no time remains.
    async fn call<T: Timer>(self, from: &Inherited<'_, T>) -> (usize, Option<Result<C::Reply, C::Error>>)
    where
        C: Caller<Part>,
    {
        let Some(options) = from.options() else { return (self.index, None) };
        let request = match &self.request {
            PartRequest::Borrowed(request) => request,
            PartRequest::Owned(request) => request,
        };
        (self.index, Some(self.channel.call_with(request, &options).await))
    }
}

/// The parts that have ended so far.
struct Tally {
    succeeded: usize,
    failed: usize,
    missing: usize,
    fail_limit: usize,
    success_limit: usize,
}

/// What the failed parts mean for the call above.
#[derive(Default)]
struct Failures {
    /// The code of the last part that has failed.
    code: Code,
    pushbacks: Pushbacks,
}

impl Tally {
    /// Returns the end of the call. Returns `None` while the parts have not decided it.
    fn decided(&self) -> Option<Result<(), ParallelCause>> {
        if self.succeeded >= self.success_limit {
            return Some(Ok(()));
        }
        let (failed, limit) = (self.failed, self.fail_limit);
        (failed >= limit).then_some(Err(ParallelCause::TooManyFailed { failed, limit }))
    }

    /// The end of the call after all parts have ended.
    fn at_end(&self) -> Result<(), ParallelCause> {
        if self.missing > 0 { Err(ParallelCause::Deadline) } else { Ok(()) }
    }
}

impl<C, T: Timer, M, G> Inner<C, T, M, G> {
    /// Runs the parts, and judges their results. The result of each part is written into `kept` as soon as the part
    /// ends. So the results are there even if the call ends before all parts have ended.
    pub(super) async fn attempt<Request>(
        &self,
        request: &Request,
        options: &CallOptions,
        kept: &SharedParts<C, M, Request, G::Merged>,
        attempt: AttemptInfo<Arc<()>>,
    ) -> Told
    where
        M: Mapper<Request>,
        C: Caller<M::Part>,
        G: Merger<C::Reply, C::Error>,
    {
        let mut failures = Failures::default();
        let result = self.fan_out(request, options, kept, attempt, &mut failures).await;
        let judgement = match &result {
            Ok(_) => Verdict::Accept.into(),
            Err(cause) => {
                let pushback = failures.pushbacks.left(self.machine.timer.now());
                Judgement { pushback, ..judgement(cause, failures.code) }
            }
        };
        kept.lock().unwrap_or_else(PoisonError::into_inner).result = Some(result);
        told(judgement)
    }

    async fn fan_out<Request>(
        &self,
        request: &Request,
        options: &CallOptions,
        kept: &SharedParts<C, M, Request, G::Merged>,
        attempt: AttemptInfo<Arc<()>>,
        failures: &mut Failures,
    ) -> Result<G::Merged, ParallelCause>
    where
        M: Mapper<Request>,
        C: Caller<M::Part>,
        G: Merger<C::Reply, C::Error>,
    {
        let lock = || kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mapped = self.map_all(request)?;
        for part in &mapped {
            lock().parts.set(part.index, PartResult::Cancelled);
        }
        let deadline = attempt.remaining().map(|remaining| attempt.started + remaining);
        let from = &Inherited { options, idempotent: attempt.idempotent, deadline, timer: &self.machine.timer };
        let mut tally = self.tally(mapped.len());
        let mut running: FuturesUnordered<_> = mapped.into_iter().map(|part| part.call(from)).collect();
        let decided = loop {
            let Some((index, result)) = running.next().await else { break tally.at_end() };
            let result = self.counted(result, &mut tally, failures, deadline.unwrap_or(Instant::NEVER));
            lock().parts.set(index, result);
            if let Some(decided) = tally.decided() {
                break decided;
            }
        };
        // The parts that are still running are cancelled before the merger runs.
        drop(running);
        decided?;
        self.merger.merge(&lock().parts).map_err(ParallelCause::Merge)
    }

    /// Asks the mapper for every part. Returns the parts to send.
    fn map_all<'a, Request>(&'a self, request: &'a Request) -> Result<Vec<Outgoing<'a, C, M::Part>>, ParallelCause>
    where
        M: Mapper<Request>,
    {
        if self.channels.is_empty() {
            return Err(ParallelCause::NoChannels);
        }
        let mut mapped = Vec::with_capacity(self.channels.len());
        for (index, (name, channel)) in self.channels.iter().enumerate() {
            let request = match self.mapper.map(index, request) {
                Mapped::Borrowed(part) => PartRequest::Borrowed(part),
                Mapped::Owned(part) => PartRequest::Owned(part),
                Mapped::Skip => continue,
                Mapped::Refuse(error) => return Err(ParallelCause::Refused { part: Arc::clone(name), error }),
            };
            mapped.push(Outgoing { index, channel, request });
        }
        if mapped.is_empty() { Err(ParallelCause::AllSkipped) } else { Ok(mapped) }
    }

    fn tally(&self, sent: usize) -> Tally {
        Tally {
            succeeded: 0,
            failed: 0,
            missing: 0,
            fail_limit: self.fail_limit.map_or(sent, |limit| limit.get().min(sent)),
            success_limit: self.success_limit.map_or(usize::MAX, |limit| limit.get()),
        }
    }

    /// Counts the result of a part. A part that has reported the deadline of the call, or that was not started because of
    /// it, is missing; it has not failed.
    fn counted<Reply, E: Outcome>(
        &self,
        result: Option<Result<Reply, E>>,
        tally: &mut Tally,
        failures: &mut Failures,
        deadline: Instant,
    ) -> PartResult<Reply, E> {
        let missing = |tally: &mut Tally, error| {
            tally.missing += 1;
            PartResult::Missing(error)
        };
        match result {
            None => missing(tally, None),
            Some(Ok(reply)) => {
                tally.succeeded += 1;
                PartResult::Reply(reply)
            }
            Some(Err(error)) if error.trace().end() == Some(End::Deadline) && self.machine.timer.now() >= deadline => {
                missing(tally, Some(error))
            }
            Some(Err(error)) => {
                tally.failed += 1;
                failures.code = code_of(&error);
                if let Some(pushback) = pushback_of(&error) {
                    failures.pushbacks.add(pushback, self.machine.timer.now());
                }
                PartResult::Failed(error)
            }
        }
    }
}

/// What the end of the parts means for the call, which is one attempt. `code` is that of the last part that has failed.
fn judgement(cause: &ParallelCause, code: Code) -> Judgement {
    let kind = match cause {
        ParallelCause::TooManyFailed { .. } => return Judgement::new(Verdict::Wait, code),
        ParallelCause::Deadline => ErrorKind::Deadline,
        ParallelCause::Merge(_) => ErrorKind::Protocol,
        ParallelCause::Cancelled
        | ParallelCause::Refused { .. }
        | ParallelCause::AllSkipped
        | ParallelCause::NoChannels
        | ParallelCause::Config(_) => ErrorKind::BadRequest,
    };
    Judgement::new(kind.verdict(), kind.into())
}
