//! Writes into a buffer that the caller lends: [`Writer`].

/// Writes bytes as long as they fit, and counts all bytes, so that an error can say how many are needed.
pub(crate) struct Writer<'a> {
    pub(crate) out: &'a mut [u8],
    pub(crate) length: usize,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(out: &'a mut [u8]) -> Self {
        Self { out, length: 0 }
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) {
        if let Some(to) = self.out.get_mut(self.length..).and_then(|rest| rest.get_mut(..bytes.len())) {
            to.copy_from_slice(bytes);
        }
        self.length = self.length.saturating_add(bytes.len());
    }

    /// How many bytes were written, if all of them fit. Otherwise the error is how many are needed.
    pub(crate) fn finish(self) -> Result<usize, usize> {
        if self.length > self.out.len() { Err(self.length) } else { Ok(self.length) }
    }
}

/// Writes a number in decimal. This is done without `core::fmt`, which would take more code on a microcontroller than
/// the rest of a request.
pub(crate) fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut length = 0;
    for digit in digits.iter_mut().rev() {
        *digit = usize::try_from(number % 10).ok().and_then(|at| b"0123456789".get(at)).copied().unwrap_or(b'0');
        number /= 10;
        length += 1;
        if number == 0 {
            break;
        }
    }
    digits.get(20_usize.saturating_sub(length)..).unwrap_or(&[])
}
