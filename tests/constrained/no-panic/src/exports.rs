//! The symbols that this library exports.
//!
//! Exporting a symbol is `unsafe`, since two definitions of one name are undefined behaviour. These names begin with
//! `hedge_` and are defined here only. The library is only read and never linked, so no code calls these functions with
//! invalid arguments.

#![expect(unsafe_code, reason = "there is no other way to export a symbol")]

use hedge_core::call::{Action, Call, Input};
use hedge_core::policy::CallOptions;
use hedge_core::time::Instant;

use crate::{Line, Place};

/// Makes a call. Returns false if its options cannot be carried out.
#[unsafe(no_mangle)]
pub(crate) fn hedge_new<'a>(place: &mut Place<'a>, line: &'a Line, options: &'a CallOptions<'a>, now: Instant) -> bool {
    *place = line.call(options, now).ok();
    place.is_some()
}

/// What to do next.
#[unsafe(no_mangle)]
pub(crate) fn hedge_poll(call: &mut Call<'_, &Line>, now: Instant) -> Action {
    call.poll(now)
}

/// Tells the call what happened.
#[unsafe(no_mangle)]
pub(crate) fn hedge_handle(call: &mut Call<'_, &Line>, now: Instant, input: Input) {
    call.handle(now, input);
}

/// Drops a call, whether it has ended or not.
#[unsafe(no_mangle)]
pub(crate) fn hedge_drop(place: &mut Place<'_>) {
    *place = None;
}
