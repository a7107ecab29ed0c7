//! Numbers in lines: [`Number`] and [`Decimal`] check them byte by byte, [`integer`] and [`Double`] read them whole.

/// An integer, or a length, as far as it has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number {
    sign: Option<u8>,
    digits: bool,
    /// The first digit was 0, and another digit came.
    is_padded: bool,
    /// The absolute value. `None` if it exceeds 64 bits.
    magnitude: Option<u64>,
}

impl Number {
    pub(super) const START: Self = Self { sign: None, digits: false, is_padded: false, magnitude: Some(0) };

    /// The number with one more byte; `None` if the byte does not belong there.
    pub(super) fn after(self, byte: u8) -> Option<Self> {
        match byte {
            b'+' | b'-' if self.sign.is_none() && !self.digits => Some(Self { sign: Some(byte), ..self }),
            b'0'..=b'9' => {
                let digit = u64::from(byte.wrapping_sub(b'0'));
                let magnitude = self.magnitude.and_then(|number| number.checked_mul(10)?.checked_add(digit));
                let is_padded = self.is_padded || (self.digits && self.magnitude == Some(0));
                Some(Self { digits: true, is_padded, magnitude, ..self })
            }
            _ => None,
        }
    }

    /// The value, if it is complete and has 64 bits with its sign.
    pub(super) fn signed(self) -> Option<i64> {
        let magnitude = self.magnitude.filter(|_| self.digits)?;
        if self.sign == Some(b'-') { 0_i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
    }

    /// The value, if it is complete and has neither a sign nor leading zeros. A value that exceeds 64 bits is the
    /// highest one, which exceeds every limit.
    pub(super) fn length(self) -> Option<u64> {
        (self.digits && self.sign.is_none() && !self.is_padded).then_some(self.magnitude.unwrap_or(u64::MAX))
    }

    /// Whether this is -1, the length of a null in RESP2.
    pub(super) fn is_null(self) -> bool {
        self.signed() == Some(-1) && !self.is_padded
    }
}

/// A double, as far as it has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Decimal {
    Start,
    Signed,
    Whole,
    Point,
    Fraction,
    Exponent,
    ExponentSigned,
    ExponentDigits,
    /// `inf` or `nan`, of which so many bytes have come.
    Word(&'static [u8], usize),
}

impl Decimal {
    /// The number with one more byte; `None` if the byte does not belong there.
    pub(super) fn after(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::Start, b'+' | b'-') => Self::Signed,
            (Self::Start | Self::Signed | Self::Whole, b'0'..=b'9') => Self::Whole,
            (Self::Start | Self::Signed, b'i') => Self::Word(b"inf", 1),
            (Self::Start | Self::Signed, b'n') => Self::Word(b"nan", 1),
            (Self::Word(word, come), _) if word.get(come) == Some(&byte) => Self::Word(word, come.saturating_add(1)),
            (Self::Whole, b'.') => Self::Point,
            (Self::Point | Self::Fraction, b'0'..=b'9') => Self::Fraction,
            (Self::Whole | Self::Fraction, b'e' | b'E') => Self::Exponent,
            (Self::Exponent, b'+' | b'-') => Self::ExponentSigned,
            (Self::Exponent | Self::ExponentSigned | Self::ExponentDigits, b'0'..=b'9') => Self::ExponentDigits,
            _ => return None,
        })
    }

    /// Whether the number may end here.
    pub(super) fn is_complete(self) -> bool {
        match self {
            Self::Whole | Self::Fraction | Self::ExponentDigits => true,
            Self::Word(word, come) => come == word.len(),
            _ => false,
        }
    }
}

/// The integer of a whole line.
pub(super) fn integer(line: &[u8]) -> Option<i64> {
    line.iter().try_fold(Number::START, |number, &byte| number.after(byte))?.signed()
}

/// The length of a whole line.
pub(super) fn length(line: &[u8]) -> Option<usize> {
    let number = line.iter().try_fold(Number::START, |number, &byte| number.after(byte))?;
    usize::try_from(number.length()?).ok()
}

/// A double as the server has written it. It is kept as text. So a program that reads no doubles contains no code for
/// it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Double<'b>(pub(super) &'b str);

impl<'b> Double<'b> {
    /// The text, such as `3.14`, `1e-9`, `inf`, `-inf` or `nan`.
    #[must_use]
    pub fn text(self) -> &'b str {
        self.0
    }

    /// The nearest value.
    #[must_use]
    pub fn value(self) -> f64 {
        self.0.parse().unwrap_or(f64::NAN)
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Double<'_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{}", self.0);
    }
}
