//! Content codings: the ones that this build can decode, [`Coding`], and a body that is being decoded, [`Decoder`].
//!
//! The features `gzip`, `deflate`, `brotli` and `zstd` each add one. The codecs are those of the crate
//! `compression-codecs`, which do no input and output of their own.

use std::sync::LazyLock;
use std::{fmt, io};

use ::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, RANGE};
use ::http::{HeaderMap, HeaderValue};
use bytes::Bytes;
#[cfg(feature = "brotli")]
use compression_codecs::BrotliDecoder;
use compression_codecs::DecodeV2;
#[cfg(feature = "gzip")]
use compression_codecs::GzipDecoder;
#[cfg(feature = "zstd")]
use compression_codecs::ZstdDecoder;
use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
#[cfg(feature = "zstd")]
use compression_codecs::zstd::params::DParameter;
#[cfg(feature = "deflate")]
use compression_codecs::{DeflateDecoder, ZlibDecoder};

/// How many bytes are decoded at once, at most.
const PIECE: usize = 16 * 1024;

/// The largest window of zstd that is accepted, as a power of two: 8 MiB, the limit that HTTP sets (RFC 9659).
#[cfg(feature = "zstd")]
const ZSTD_WINDOW_LOG: u32 = 23;

/// A content coding that can be decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Coding {
    #[cfg(feature = "gzip")]
    Gzip,
    #[cfg(feature = "deflate")]
    Deflate,
    #[cfg(feature = "brotli")]
    Brotli,
    #[cfg(feature = "zstd")]
    Zstd,
}

impl Coding {
    /// All codings of this build, in the order of preference.
    const ALL: &[Self] = &[
        #[cfg(feature = "zstd")]
        Self::Zstd,
        #[cfg(feature = "brotli")]
        Self::Brotli,
        #[cfg(feature = "gzip")]
        Self::Gzip,
        #[cfg(feature = "deflate")]
        Self::Deflate,
    ];

    /// The name in `accept-encoding` and `content-encoding`.
    const fn name(self) -> &'static str {
        match self {
            #[cfg(feature = "gzip")]
            Self::Gzip => "gzip",
            #[cfg(feature = "deflate")]
            Self::Deflate => "deflate",
            #[cfg(feature = "brotli")]
            Self::Brotli => "br",
            #[cfg(feature = "zstd")]
            Self::Zstd => "zstd",
        }
    }

    /// The coding with this name, in any case. `x-gzip` is an old name of `gzip` (RFC 9110, 8.4.1.3).
    fn named(name: &str) -> Option<Self> {
        let name = if name.eq_ignore_ascii_case("x-gzip") { "gzip" } else { name };
        Self::ALL.iter().copied().find(|coding| coding.name().eq_ignore_ascii_case(name))
    }

    fn decoder(self) -> Box<dyn DecodeV2 + Send + Sync> {
        match self {
            #[cfg(feature = "gzip")]
            Self::Gzip => Box::new(GzipDecoder::new()),
            #[cfg(feature = "deflate")]
            Self::Deflate => Box::new(Deflate::default()),
            #[cfg(feature = "brotli")]
            Self::Brotli => Box::new(BrotliDecoder::new()),
            #[cfg(feature = "zstd")]
            Self::Zstd => Box::new(ZstdDecoder::new_with_params(&[DParameter::window_log_max(ZSTD_WINDOW_LOG)])),
        }
    }

    /// Whether several encoded pieces may follow one another in a body.
    const fn has_members(self) -> bool {
        match self {
            #[cfg(feature = "gzip")]
            Self::Gzip => true,
            #[cfg(feature = "deflate")]
            Self::Deflate => false,
            #[cfg(feature = "brotli")]
            Self::Brotli => false,
            #[cfg(feature = "zstd")]
            Self::Zstd => true,
        }
    }
}

/// Whether codings are asked for, and the answer is decoded. That is not so if the program chose codings itself, or if it
/// asks for a part of an answer, which would be a part of the encoded data.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    !headers.contains_key(ACCEPT_ENCODING) && !headers.contains_key(RANGE)
}

/// Asks the server for the codings of this build.
pub(super) fn ask(headers: &mut HeaderMap) {
    static NAMES: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
        let names: Vec<_> = Coding::ALL.iter().map(|coding| coding.name()).collect();
        HeaderValue::try_from(names.join(", ")).ok()
    });

    if let Some(names) = NAMES.as_ref().filter(|_| is_wanted(headers)) {
        headers.insert(ACCEPT_ENCODING, names.clone());
    }
}

/// The coding of an answer, if it has exactly one and that one can be decoded. The headers that describe the encoded body
/// are then removed.
pub(super) fn take_coding(headers: &mut HeaderMap) -> Option<Coding> {
    let mut values = headers.get_all(CONTENT_ENCODING).iter();
    let coding = Coding::named(values.next()?.to_str().ok()?.trim())?;
    if values.next().is_some() {
        return None;
    }
    headers.remove(CONTENT_ENCODING);
    headers.remove(CONTENT_LENGTH);
    Some(coding)
}

/// Decodes a body piece by piece.
pub(super) struct Decoder {
    coding: Coding,
    codec: Box<dyn DecodeV2 + Send + Sync>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Nothing of the body, or of its next member, has come.
    Fresh,
    /// A member has begun.
    Inside,
    /// As `Inside`, and the last piece was full, so the codec may hold more.
    Full,
    /// A member has ended.
    Ended,
}

impl Decoder {
    pub(super) fn new(coding: Coding) -> Self {
        Self { coding, codec: coding.decoder(), state: State::Fresh }
    }

    /// Decodes the next piece, of at most 16 KiB. What was used is removed from `encoded`. Returns `None` if more input is
    /// needed.
    ///
    /// # Errors
    /// The body is not encoded as it says.
    pub(super) fn decode(&mut self, encoded: &mut Bytes) -> Result<Option<Bytes>, CodingError> {
        // Input that gives nothing, such as many empty members, costs one buffer and not one each.
        let mut piece = Vec::new();
        loop {
            if self.state == State::Ended && !encoded.is_empty() {
                self.begin_member()?;
            }
            let is_flush = encoded.is_empty();
            if is_flush && self.state != State::Full {
                return Ok(None);
            }
            piece.resize(PIECE, 0);
            let (mut from, mut to) = (PartialBuffer::new(&encoded[..]), WriteBuffer::new_initialized(&mut piece));
            let ended =
                if is_flush { self.codec.flush(&mut to).map(|_| false) } else { self.codec.decode(&mut from, &mut to) };
            let ended = ended.map_err(|error| self.wrong(Fault::Malformed(error)))?;
            let (used, written) = (from.written_len(), to.written_len());
            if !ended && !is_flush && used == 0 && written == 0 {
                return Err(self.wrong(Fault::Malformed(io::ErrorKind::InvalidData.into())));
            }
            let _ = encoded.split_to(used.min(encoded.len()));
            self.state = match (ended, written == PIECE) {
                (true, _) => State::Ended,
                (false, true) => State::Full,
                (false, false) => State::Inside,
            };
            if written > 0 {
                piece.truncate(written);
                return Ok(Some(piece.into()));
            }
        }
    }

    /// Checks that the body ended where its coding says. A body without a byte is valid: an answer to `HEAD` has none.
    ///
    /// # Errors
    /// The body ends too early.
    pub(super) fn end(&mut self) -> Result<(), CodingError> {
        let whole = match self.state {
            State::Fresh | State::Ended => true,
            // A codec may have given out everything before it has said that its data ended.
            State::Inside | State::Full => {
                matches!(self.codec.finish(&mut WriteBuffer::new_initialized(&mut [0; 1])), Ok(true))
            }
        };
        if whole { Ok(()) } else { Err(self.wrong(Fault::EndsEarly)) }
    }

    fn begin_member(&mut self) -> Result<(), CodingError> {
        if !self.coding.has_members() {
            return Err(self.wrong(Fault::GoesOn));
        }
        self.codec.reinit().map_err(|error| self.wrong(Fault::Malformed(error)))?;
        self.state = State::Fresh;
        Ok(())
    }

    const fn wrong(&self, fault: Fault) -> CodingError {
        CodingError { coding: self.coding.name(), fault }
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("coding", &self.coding).field("state", &self.state).finish_non_exhaustive()
    }
}

/// A body that is not encoded as its `content-encoding` says.
#[derive(Debug)]
pub struct CodingError {
    coding: &'static str,
    fault: Fault,
}

#[derive(Debug)]
enum Fault {
    Malformed(io::Error),
    EndsEarly,
    GoesOn,
}

impl CodingError {
    /// The name of the coding, as in `content-encoding`.
    #[must_use]
    pub const fn coding(&self) -> &'static str {
        self.coding
    }
}

impl fmt::Display for CodingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let coding = self.coding;
        match &self.fault {
            Fault::Malformed(error) => write!(f, "body is not valid {coding}: {error}"),
            Fault::EndsEarly => write!(f, "body ends in the middle of its {coding} data"),
            Fault::GoesOn => write!(f, "body goes on after its {coding} data"),
        }
    }
}

impl std::error::Error for CodingError {}

/// Decodes `deflate`. That is zlib's format (RFC 9110, 8.4.1.2), but some servers send raw deflate data. The first byte
/// distinguishes them: zlib's names method 8 and a window of at most 32 KiB.
#[cfg(feature = "deflate")]
#[derive(Default)]
enum Deflate {
    #[default]
    Unknown,
    Zlib(ZlibDecoder),
    Raw(DeflateDecoder),
}

#[cfg(feature = "deflate")]
impl Deflate {
    fn codec(&mut self, first: Option<u8>) -> Option<&mut dyn DecodeV2> {
        if let (Self::Unknown, Some(first)) = (&self, first) {
            let is_zlib = first & 0x0f == 8 && first >> 4 <= 7;
            *self = if is_zlib { Self::Zlib(ZlibDecoder::new()) } else { Self::Raw(DeflateDecoder::new()) };
        }
        match self {
            Self::Unknown => None,
            Self::Zlib(codec) => Some(codec),
            Self::Raw(codec) => Some(codec),
        }
    }
}

#[cfg(feature = "deflate")]
impl DecodeV2 for Deflate {
    fn reinit(&mut self) -> io::Result<()> {
        *self = Self::Unknown;
        Ok(())
    }

    fn decode(&mut self, input: &mut PartialBuffer<&[u8]>, output: &mut WriteBuffer<'_>) -> io::Result<bool> {
        let first = input.unwritten().first().copied();
        self.codec(first).map_or(Ok(false), |codec| codec.decode(input, output))
    }

    fn flush(&mut self, output: &mut WriteBuffer<'_>) -> io::Result<bool> {
        self.codec(None).map_or(Ok(true), |codec| codec.flush(output))
    }

    fn finish(&mut self, output: &mut WriteBuffer<'_>) -> io::Result<bool> {
        self.codec(None).map_or(Ok(true), |codec| codec.finish(output))
    }
}

#[cfg(test)]
#[cfg(all(feature = "gzip", feature = "deflate", feature = "brotli", feature = "zstd"))]
mod tests;
