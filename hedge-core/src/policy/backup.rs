//! When a backup is sent, and whether it may be: the user's own hook ([B2](crate::rules#B2)).

use core::fmt;
use core::ops::Deref;

#[cfg(feature = "serde")]
use crate::field::named::{FromScalar, Scalar};
use crate::outcome::{Attempt, Denial, End, Extra, Kind, NotHedged};
#[cfg(feature = "serde")]
use crate::time::field::{duration, unit_is_missing};
use crate::time::{Duration, Instant, Micros};

/// How long a call waits for an answer before it is also sent to another server. In a file: a duration, or `"disabled"`;
/// a [shadow](BackupDelay::shadow) is for policies and cannot be written in a file.
///
/// It holds whole microseconds, rounded up. `Debug` reads as `Display`: `20 ms`, `off`, or `shadow 20 ms`.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct BackupDelay(When);

/// What a [`BackupDelay`] holds.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
// Without this the tag takes 64 bits on a microcontroller, as the time in a variant does.
#[repr(usize)]
pub(crate) enum When {
    #[default]
    Off,
    After(Micros),
    Shadow(Micros),
}

impl BackupDelay {
    /// No backup.
    pub const OFF: Self = Self(When::Off);

    /// This long after the call's start. Zero means right after the first attempt has started.
    #[must_use]
    pub const fn after(delay: Duration) -> Self {
        Self(When::After(Micros::from_duration(delay)))
    }

    /// No backup. If a call takes longer than `delay`, its report says that it could have had one:
    /// [`NotHedged::Shadow`](crate::outcome::NotHedged::Shadow). No policy or limit is asked.
    #[must_use]
    pub const fn shadow(delay: Duration) -> Self {
        Self(When::Shadow(Micros::from_duration(delay)))
    }

    /// When a backup is sent; `None` if none is: for [`BackupDelay::OFF`] and for a [shadow](Self::shadow).
    #[must_use]
    pub const fn delay(self) -> Option<Duration> {
        match self.0 {
            When::After(delay) => Some(delay.to_duration()),
            When::Off | When::Shadow(_) => None,
        }
    }

    /// The delay of a [shadow](Self::shadow); `None` for any other.
    #[must_use]
    pub const fn shadow_delay(self) -> Option<Duration> {
        match self.0 {
            When::Shadow(delay) => Some(delay.to_duration()),
            When::Off | When::After(_) => None,
        }
    }

    pub(crate) const fn when(self) -> When {
        self.0
    }
}

impl From<When> for BackupDelay {
    fn from(when: When) -> Self {
        Self(when)
    }
}

impl From<Duration> for BackupDelay {
    /// As [`BackupDelay::after`].
    fn from(delay: Duration) -> Self {
        Self::after(delay)
    }
}

impl From<Micros> for BackupDelay {
    /// As [`BackupDelay::after`].
    fn from(delay: Micros) -> Self {
        Self(When::After(delay))
    }
}

impl fmt::Display for BackupDelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            When::Off => f.write_str("off"),
            When::After(delay) => delay.fmt(f),
            When::Shadow(delay) => write!(f, "shadow {delay}"),
        }
    }
}

impl fmt::Debug for BackupDelay {
    /// As `Display`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for BackupDelay {
    fn format(&self, f: defmt::Formatter<'_>) {
        match self.0 {
            When::Off => defmt::write!(f, "off"),
            When::After(delay) => delay.format(f),
            When::Shadow(delay) => defmt::write!(f, "shadow {}", delay),
        }
    }
}

#[cfg(feature = "serde")]
impl BackupDelay {
    /// How files write "no backup".
    const DISABLED: &str = "disabled";
}

#[cfg(feature = "serde")]
impl serde::Serialize for BackupDelay {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let delay = match self.0 {
            When::After(delay) => Some(delay),
            When::Off => None,
            When::Shadow(_) => return Err(serde::ser::Error::custom("a shadow's delay has no form in a file")),
        };
        crate::time::text::serialize_or(delay, Self::DISABLED, serializer)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for BackupDelay {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let delay = crate::time::text::deserialize_or(Self::DISABLED, deserializer)?;
        Ok(delay.map_or(Self::OFF, Self::from))
    }
}

#[cfg(feature = "serde")]
impl FromScalar for BackupDelay {
    type Binary = Self;

    fn from_scalar(scalar: &Scalar<'_>) -> Option<Self> {
        match scalar {
            Scalar::Text(BackupDelay::DISABLED) => Some(Self::OFF),
            _ => duration(scalar).map(Self::from),
        }
    }

    fn hint(scalar: &Scalar<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        unit_is_missing(scalar, f)
    }
}

/// What a policy is told when a call has ended.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Ended<'a> {
    /// How it ended.
    pub end: End,
    /// When it ended.
    pub at: Instant,
    /// Its attempts, in the order of their starts.
    pub attempts: &'a [Attempt],
    elapsed: Micros,
    reason: NotHedged,
}

impl<'a> Ended<'a> {
    /// The end of a call, and the reason why it had no backup, if it had none.
    pub(crate) const fn new(
        end: End,
        (at, elapsed): (Instant, Micros),
        attempts: &'a [Attempt],
        reason: NotHedged,
    ) -> Self {
        Self { end, at, attempts, elapsed, reason }
    }

    /// How long it took.
    #[must_use]
    pub const fn elapsed(&self) -> Duration {
        self.elapsed.to_duration()
    }

    /// How long it took, as the state machine counts it.
    #[must_use]
    pub const fn elapsed_micros(&self) -> Micros {
        self.elapsed
    }

    /// Why it had no backup ([L19](crate::rules#L19)); `None` if it had one.
    #[must_use]
    pub fn not_hedged(&self) -> Option<NotHedged> {
        let hedged = self.attempts.iter().any(|attempt| attempt.kind() == Kind::Backup);
        if hedged { None } else { Some(self.reason) }
    }
}

impl fmt::Debug for Ended<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ended")
            .field("end", &self.end)
            .field("at", &self.at)
            .field("elapsed", &self.elapsed)
            .field("not_hedged", &self.not_hedged())
            .field("attempts", &self.attempts)
            .finish()
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Ended<'_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(
            f,
            "Ended {{ end: {}, at: {}, elapsed: {}, not_hedged: {}, attempts: {} }}",
            self.end,
            self.at,
            self.elapsed,
            self.not_hedged(),
            self.attempts,
        );
    }
}

/// The user's own hook on backups ([B2](crate::rules#B2)): the delay, whether to send now, and a notice at every call's
/// end.
///
/// One policy may serve several channels and is shared by threads, so keep its state in atomics. Every method has a default
/// that changes nothing. [B1](crate::rules#B1) says which policy and which delay count: the call's own, then the channel's;
/// within each the policy before the plain delay. The policy that counts for a call is also the one that is told of its
/// end.
pub trait BackupPolicy {
    /// The delay for this call; `None` inherits the plain delay of the same level, then the channel's. Asked once, when
    /// the call starts.
    fn delay(&self, now: Instant) -> Option<BackupDelay> {
        let _ = now;
        None
    }

    /// Whether a backup may be sent now. Asked when the timer has fired and a server has been found
    /// ([L5](crate::rules#L5)). A grant counts as sent.
    ///
    /// # Errors
    /// The limit that refuses.
    fn may_back_up(&self, now: Instant) -> Result<(), Denial> {
        let _ = now;
        Ok(())
    }

    /// Whether a retry may be sent now. Asked when it is due and a server has been found. A grant counts as sent.
    ///
    /// # Errors
    /// The limit that refuses.
    fn may_retry(&self, now: Instant) -> Result<(), Denial> {
        let _ = now;
        Ok(())
    }

    /// Takes back what was granted at `now`, since another policy refused it ([B6](crate::rules#B6)). It undoes what the
    /// grant has counted.
    fn take_back(&self, extra: Extra, now: Instant) {
        let _ = (extra, now);
    }

    /// Told once when a call has ended, in whatever way, if it was polled at least once. It is told once a call, not once
    /// an attempt.
    fn ended(&self, call: &Ended<'_>) {
        let _ = call;
    }
}

impl<P: BackupPolicy + ?Sized> BackupPolicy for &P {
    fn delay(&self, now: Instant) -> Option<BackupDelay> {
        (**self).delay(now)
    }

    fn may_back_up(&self, now: Instant) -> Result<(), Denial> {
        (**self).may_back_up(now)
    }

    fn may_retry(&self, now: Instant) -> Result<(), Denial> {
        (**self).may_retry(now)
    }

    fn take_back(&self, extra: Extra, now: Instant) {
        (**self).take_back(extra, now);
    }

    fn ended(&self, call: &Ended<'_>) {
        (**self).ended(call);
    }
}

/// A policy behind a pointer that owns it: `ByPointer(Arc::clone(&policy))`.
#[derive(Clone, Copy, Debug)]
pub struct ByPointer<P>(pub P);

impl<P: Deref<Target: BackupPolicy>> BackupPolicy for ByPointer<P> {
    fn delay(&self, now: Instant) -> Option<BackupDelay> {
        self.0.delay(now)
    }

    fn may_back_up(&self, now: Instant) -> Result<(), Denial> {
        self.0.may_back_up(now)
    }

    fn may_retry(&self, now: Instant) -> Result<(), Denial> {
        self.0.may_retry(now)
    }

    fn take_back(&self, extra: Extra, now: Instant) {
        self.0.take_back(extra, now);
    }

    fn ended(&self, call: &Ended<'_>) {
        self.0.ended(call);
    }
}

/// Both must agree ([B6](crate::rules#B6)). The delay is the first one that is given. What the first has granted is taken
/// back if the second refuses.
impl<P: BackupPolicy, Q: BackupPolicy> BackupPolicy for (P, Q) {
    fn delay(&self, now: Instant) -> Option<BackupDelay> {
        self.0.delay(now).or_else(|| self.1.delay(now))
    }

    fn may_back_up(&self, now: Instant) -> Result<(), Denial> {
        self.0.may_back_up(now)?;
        self.1.may_back_up(now).inspect_err(|_| self.0.take_back(Extra::Backup, now))
    }

    fn may_retry(&self, now: Instant) -> Result<(), Denial> {
        self.0.may_retry(now)?;
        self.1.may_retry(now).inspect_err(|_| self.0.take_back(Extra::Retry, now))
    }

    fn take_back(&self, extra: Extra, now: Instant) {
        self.0.take_back(extra, now);
        self.1.take_back(extra, now);
    }

    fn ended(&self, call: &Ended<'_>) {
        self.0.ended(call);
        self.1.ended(call);
    }
}

/// `None` refuses nothing.
impl<P: BackupPolicy> BackupPolicy for Option<P> {
    fn delay(&self, now: Instant) -> Option<BackupDelay> {
        self.as_ref().and_then(|policy| policy.delay(now))
    }

    fn may_back_up(&self, now: Instant) -> Result<(), Denial> {
        self.as_ref().map_or(Ok(()), |policy| policy.may_back_up(now))
    }

    fn may_retry(&self, now: Instant) -> Result<(), Denial> {
        self.as_ref().map_or(Ok(()), |policy| policy.may_retry(now))
    }

    fn take_back(&self, extra: Extra, now: Instant) {
        if let Some(policy) = self {
            policy.take_back(extra, now);
        }
    }

    fn ended(&self, call: &Ended<'_>) {
        if let Some(policy) = self {
            policy.ended(call);
        }
    }
}

/// No policy: the plain delay counts, and nothing is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NoPolicy;

impl BackupPolicy for NoPolicy {}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::atomic::{AtomicU32, Ordering};

    const NOW: Instant = Instant::from_millis(7);

    /// Refuses backups, and records each question as a digit.
    #[derive(Default)]
    struct Noting(AtomicU32);

    impl Noting {
        fn note(&self, digit: u32) {
            self.0.store(self.0.load(Ordering::Relaxed) * 10 + digit, Ordering::Relaxed);
        }
    }

    impl BackupPolicy for Noting {
        fn delay(&self, now: Instant) -> Option<BackupDelay> {
            self.note(1);
            Some(BackupDelay::after(now.since(Instant::ZERO)))
        }
        fn may_back_up(&self, _: Instant) -> Result<(), Denial> {
            self.note(2);
            Err(Denial::Policy)
        }
        fn may_retry(&self, _: Instant) -> Result<(), Denial> {
            self.note(3);
            Err(Denial::Policy)
        }
        fn take_back(&self, extra: Extra, _: Instant) {
            self.note(if extra == Extra::Retry { 4 } else { 5 });
        }
        fn ended(&self, _: &Ended<'_>) {
            self.note(6);
        }
    }

    #[test]
    fn b6_a_policy_behind_something_is_asked_and_told_all_the_same() {
        fn all(policy: &impl BackupPolicy) {
            assert_eq!(policy.delay(NOW), Some(BackupDelay::after(Duration::from_millis(7))));
            assert_eq!(policy.may_back_up(NOW), Err(Denial::Policy));
            assert_eq!(policy.may_retry(NOW), Err(Denial::Policy));
            policy.take_back(Extra::Retry, NOW);
            policy.take_back(Extra::Backup, NOW);
            policy.ended(&Ended::new(End::Accepted, (NOW, Micros::ZERO), &[], NotHedged::Disabled));
        }
        let noting = Noting::default();
        let noted = || noting.0.swap(0, Ordering::Relaxed);
        all(&&noting);
        assert_eq!(noted(), 123_456);
        all(&ByPointer(std::rc::Rc::new(&noting)));
        assert_eq!(noted(), 123_456);
        all(&Some(&noting));
        assert_eq!(noted(), 123_456);
        all(&(NoPolicy, &noting));
        assert_eq!(noted(), 123_456);
        all(&(None::<NoPolicy>, (&noting, NoPolicy)));
        assert_eq!(noted(), 123_456);
    }
}
