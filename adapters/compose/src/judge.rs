//! What the result of a sub-call means for the call above it: [`OutcomePolicy`].

use hedge_core::outcome::{Attempt, Code, End, ErrorKind, Judgement, Pushback, Verdict};
use hedge_core::policy::{Idempotency, RetryPolicy};
use hedge_fleet::Outcome;

/// The default retry policy of combined channels. It takes the verdict that the reply or the error of the sub-call has
/// ([`Outcome::verdict`]).
///
/// The code of a failed sub-call is the code of its decisive attempt, with three exceptions. If the sub-call ended at
/// its deadline, the code is [`ErrorKind::Deadline`]. If nothing left this client, but the code of the decisive attempt
/// does not say so, the code is [`ErrorKind::Refused`] if the sub-channel had no usable server, and
/// [`ErrorKind::Overcrowded`] otherwise. If something may have left this client, but the decisive attempt has no code,
/// or a code which says that nothing left, the code follows from the verdict.
///
/// The servers of a sub-channel may send a pushback ([`Outcome::pushback`]). If it says "do not retry", and concerns the
/// whole service, it ends the retries and backups of the call too. Any other pushback concerns the sub-channel, as HTTP's
/// `Retry-After` concerns the server that sent it ([R4](hedge_core::rules#R4)): other sub-channels are tried as if there
/// had been none, and it counts once the call has tried every usable sub-channel. With `pushback_for_service`, it
/// always counts. A policy of the program does the same if it takes the judgement of this policy and changes parts of
/// it:
///
/// ```
/// use hedge_compose::OutcomePolicy;
/// use hedge_compose::hedge_core::outcome::{Judgement, Verdict};
/// use hedge_compose::hedge_core::policy::RetryPolicy;
/// use hedge_compose::hedge_fleet::Outcome;
///
/// /// Internal errors are not tried at another sub-channel, because all of them have the same database.
/// fn one_database<Reply: Outcome, Error: Outcome>(result: Result<&Reply, &Error>) -> Judgement {
///     let judgement = OutcomePolicy.judge(result);
///     let is_internal = (500..600).contains(&judgement.code.0);
///     if is_internal { Judgement { verdict: Verdict::Wait, ..judgement } } else { judgement }
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OutcomePolicy;

impl<Reply: Outcome, Error: Outcome> RetryPolicy<Reply, Error> for OutcomePolicy {
    fn judge(&self, result: Result<&Reply, &Error>) -> Judgement {
        match result {
            Ok(reply) => judgement(reply),
            Err(error) => judgement(error),
        }
    }
}

/// The judgement that an outcome has by itself.
fn judgement(outcome: &impl Outcome) -> Judgement {
    let verdict = outcome.verdict();
    if verdict == Verdict::Accept {
        return verdict.into();
    }
    let judgement = Judgement::new(verdict, code_of(outcome));
    let judgement = if outcome.never_left() { judgement.never_left() } else { judgement };
    let judgement = Judgement { pushback: pushback_of(outcome), ..judgement };
    // A `Fatal` result is the fault of the caller, so it says nothing about the sub-channel.
    if verdict == Verdict::Fatal { judgement.local() } else { judgement }
}

/// The pushback of a sub-call, as it concerns the call above it.
pub(crate) fn pushback_of(outcome: &impl Outcome) -> Option<Pushback> {
    outcome.pushback().map(|pushback| if pushback == Pushback::DO_NOT { pushback } else { pushback.for_server() })
}

/// The code of an outcome that was not accepted.
pub(crate) fn code_of(outcome: &impl Outcome) -> Code {
    let trace = outcome.trace();
    let decisive = trace.decisive().and_then(|id| trace.attempts().get(id.index()));
    let code = decisive.map_or(Code::NONE, Attempt::code);
    if trace.end() == Some(End::Deadline) {
        return ErrorKind::Deadline.into();
    }
    if outcome.never_left() {
        let fallback = if outcome.all_down() { ErrorKind::Refused } else { ErrorKind::Overcrowded };
        return if code != Code::NONE && is_unsent(code) { code } else { fallback.into() };
    }
    match code {
        code if code != Code::NONE && !is_unsent(code) => code,
        _ if outcome.verdict() == Verdict::Fatal => ErrorKind::BadRequest.into(),
        _ if outcome.verdict() == Verdict::Wait => ErrorKind::Internal.into(),
        _ => ErrorKind::Broken.into(),
    }
}

/// Whether an attempt with this code never left this client.
fn is_unsent(code: Code) -> bool {
    ErrorKind::ALL.iter().any(|kind| kind.never_left() && Code::from(*kind) == code)
}

/// Returns whether a request may be sent twice, from what each sub-channel says: only if all of them say `Idempotent`.
/// One `NotIdempotent` is enough for the opposite.
pub(crate) fn all_idempotent(answers: impl Iterator<Item = Idempotency>) -> Idempotency {
    let mut all = None;
    for answer in answers {
        match answer {
            Idempotency::NotIdempotent => return answer,
            Idempotency::Unset => all = Some(answer),
            Idempotency::Idempotent => all = all.or(Some(answer)),
        }
    }
    all.unwrap_or(Idempotency::Unset)
}

/// What the core is told of a sub-call that has ended. The result itself is kept by the call, so that the driver does
/// not move it several times.
pub(crate) type Told = Result<Judgement, Judgement>;

/// Tells the core what a result means.
pub(crate) fn told(judgement: Judgement) -> Told {
    if judgement.verdict == Verdict::Accept { Ok(judgement) } else { Err(judgement) }
}

/// The retry policy of the core's call: the judgement that was made where the sub-call ended.
pub(crate) struct Stored;

impl RetryPolicy<Judgement, Judgement> for Stored {
    fn judge(&self, result: Result<&Judgement, &Judgement>) -> Judgement {
        match result {
            Ok(judgement) | Err(judgement) => *judgement,
        }
    }
}

#[cfg(test)]
mod tests {
    use hedge_core::time::Instant;
    use hedge_fleet::{Report, Trace};

    use super::*;

    struct Failed(Verdict, bool, bool, Trace);

    impl Outcome for Failed {
        fn trace(&self) -> &Trace {
            &self.3
        }

        fn verdict(&self) -> Verdict {
            self.0
        }

        fn never_left(&self) -> bool {
            self.1
        }

        fn all_down(&self) -> bool {
            self.2
        }
    }

    #[test]
    fn x1_a_request_may_be_sent_twice_only_if_all_say_so_l15() {
        use Idempotency::{Idempotent, NotIdempotent, Unset};
        for (answers, all) in [
            (&[][..], Unset),
            (&[Idempotent, Idempotent], Idempotent),
            (&[Idempotent, Unset], Unset),
            (&[Unset, Idempotent], Unset),
            (&[Unset, Idempotent, NotIdempotent], NotIdempotent),
        ] {
            assert_eq!(all_idempotent(answers.iter().copied()), all, "{answers:?}");
        }
    }

    #[test]
    fn x1_what_a_sub_call_means_says_whether_it_left_and_whom_to_blame() {
        use ErrorKind::{BadRequest, Broken, Internal, Overcrowded, Refused};
        for (verdict, never_left, all_down, kind, is_blamed) in [
            (Verdict::Retry, true, true, Refused, true),
            (Verdict::Retry, true, false, Overcrowded, false),
            (Verdict::Retry, false, false, Broken, true),
            (Verdict::Wait, false, false, Internal, true),
            (Verdict::Fatal, false, false, BadRequest, false),
            (Verdict::Fatal, true, false, Overcrowded, false),
        ] {
            let failed = Failed(verdict, never_left, all_down, Trace::nowhere(Report::new(Instant::ZERO)));
            let judged = OutcomePolicy.judge(Err::<&Failed, _>(&failed));
            assert_eq!((judged.verdict, judged.never_left, judged.code), (verdict, never_left, kind.into()));
            assert_eq!(!judged.local, is_blamed, "{verdict:?} {kind}");
        }
        let accepted = Failed(Verdict::Accept, false, false, Trace::nowhere(Report::new(Instant::ZERO)));
        assert_eq!(OutcomePolicy.judge(Ok::<_, &Failed>(&accepted)), Verdict::Accept.into());
    }
}
