//! Formats reports and attempts as text, for logs.

use core::fmt;

use super::Report;
use crate::id::AttemptId;
use crate::outcome::{Attempt, Code, End, State, Verdict};
use crate::time::Micros;

impl<const N: usize> fmt::Display for Report<N> {
    /// Writes one line for a log. The line says how the call ended, how long it took, and which attempt decided the
    /// end. Then the line says what happened to the other attempts, and how many attempts the call made. If no backup
    /// was sent, the line says why. The time of an attempt runs from its start to its end. Times have about three
    /// digits; the accessors have the exact values.
    ///
    /// ```text
    /// accepted after 12.1 ms by attempt 1 (backup, server 1.0); attempt 0 (first, server 0.0) abandoned after 12.1 ms; 2 attempts
    /// failed after 3.4 ms at attempt 0 (first, server 0.0): status 503; 1 attempt; no backup: disabled
    /// ```
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(end) = self.end() else {
            f.write_str("not ended")?;
            return others(f, self, None);
        };
        write!(f, "{end} after {}", Rounded(self.elapsed_micros()))?;
        let (how, decisive) = match end {
            End::Accepted => ("by", self.decisive()),
            End::Failed | End::Fatal => ("at", self.decisive()),
            End::Deadline | End::Cancelled | End::NoServer | End::AllDown | End::AllFull => ("", None),
        };
        if let Some((id, attempt)) = decisive.and_then(|id| Some((id, self.attempts().get(id.index())?))) {
            write!(f, " {how} {}{}", Named(id, attempt), Why(attempt.code()))?;
        }
        others(f, self, decisive)?;
        match self.not_hedged() {
            None => Ok(()),
            Some(reason) => write!(f, "; no backup: {reason}"),
        }
    }
}

/// Writes how each attempt except `told` ended. Then writes the number of attempts.
fn others<const N: usize>(f: &mut fmt::Formatter<'_>, report: &Report<N>, told: Option<AttemptId>) -> fmt::Result {
    for (id, attempt) in report.ids().zip(report.attempts()).filter(|(id, _)| Some(*id) != told) {
        let what = match attempt.state() {
            State::InFlight => "in flight",
            State::Finished(Verdict::Accept) => "accepted",
            State::Finished(Verdict::Retry | Verdict::Wait) => "failed",
            State::Finished(Verdict::Fatal) => "refused for good",
            State::Abandoned => "abandoned",
        };
        write!(f, "; {} {what}", Named(id, attempt))?;
        if let Some(ended) = attempt.ended_micros() {
            write!(f, " after {}{}", Rounded(ended - attempt.started_micros()), Why(attempt.code()))?;
        }
    }
    match report.attempts().len() {
        0 => f.write_str("; no attempt"),
        1 => f.write_str("; 1 attempt"),
        many => write!(f, "; {many} attempts"),
    }
}

/// Writes an attempt's number, kind and server.
struct Named<'a>(AttemptId, &'a Attempt);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(id, attempt) = self;
        write!(f, "attempt {id} ({}, server {})", attempt.kind(), attempt.server())
    }
}

/// Writes the reason for a failure as `: reason`, or nothing if there is no reason.
struct Why(Code);

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == Code::NONE { Ok(()) } else { write!(f, ": {}", self.0) }
    }
}

/// Writes a time with about three digits.
struct Rounded(Micros);

impl fmt::Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        let (tenths, unit) = match micros {
            0..1_000 => return write!(f, "{micros} us"),
            1_000..99_950 => (micros.saturating_add(50) / 100, "ms"),
            99_950..9_999_500 => (micros.saturating_add(500) / 1_000 * 10, "ms"),
            _ => (micros.saturating_add(50_000) / 100_000, "s"),
        };
        match (tenths / 10, tenths % 10) {
            (whole, 0) => write!(f, "{whole} {unit}"),
            (whole, tenth) => write!(f, "{whole}.{tenth} {unit}"),
        }
    }
}

impl<const N: usize> fmt::Debug for Report<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report")
            .field("started", &self.started())
            .field("elapsed", &self.elapsed_micros())
            .field("end", &self.end())
            .field("decisive", &self.decisive())
            .field("winner", &self.winner())
            .field("not_hedged", &self.not_hedged())
            .field("attempts", &self.attempts())
            .finish()
    }
}

#[cfg(feature = "defmt")]
impl<const N: usize> defmt::Format for Report<N> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(
            f,
            "Report {{ started: {}, elapsed: {}, end: {}, decisive: {}, winner: {}, not_hedged: {}, attempts: {} }}",
            self.started(),
            self.elapsed_micros(),
            self.end(),
            self.decisive(),
            self.winner(),
            self.not_hedged(),
            self.attempts(),
        );
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::{String, ToString};

    use crate::id::{AddressKey, ServerId};
    use crate::outcome::{Denial, ErrorKind, Kind, NotHedged};
    use crate::time::Instant;

    const US: fn(u64) -> Micros = Micros::from_micros;

    /// Makes a report from a list of attempts, each with its kind, start, end, state and code. Each attempt has a
    /// server of its own.
    fn report(attempts: &[(Kind, u64, u64, State, Code)]) -> Report {
        let mut report = Report::new(Instant::from_millis(7));
        for (slot, (kind, started, ended, state, code)) in (0..).zip(attempts) {
            let mut attempt = Attempt::start(US(*started), ServerId::new(slot, 0), AddressKey(slot.into()), *kind);
            if *state != State::InFlight {
                match *state {
                    State::Finished(verdict) => attempt.finish(US(*ended), verdict, *code),
                    _ => attempt.abandon(US(*ended)),
                };
            }
            report.push(attempt).unwrap();
        }
        report
    }

    const WON: State = State::Finished(Verdict::Accept);
    const FAILED: State = State::Finished(Verdict::Retry);
    const REFUSED: Code = Code(ErrorKind::Refused as u16);

    fn hedged() -> Report {
        let mut report = report(&[
            (Kind::First, 0, 12_085, State::Abandoned, Code::NONE),
            (Kind::Backup, 10_000, 12_085, WON, Code::NONE),
        ]);
        report.decide(AttemptId::new(1));
        report.finish(End::Accepted, US(12_085));
        report
    }

    #[test]
    fn l16_a_report_in_one_line_says_how_it_ended_by_whom_and_what_became_of_the_others() {
        assert_eq!(
            hedged().to_string(),
            "accepted after 12.1 ms by attempt 1 (backup, server 1.0); attempt 0 (first, server 0.0) abandoned after \
             12.1 ms; 2 attempts"
        );
        let mut failed = report(&[
            (Kind::First, 0, 3_000, FAILED, REFUSED),
            (Kind::Retry, 3_000, 4_250, State::Finished(Verdict::Wait), Code(503)),
        ]);
        failed.decide(AttemptId::new(1));
        failed.set_not_hedged(NotHedged::Denied(Denial::Ratio));
        failed.finish(End::Failed, US(4_250));
        assert_eq!(
            failed.to_string(),
            "failed after 4.3 ms at attempt 1 (retry, server 1.0): status 503; attempt 0 (first, server 0.0) failed after 3 \
             ms: connection refused; 2 attempts; no backup: denied: ratio"
        );
        let mut late = report(&[(Kind::First, 0, 500_000, State::Abandoned, Code::NONE)]);
        late.set_not_hedged(NotHedged::Disabled);
        late.finish(End::Deadline, US(500_000));
        assert_eq!(
            late.to_string(),
            "deadline passed after 500 ms; attempt 0 (first, server 0.0) abandoned after 500 ms; 1 attempt; no backup: \
             disabled"
        );
        let mut bad =
            report(&[(Kind::First, 0, 90, State::Finished(Verdict::Fatal), Code(ErrorKind::BadRequest as u16))]);
        bad.decide(AttemptId::FIRST);
        bad.finish(End::Fatal, US(90));
        assert_eq!(
            bad.to_string(),
            "refused for good after 90 us at attempt 0 (first, server 0.0): bad request; 1 attempt; no backup: finished first"
        );
        let mut none = report(&[]);
        none.finish(End::AllDown, Micros::ZERO);
        assert_eq!(none.to_string(), "all servers down after 0 us; no attempt; no backup: finished first");
        let running =
            report(&[(Kind::First, 0, 3_000, FAILED, REFUSED), (Kind::Retry, 3_000, 0, State::InFlight, Code::NONE)]);
        assert_eq!(
            running.to_string(),
            "not ended; attempt 0 (first, server 0.0) failed after 3 ms: connection refused; attempt 1 (retry, server 1.0) \
             in flight; 2 attempts"
        );
    }

    #[test]
    fn l19_debug_says_what_the_accessors_say() {
        let debug = std::format!("{:?}", hedged());
        assert_eq!(
            debug,
            "Report { started: 7 ms, elapsed: 12.085 ms, end: Some(Accepted), decisive: Some(AttemptId(1)), winner: \
             Some(AttemptId(1)), not_hedged: None, attempts: [Attempt { kind: First, server: ServerId(0.0), address: \
             AddressKey(0), started: 0 us, ended: Some(12.085 ms), state: Abandoned, code: not said }, Attempt { kind: \
             Backup, server: ServerId(1.0), address: AddressKey(1), started: 10 ms, ended: Some(12.085 ms), state: \
             Finished(Accept), code: not said }] }"
        );
        let mut late = report(&[(Kind::First, 0, 9, FAILED, REFUSED), (Kind::Retry, 9, 0, State::InFlight, REFUSED)]);
        late.finish(End::Deadline, US(500_000));
        let debug = std::format!("{late:?}");
        for text in [
            "elapsed: 500 ms",
            "decisive: Some(AttemptId(1))",
            "winner: None",
            "not_hedged: Some(FinishedFirst)",
            "code: connection refused",
            "ended: None, state: InFlight",
        ] {
            assert!(debug.contains(text), "{text} in {debug}");
        }
        for raw in ["255", "Code(", "Micros(", "Instant(", "_us"] {
            assert!(!debug.contains(raw), "{raw} in {debug}");
        }
    }

    #[test]
    fn times_in_a_line_have_about_three_digits() {
        for (micros, text) in [
            (0, "0 us"),
            (999, "999 us"),
            (1_000, "1 ms"),
            (1_049, "1 ms"),
            (1_050, "1.1 ms"),
            (12_085, "12.1 ms"),
            (99_949, "99.9 ms"),
            (99_950, "100 ms"),
            (123_456, "123 ms"),
            (9_999_499, "9999 ms"),
            (9_999_500, "10 s"),
            (61_260_000, "61.3 s"),
            (u64::MAX, "18446744073709.5 s"),
        ] {
            let shown: String = Rounded(US(micros)).to_string();
            assert_eq!(shown, text, "{micros}");
        }
    }
}
