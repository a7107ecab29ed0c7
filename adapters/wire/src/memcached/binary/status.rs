//! The status of an answer: [`Status`].

/// The status of an answer. Any status but [`Status::Ok`] is an answer too: the server is alive.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Status {
    /// Done.
    Ok,
    /// There is no such key.
    NotFound,
    /// The key exists, or has another cas number.
    Exists,
    /// The value is larger than the server's limit. A value that was there before may be gone.
    TooLarge,
    /// The request contradicts itself. The server closes the connection.
    InvalidArguments,
    /// The condition of the operation did not hold.
    NotStored,
    /// The value is not a counter.
    NotNumeric,
    /// The key belongs to another server's bucket.
    WrongBucket,
    /// Not authenticated, or wrong credentials.
    AuthError,
    /// The server asks for another step of the authentication.
    AuthContinue,
    /// The server does not know the operation.
    UnknownCommand,
    /// The server has no memory left. A value that was there before may be gone.
    OutOfMemory,
    /// The server does not support the operation.
    NotSupported,
    /// An error of the server.
    InternalError,
    /// The server is too busy.
    Busy,
    /// A failure that will pass.
    TemporaryFailure,
    /// Another number.
    Other(u16),
}

impl Status {
    /// The status with this number.
    #[must_use]
    pub const fn of(number: u16) -> Self {
        match number {
            0x00 => Self::Ok,
            0x01 => Self::NotFound,
            0x02 => Self::Exists,
            0x03 => Self::TooLarge,
            0x04 => Self::InvalidArguments,
            0x05 => Self::NotStored,
            0x06 => Self::NotNumeric,
            0x07 => Self::WrongBucket,
            0x20 => Self::AuthError,
            0x21 => Self::AuthContinue,
            0x81 => Self::UnknownCommand,
            0x82 => Self::OutOfMemory,
            0x83 => Self::NotSupported,
            0x84 => Self::InternalError,
            0x85 => Self::Busy,
            0x86 => Self::TemporaryFailure,
            other => Self::Other(other),
        }
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub const fn is_temporary(self) -> bool {
        matches!(self, Self::OutOfMemory | Self::Busy | Self::TemporaryFailure)
    }
}
