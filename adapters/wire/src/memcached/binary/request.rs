//! Writes requests as bytes: [`Request`].

use core::fmt;

use super::super::{EncodeError, Key, MAX_VALUE};
use super::{HEAD, Opcode};
use crate::write::Writer;

/// A request. It borrows all its parts.
///
/// ```
/// use hedge_wire::memcached::binary::{Operation, Request};
/// use hedge_wire::memcached::{EncodeError, Key};
///
/// let touch = Operation::Touch { key: Key::new(b"key1")?, expires: 30 };
/// let mut out = [0; 64];
/// let length = Request { operation: touch, is_quiet: false, opaque: 0 }.encode(&mut out)?;
/// assert_eq!(&out[..length], b"\x80\x1c\0\x04\x04\0\0\0\0\0\0\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x1ekey1");
/// let quiet = Request { operation: touch, is_quiet: true, opaque: 0 };
/// assert_eq!(quiet.encode(&mut out), Err(EncodeError::NotQuiet));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request<'a> {
    /// What is asked for.
    pub operation: Operation<'a>,
    /// Whether the server sends no answer in the usual case: a miss of a read, or the success of another operation.
    pub is_quiet: bool,
    /// A number that the answer repeats.
    pub opaque: u32,
}

/// What a [`Request`] asks for. `expires` is in seconds from now up to 30 days (2,592,000), above that a Unix time, and 0
/// for never. `cas` makes an operation fail with [`Status::Exists`](super::Status::Exists) unless the value has that
/// number; 0 means any.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Operation<'a> {
    /// Reads a value.
    Get {
        /// The key.
        key: Key<'a>,
        /// Whether the answer must contain the key.
        with_key: bool,
    },
    /// Reads a value and sets when it expires.
    GetAndTouch {
        /// The key.
        key: Key<'a>,
        /// When the value expires.
        expires: u32,
        /// Whether the answer must contain the key.
        with_key: bool,
    },
    /// Sets when a value expires.
    Touch {
        /// The key.
        key: Key<'a>,
        /// When the value expires.
        expires: u32,
    },
    /// Stores a value.
    Store {
        /// Under which condition.
        store: Store,
        /// The key.
        key: Key<'a>,
        /// The value, at most [`MAX_VALUE`] bytes.
        value: &'a [u8],
        /// A number that is stored with the value.
        flags: u32,
        /// When the value expires.
        expires: u32,
        /// The number that the value must have.
        cas: u64,
    },
    /// Adds bytes behind a value. brpc sends eight bytes of extras with this, which memcached refuses; none are sent here.
    Append {
        /// The key.
        key: Key<'a>,
        /// The bytes, at most [`MAX_VALUE`].
        value: &'a [u8],
        /// The number that the value must have.
        cas: u64,
    },
    /// Adds bytes before a value.
    Prepend {
        /// The key.
        key: Key<'a>,
        /// The bytes, at most [`MAX_VALUE`].
        value: &'a [u8],
        /// The number that the value must have.
        cas: u64,
    },
    /// Deletes a value.
    Delete {
        /// The key.
        key: Key<'a>,
        /// The number that the value must have.
        cas: u64,
    },
    /// Adds to a counter, which wraps at 64 bits.
    Increment {
        /// The key.
        key: Key<'a>,
        /// How much is added.
        delta: u64,
        /// The counter's value and the time at which it expires, if there is no counter yet. `None`: that is an error.
        initial: Option<(u64, u32)>,
    },
    /// Subtracts from a counter, down to 0.
    Decrement {
        /// The key.
        key: Key<'a>,
        /// How much is subtracted.
        delta: u64,
        /// As for [`Operation::Increment`].
        initial: Option<(u64, u32)>,
    },
    /// Deletes all values.
    Flush {
        /// After how many seconds.
        after: u32,
    },
    /// Asks for the version of the server.
    Version,
    /// Does nothing. The answer tells that all requests before it were done.
    NoOp,
    /// Asks for the SASL mechanisms of the server.
    SaslList,
    /// Begins to authenticate the connection.
    SaslAuth {
        /// The name of the mechanism, such as `PLAIN`.
        mechanism: &'a [u8],
        /// What the mechanism sends first.
        data: &'a [u8],
    },
    /// Goes on to authenticate the connection.
    SaslStep {
        /// The name of the mechanism.
        mechanism: &'a [u8],
        /// What the mechanism sends next.
        data: &'a [u8],
    },
}

/// The condition under which a value is stored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Store {
    /// Always.
    Set,
    /// Only if there is no value.
    Add,
    /// Only if there is a value.
    Replace,
}

impl Operation<'_> {
    /// Whether the request may be sent twice, or to two servers at once, with the same result. This is true only for
    /// reads. The caller may know that another operation may be sent twice too.
    #[must_use]
    pub const fn is_idempotent(&self) -> bool {
        matches!(self, Self::Get { .. } | Self::Version | Self::NoOp | Self::SaslList)
    }

    /// Whether the request may be sent on a connection that other callers use too. Authentication concerns the whole
    /// connection.
    #[must_use]
    pub const fn may_share(&self) -> bool {
        !matches!(self, Self::SaslAuth { .. } | Self::SaslStep { .. })
    }
}

impl Request<'_> {
    /// The number of the operation. `None` if it has no quiet form, and the request is quiet.
    #[must_use]
    pub fn opcode(&self) -> Option<Opcode> {
        let opcode = self.operation.parts().opcode;
        if self.is_quiet { opcode.quiet() } else { Some(opcode) }
    }

    /// How many bytes the request takes.
    #[must_use]
    pub fn length(&self) -> usize {
        HEAD.saturating_add(self.operation.parts().body())
    }

    /// Writes the request to `out`, and returns how many bytes were written.
    ///
    /// # Errors
    /// See [`EncodeError`]. The contents of `out` are of no use then.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        let mut writer = Writer::new(out);
        self.write(&mut writer)?;
        writer.finish().map_err(|needs| EncodeError::TooLong { needs })
    }

    /// Appends the request to `out`, which grows at most once.
    ///
    /// # Errors
    /// See [`EncodeError`]. `out` is as it was then.
    #[cfg(feature = "alloc")]
    pub fn append(&self, out: &mut alloc::vec::Vec<u8>) -> Result<(), EncodeError> {
        self.write(&mut Writer::new(&mut []))?;
        let begin = out.len();
        out.resize(begin.saturating_add(self.length()), 0);
        self.write(&mut Writer::new(out.get_mut(begin..).unwrap_or(&mut [])))
    }

    pub(super) fn write(&self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        let opcode = self.opcode().ok_or(EncodeError::NotQuiet)?;
        let parts = self.operation.parts();
        let value_too_long = EncodeError::ValueTooLong { length: parts.value.len() };
        if parts.value.len() > MAX_VALUE {
            return Err(value_too_long);
        }
        let key = u16::try_from(parts.key.len()).map_err(|_| EncodeError::BadMechanism)?;
        if key == 0 && parts.needs_key {
            return Err(EncodeError::BadMechanism);
        }
        let body = u32::try_from(parts.body()).map_err(|_| value_too_long)?;
        out.put(&[0x80, opcode.number()]);
        out.put(&key.to_be_bytes());
        out.put(&[parts.extras.length, 0, 0, 0]);
        out.put(&body.to_be_bytes());
        out.put(&self.opaque.to_be_bytes());
        out.put(&parts.cas.to_be_bytes());
        out.put(parts.extras.bytes());
        out.put(parts.key);
        out.put(parts.value);
        Ok(())
    }
}

impl fmt::Debug for Operation<'_> {
    /// Without the value, which may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { opcode, key, value, .. } = self.parts();
        write!(f, "{opcode:?}({}, {} bytes)", key.escape_ascii(), value.len())
    }
}

/// The parts of a request as they are written.
struct Parts<'a> {
    opcode: Opcode,
    extras: Extras,
    key: &'a [u8],
    needs_key: bool,
    value: &'a [u8],
    cas: u64,
}

impl Parts<'_> {
    fn body(&self) -> usize {
        usize::from(self.extras.length).saturating_add(self.key.len()).saturating_add(self.value.len())
    }
}

/// The bytes between the head and the key: numbers, at most 20 bytes.
#[derive(Default)]
struct Extras {
    bytes: [u8; 20],
    length: u8,
}

impl Extras {
    fn with(mut self, number: &[u8]) -> Self {
        let begin = usize::from(self.length);
        if let Some(to) = self.bytes.get_mut(begin..begin.saturating_add(number.len())) {
            to.copy_from_slice(number);
            self.length = self.length.saturating_add(u8::try_from(number.len()).unwrap_or(0));
        }
        self
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or(&[])
    }
}

/// The expiry time which says that the server must not make a counter.
const NO_COUNTER: u32 = u32::MAX;

impl<'a> Operation<'a> {
    fn parts(&self) -> Parts<'a> {
        let bare = |opcode| Parts { opcode, extras: Extras::default(), key: &[], needs_key: false, value: &[], cas: 0 };
        let keyed = |opcode, key: &Key<'a>| Parts { key: key.bytes(), ..bare(opcode) };
        let number = |number: u32| Extras::default().with(&number.to_be_bytes());
        let counter = |delta: u64, initial: Option<(u64, u32)>| {
            let (initial, expires) = initial.unwrap_or((0, NO_COUNTER));
            let extras = Extras::default().with(&delta.to_be_bytes()).with(&initial.to_be_bytes());
            extras.with(&expires.to_be_bytes())
        };
        let sasl = |opcode, mechanism, data| Parts { key: mechanism, needs_key: true, value: data, ..bare(opcode) };
        match self {
            Self::Get { key, with_key } => keyed(if *with_key { Opcode::GetK } else { Opcode::Get }, key),
            Self::GetAndTouch { key, expires, with_key } => {
                let opcode = if *with_key { Opcode::GatK } else { Opcode::Gat };
                Parts { extras: number(*expires), ..keyed(opcode, key) }
            }
            Self::Touch { key, expires } => Parts { extras: number(*expires), ..keyed(Opcode::Touch, key) },
            Self::Store { store, key, value, flags, expires, cas } => {
                let opcode = match store {
                    Store::Set => Opcode::Set,
                    Store::Add => Opcode::Add,
                    Store::Replace => Opcode::Replace,
                };
                let extras = number(*flags).with(&expires.to_be_bytes());
                Parts { extras, value, cas: *cas, ..keyed(opcode, key) }
            }
            Self::Append { key, value, cas } => Parts { value, cas: *cas, ..keyed(Opcode::Append, key) },
            Self::Prepend { key, value, cas } => Parts { value, cas: *cas, ..keyed(Opcode::Prepend, key) },
            Self::Delete { key, cas } => Parts { cas: *cas, ..keyed(Opcode::Delete, key) },
            Self::Increment { key, delta, initial } => {
                Parts { extras: counter(*delta, *initial), ..keyed(Opcode::Increment, key) }
            }
            Self::Decrement { key, delta, initial } => {
                Parts { extras: counter(*delta, *initial), ..keyed(Opcode::Decrement, key) }
            }
            Self::Flush { after: 0 } => bare(Opcode::Flush),
            Self::Flush { after } => Parts { extras: number(*after), ..bare(Opcode::Flush) },
            Self::Version => bare(Opcode::Version),
            Self::NoOp => bare(Opcode::NoOp),
            Self::SaslList => bare(Opcode::SaslList),
            Self::SaslAuth { mechanism, data } => sasl(Opcode::SaslAuth, *mechanism, *data),
            Self::SaslStep { mechanism, data } => sasl(Opcode::SaslStep, *mechanism, *data),
        }
    }
}
