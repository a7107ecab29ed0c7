//! Decides when a backup is sent and whether it may be sent: [`BackupDelay`], and the trait [`BackupPolicy`] for the
//! user's own policy ([B2](crate::rules#B2)).

use core::fmt;
use core::ops::Deref;

#[cfg(feature = "serde")]
use crate::field::named::{FromScalar, OFF, Scalar};
use crate::outcome::{Attempt, Denial, End, Extra, Kind, NotHedged};
#[cfg(feature = "serde")]
use crate::time::field::{duration, unit_is_missing};
use crate::time::{Duration, Instant, Micros};

/// The time that a call waits for an answer before it sends a backup to another server. In a file, a backup delay is a
/// duration, or `"off"`. A [shadow](BackupDelay::shadow) is for policies and cannot be written in a file.
///
/// Delays are in whole microseconds, rounded up. `Debug` and `Display` write `20 ms`, `off`, or `shadow 20 ms`.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct BackupDelay(When);

/// The content of a [`BackupDelay`].
#[derive(Clone, Copy, PartialEq, Eq, Default)]
// Without this attribute, the tag takes 64 bits on a microcontroller, which is as much as the time in a variant.
#[repr(usize)]
pub(crate) enum When {
    #[default]
    Off,
    After(Micros),
    Shadow(Micros),
}

impl BackupDelay {
    /// No backup is sent.
    pub const OFF: Self = Self(When::Off);

    /// Makes a delay: a backup is sent `delay` after the call's start. A delay of zero means right after the first
    /// attempt has started.
    #[must_use]
    pub const fn after(delay: Duration) -> Self {
        Self(When::After(Micros::from_duration(delay)))
    }

    /// Makes a shadow: no backup is sent, but if a call takes longer than `delay`, its report says that a backup would
    /// have been sent ([`NotHedged::Shadow`](crate::outcome::NotHedged::Shadow)). Policies and limits are not asked.
    #[must_use]
    pub const fn shadow(delay: Duration) -> Self {
        Self(When::Shadow(Micros::from_duration(delay)))
    }

    /// Returns the delay after which a backup is sent. Returns `None` for [`BackupDelay::OFF`] and for a
    /// [shadow](Self::shadow).
    #[must_use]
    pub const fn delay(self) -> Option<Duration> {
        match self.0 {
            When::After(delay) => Some(delay.to_duration()),
            When::Off | When::Shadow(_) => None,
        }
    }

    /// Returns the delay of a [shadow](Self::shadow). Returns `None` if this is not a shadow.
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
    /// Makes the same value as [`BackupDelay::after`].
    fn from(delay: Duration) -> Self {
        Self::after(delay)
    }
}

impl From<Micros> for BackupDelay {
    /// Makes the same value as [`BackupDelay::after`].
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
    /// Writes the same text as `Display`.
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
impl serde::Serialize for BackupDelay {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let delay = match self.0 {
            When::After(delay) => Some(delay),
            When::Off => None,
            When::Shadow(_) => return Err(serde::ser::Error::custom("a shadow's delay has no form in a file")),
        };
        crate::time::text::serialize_or(delay, OFF, serializer)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for BackupDelay {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let delay = crate::time::text::deserialize_or(OFF, deserializer)?;
        Ok(delay.map_or(Self::OFF, Self::from))
    }
}

#[cfg(feature = "serde")]
impl FromScalar for BackupDelay {
    type Binary = Self;

    fn from_scalar(scalar: &Scalar<'_>) -> Option<Self> {
        match scalar {
            Scalar::Text(OFF) => Some(Self::OFF),
            _ => duration(scalar).map(Self::from),
        }
    }

    fn hint(scalar: &Scalar<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        unit_is_missing(scalar, f)
    }
}

/// A notice to a policy that a call has ended.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Ended<'a> {
    /// How the call ended.
    pub end: End,
    /// When the call ended.
    pub at: Instant,
    /// The call's attempts, in the order of their starts.
    pub attempts: &'a [Attempt],
    elapsed: Micros,
    reason: NotHedged,
}

impl<'a> Ended<'a> {
    /// Makes the notice that a call has ended. `reason` says why the call had no backup. If the call had a backup,
    /// `reason` is not used.
    pub(crate) const fn new(
        end: End,
        (at, elapsed): (Instant, Micros),
        attempts: &'a [Attempt],
        reason: NotHedged,
    ) -> Self {
        Self { end, at, attempts, elapsed, reason }
    }

    /// Returns the time from the call's start to its end.
    #[must_use]
    pub const fn elapsed(&self) -> Duration {
        self.elapsed.to_duration()
    }

    /// Returns [`elapsed`](Self::elapsed) as a [`Micros`].
    #[must_use]
    pub const fn elapsed_micros(&self) -> Micros {
        self.elapsed
    }

    /// Returns why the call had no backup ([L19](crate::rules#L19)). Returns `None` if the call had a backup.
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

/// The user's own policy on backups ([B2](crate::rules#B2)). It gives the backup delay, says whether a backup may be
/// sent now, and is informed of every call's end.
///
/// Several channels and several threads may use one policy at the same time, so keep its state in atomics. Every method
/// has a default implementation, which gives no delay and refuses nothing. A call's own policy decides instead of the
/// channel's policy whether an extra attempt may be sent. The backup delay is the first of these four that is given:
/// the delay of the call's own policy, the call's fixed delay, the delay of the channel's policy, the channel's fixed
/// delay ([B1](crate::rules#B1)). The policy that allows or refuses a call's backups is also informed when that call
/// ends.
pub trait BackupPolicy {
    /// Returns the backup delay for a call whose first attempt starts at `now`. If the result is `None`, the fixed
    /// delay of the same level (call or channel) is used. If there is no such delay either, the channel's delay is
    /// used. A call asks a policy for the delay at most once.
    fn delay(&self, now: Instant) -> Option<BackupDelay> {
        let _ = now;
        None
    }

    /// Returns whether a backup may be sent now. The call asks this when the backup timer has fired and a server has
    /// been found ([L5](crate::rules#L5)). A permission counts as a backup that was sent.
    ///
    /// # Errors
    /// Returns the limit that refuses the backup.
    fn may_back_up(&self, now: Instant) -> Result<(), Denial> {
        let _ = now;
        Ok(())
    }

    /// Returns whether a retry may be sent now. The call asks this when the retry is due and a server has been found. A
    /// permission counts as a retry that was sent.
    ///
    /// # Errors
    /// Returns the limit that refuses the retry.
    fn may_retry(&self, now: Instant) -> Result<(), Denial> {
        let _ = now;
        Ok(())
    }

    /// Takes back a permission that this policy gave at `now`, because another policy has refused the same attempt
    /// ([B6](crate::rules#B6)).
    fn take_back(&self, extra: Extra, now: Instant) {
        let _ = (extra, now);
    }

    /// Informs the policy that a call has ended, with any result. This method is called once for each call that was
    /// polled at least once. The number of the call's attempts does not matter.
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

/// Two policies that must both agree ([B6](crate::rules#B6)). If the second one refuses, the permission of the first
/// one is taken back. The delay of the first policy is used. If the first policy gives no delay, the delay of the
/// second policy is used.
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

/// An optional policy. `None` decides nothing: it gives no delay and refuses nothing.
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

/// A policy that decides nothing: the fixed delay is used, and no backup or retry is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NoPolicy;

impl BackupPolicy for NoPolicy {}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::atomic::{AtomicU32, Ordering};

    const NOW: Instant = Instant::from_millis(7);

    /// A policy that refuses backups and retries. It records each call of one of its methods as a digit.
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
