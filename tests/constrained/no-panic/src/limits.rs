//! The symbols of the limits and of the adaptive delay. They are exported like those of [`exports`](crate::exports).

#![expect(unsafe_code, reason = "there is no other way to export a symbol")]

use hedge_core::limit::{LimitOptions, Limits};
use hedge_core::outcome::{Denial, Extra};
use hedge_core::policy::{AdaptiveDelay, AdaptiveOptions, BackupDelay, BackupPolicy, Ended};
use hedge_core::time::Instant;

/// Makes all limits, as a configuration file may set them.
#[unsafe(no_mangle)]
pub(crate) fn hedge_limits_new(place: &mut Option<Limits>, options: LimitOptions) {
    *place = Some(Limits::new(options));
}

/// Whether a backup may be sent.
#[unsafe(no_mangle)]
pub(crate) fn hedge_limits_back_up(limits: &Limits, now: Instant) -> Result<(), Denial> {
    limits.may_back_up(now)
}

/// Whether a retry may be sent.
#[unsafe(no_mangle)]
pub(crate) fn hedge_limits_retry(limits: &Limits, now: Instant) -> Result<(), Denial> {
    limits.may_retry(now)
}

/// Takes back a grant.
#[unsafe(no_mangle)]
pub(crate) fn hedge_limits_take_back(limits: &Limits, extra: Extra, now: Instant) {
    limits.take_back(extra, now);
}

/// Tells the policy of the end of a call.
#[unsafe(no_mangle)]
pub(crate) fn hedge_limits_ended(limits: &Limits, call: &Ended<'_>) {
    limits.ended(call);
}

/// Makes an adaptive delay.
#[unsafe(no_mangle)]
pub(crate) fn hedge_adaptive_new(place: &mut Option<AdaptiveDelay>, options: AdaptiveOptions) {
    *place = Some(AdaptiveDelay::new(options));
}

/// Returns the delay.
#[unsafe(no_mangle)]
pub(crate) fn hedge_adaptive_delay(adaptive: &AdaptiveDelay, now: Instant) -> Option<BackupDelay> {
    adaptive.delay(now)
}

/// Whether a backup may be sent.
#[unsafe(no_mangle)]
pub(crate) fn hedge_adaptive_back_up(adaptive: &AdaptiveDelay, now: Instant) -> Result<(), Denial> {
    adaptive.may_back_up(now)
}

/// Takes back a grant.
#[unsafe(no_mangle)]
pub(crate) fn hedge_adaptive_take_back(adaptive: &AdaptiveDelay, extra: Extra, now: Instant) {
    adaptive.take_back(extra, now);
}

/// Tells the policy of the end of a call.
#[unsafe(no_mangle)]
pub(crate) fn hedge_adaptive_ended(adaptive: &AdaptiveDelay, call: &Ended<'_>) {
    adaptive.ended(call);
}
