//! Where the rules leave room, or the core does not do what they say: what the model takes for right, each in one place.

/// A pushback moved or cancelled the backup timer, and the call ended before the timer would have fired without it. The rules
/// say `Pushback` where the backup was not sent *because of* a pushback, so that this is `FinishedFirst`. The core says
/// `Pushback`, but for a call that is accepted no later than start + delay.
pub(super) const ONLY_SUCCESS_IN_THE_FIRST_DELAY_FINISHES_FIRST: bool = true;

/// A failure that is not retried brings a pushback while nothing is pending. The rules say that a pushback is about the next
/// start of any kind, so that a later failure's retry waits for it; the core forgets it.
pub(super) const PUSHBACK_WITHOUT_A_START_IS_FORGOTTEN: bool = true;

/// A retry that goes to the server of the failed attempt (`RetryTarget::Same`) finds a backup at work there. The rules say
/// that an address at work on the call gets no further attempt unless `same_server_backup` (L11); the core sends it.
pub(super) const SAME_GOES_TO_AN_ADDRESS_AT_WORK: bool = true;
