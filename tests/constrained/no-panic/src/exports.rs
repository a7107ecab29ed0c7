//! The symbols that this library exports.
//!
//! Exporting a symbol is `unsafe` as two definitions of one name would be undefined behaviour; these names begin with
//! `hedge_` and are defined here alone. The library is read, never linked, so nothing calls them with arguments that do
//! not hold what their types say.

#![expect(unsafe_code, reason = "a symbol can be exported in no other way")]

use hedge_core::call::{Action, Call, Input};
use hedge_core::policy::CallOptions;
use hedge_core::time::Instant;

use crate::{Line, Place};

/// Makes a call; false if its options cannot be carried out.
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

/// Takes in what happened.
#[unsafe(no_mangle)]
pub(crate) fn hedge_handle(call: &mut Call<'_, &Line>, now: Instant, input: Input) {
    call.handle(now, input);
}

/// Ends a call, done or not.
#[unsafe(no_mangle)]
pub(crate) fn hedge_drop(place: &mut Place<'_>) {
    *place = None;
}
