//! Reads answers: [`Response`].

use core::fmt;

use super::super::{DecodeError, Fault, Progress};
use super::{HEAD, Opcode, Request, Status};

/// The first byte of an answer.
const MAGIC: u8 = 0x81;

/// An answer. It borrows from the bytes that were received.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Response<'b> {
    opcode: Opcode,
    status: Status,
    opaque: u32,
    cas: u64,
    extras: &'b [u8],
    key: &'b [u8],
    value: &'b [u8],
}

impl<'b> Response<'b> {
    /// Reads the answer at the start of these bytes. While it is not complete, call this again with the same bytes and
    /// those that follow. A call costs the same for any number of bytes: it looks at the head alone.
    ///
    /// `max_body` limits extras, key and value together, in bytes. Without other settings, memcached has no value above
    /// 1 MiB.
    ///
    /// # Errors
    /// See [`DecodeError`]. More bytes do not change an error. The connection is of no further use.
    pub fn decode(bytes: &'b [u8], max_body: usize) -> Result<Progress<Self>, Fault> {
        if let Some(&byte) = bytes.first().filter(|&&byte| byte != MAGIC) {
            return Err(Fault { error: DecodeError::BadMagic { byte }, at: 0 });
        }
        let unknown = |number: u8| Fault { error: DecodeError::UnknownOpcode { opcode: number }, at: 1 };
        let opcode = bytes.get(1).map(|&number| Opcode::of(number).ok_or(unknown(number))).transpose()?;
        if let Some(&byte) = bytes.get(5).filter(|&&byte| byte != 0) {
            return Err(Fault { error: DecodeError::BadDataType { byte }, at: 5 });
        }
        let Some(opcode) = opcode else { return Ok(Progress::More { needs: HEAD }) };
        let Some(head) = Head::read(bytes) else { return Ok(Progress::More { needs: HEAD }) };
        head.check(opcode, max_body)?;
        let too_large = Fault { error: head.too_large(max_body), at: 8 };
        let body = usize::try_from(head.body).map_err(|_| too_large)?;
        let length = HEAD.checked_add(body).ok_or(too_large)?;
        let parts = bytes.get(HEAD..length).and_then(|body| {
            let (extras, rest) = body.split_at_checked(usize::from(head.extras))?;
            let (key, value) = rest.split_at_checked(usize::from(head.key))?;
            Some((extras, key, value))
        });
        let Some(((extras, key, value), (opaque, cas))) = parts.zip(identity(bytes)) else {
            return Ok(Progress::More { needs: length });
        };
        let response = Self { opcode, status: Status::of(head.status), opaque, cas, extras, key, value };
        Ok(Progress::Done { response, length })
    }

    /// The number of the operation.
    #[must_use]
    pub fn opcode(&self) -> Opcode {
        self.opcode
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// The number of the request that is answered.
    #[must_use]
    pub fn opaque(&self) -> u32 {
        self.opaque
    }

    /// The number of this version of the value; 0 if there is none.
    #[must_use]
    pub fn cas(&self) -> u64 {
        self.cas
    }

    /// The flags that were stored with a value that was found.
    #[must_use]
    pub fn flags(&self) -> Option<u32> {
        let has_flags = self.opcode.has_flags() && self.status == Status::Ok;
        self.extras.first_chunk().filter(|_| has_flags).map(|flags| u32::from_be_bytes(*flags))
    }

    /// The key, if it was asked for. Otherwise empty.
    #[must_use]
    pub fn key(&self) -> &'b [u8] {
        self.key
    }

    /// The value, the version or the mechanisms. If the status is not [`Status::Ok`], its text.
    #[must_use]
    pub fn value(&self) -> &'b [u8] {
        self.value
    }

    /// The value of a counter after it was changed.
    #[must_use]
    pub fn counter(&self) -> Option<u64> {
        let is_counter = self.opcode.is_counter() && self.status == Status::Ok;
        self.value.first_chunk().filter(|_| is_counter).map(|value| u64::from_be_bytes(*value))
    }

    /// Whether this answers the request: operation and opaque are the same. If not, the connection is of no further use,
    /// since its answers are not in the order of the requests.
    #[must_use]
    pub fn answers(&self, request: &Request<'_>) -> bool {
        request.opcode() == Some(self.opcode) && request.opaque == self.opaque
    }
}

impl fmt::Debug for Response<'_> {
    /// Without the value, which may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("opcode", &self.opcode)
            .field("status", &self.status)
            .field("opaque", &self.opaque)
            .field("value", &format_args!("{} bytes", self.value.len()))
            .finish_non_exhaustive()
    }
}

/// The numbers of the head that say where the parts are, and the status.
#[derive(Clone, Copy)]
struct Head {
    key: u16,
    extras: u8,
    status: u16,
    body: u32,
}

impl Head {
    /// The numbers, if the whole head has come.
    fn read(bytes: &[u8]) -> Option<Self> {
        let head: &[u8; HEAD] = bytes.first_chunk()?;
        let [_, _, key1, key2, extras, _, status1, status2, body1, body2, body3, body4, ..] = *head;
        Some(Self {
            key: u16::from_be_bytes([key1, key2]),
            extras,
            status: u16::from_be_bytes([status1, status2]),
            body: u32::from_be_bytes([body1, body2, body3, body4]),
        })
    }

    /// Checks that the lengths fit into each other, into the limit, and to the operation.
    fn check(self, opcode: Opcode, max_body: usize) -> Result<(), Fault> {
        let Self { key, extras, body, .. } = self;
        if usize::try_from(body).is_ok_and(|body| body > max_body) {
            return Err(Fault { error: self.too_large(max_body), at: 8 });
        }
        let Some(value) = body.checked_sub(u32::from(key)).and_then(|rest| rest.checked_sub(u32::from(extras))) else {
            return Err(Fault { error: DecodeError::BadLengths { key, extras, body }, at: 2 });
        };
        if self.status == 0 && opcode.has_flags() && extras != 4 {
            return Err(Fault { error: DecodeError::BadExtras { extras }, at: 4 });
        }
        if self.status == 0 && opcode.is_counter() && value != 8 {
            return Err(Fault { error: DecodeError::BadCounter, at: 8 });
        }
        Ok(())
    }

    fn too_large(self, limit: usize) -> DecodeError {
        DecodeError::TooLarge { announced: u64::from(self.body), limit }
    }
}

/// The opaque and the cas number.
fn identity(bytes: &[u8]) -> Option<(u32, u64)> {
    let (opaque, rest) = bytes.get(12..HEAD)?.split_first_chunk()?;
    Some((u32::from_be_bytes(*opaque), u64::from_be_bytes(*rest.first_chunk()?)))
}
