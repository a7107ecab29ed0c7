//! The first word of an answer: [`Status`].

/// The first word of an answer. Errors are answers too: the server is alive.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Status {
    /// `HD`: done, or found, without a value.
    Done,
    /// `VA`: a value.
    Value,
    /// `EN`: there is no such key.
    Miss,
    /// `NS`: not stored, since the condition did not hold.
    NotStored,
    /// `EX`: the value has another cas number.
    Exists,
    /// `NF`: there is no such key. This answers an operation that is not a read.
    NotFound,
    /// `MN`: the answer to a no-op.
    NoOp,
    /// `ME`: what the server knows of a key.
    Debug,
    /// `ERROR`: the server does not know the command. After an `ms`, close the connection: the server may have read the
    /// value as commands.
    UnknownCommand,
    /// `CLIENT_ERROR`: the server refuses the request, and says why: the value is no counter, or it does not know a flag.
    /// After an `ms`, close the connection, as for [`Status::UnknownCommand`].
    ClientError,
    /// `SERVER_ERROR`: the server could not do it, and says why: often it has no memory left. A value that was there
    /// before may be gone.
    ServerError,
}

impl Status {
    pub(super) const WORDS: [(&'static [u8], Self); 11] = [
        (b"HD", Self::Done),
        (b"VA", Self::Value),
        (b"EN", Self::Miss),
        (b"NS", Self::NotStored),
        (b"EX", Self::Exists),
        (b"NF", Self::NotFound),
        (b"MN", Self::NoOp),
        (b"ME", Self::Debug),
        (b"ERROR", Self::UnknownCommand),
        (b"CLIENT_ERROR", Self::ClientError),
        (b"SERVER_ERROR", Self::ServerError),
    ];

    /// Whether the server reports an error in words.
    #[must_use]
    pub const fn is_error(self) -> bool {
        matches!(self, Self::UnknownCommand | Self::ClientError | Self::ServerError)
    }
}
