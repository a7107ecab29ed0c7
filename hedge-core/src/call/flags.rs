//! Facts about a call that take one bit each: [`Flags`].

/// A set of facts about a call, one bit each.
#[derive(Clone, Copy, Default)]
pub(super) struct Flags(u8);

impl Flags {
    /// The call was polled at least once.
    pub(super) const POLLED: u8 = 1;
    /// A server asked for no further attempt, so no retry or backup follows ([R4](crate::rules#R4)).
    pub(super) const NO_MORE: u8 = 1 << 1;
    /// A failure is held: it gets no retry of its own, because the armed backup replaces that retry
    /// ([L9](crate::rules#L9)).
    pub(super) const HELD: u8 = 1 << 2;
    /// A server's pushback has set the time of the pending start ([R4](crate::rules#R4)).
    pub(super) const PUSHED: u8 = 1 << 3;
    /// A retry is due and waits for an address that is idle in this call ([L11](crate::rules#L11)).
    pub(super) const RETRY_WAITS: u8 = 1 << 4;
    /// A backup is due and waits for an address that is idle in this call ([L11](crate::rules#L11)).
    pub(super) const BACKUP_WAITS: u8 = 1 << 5;
    /// The first attempt was put into the host's queue ([L22](crate::rules#L22)).
    pub(super) const QUEUED: u8 = 1 << 6;

    pub(super) const fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    pub(super) const fn set(&mut self, flag: u8) {
        self.0 |= flag;
    }

    /// Clears a flag. Returns whether the flag was set.
    pub(super) const fn take(&mut self, flag: u8) -> bool {
        let was_set = self.has(flag);
        self.0 &= !flag;
        was_set
    }
}
