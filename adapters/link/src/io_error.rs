//! Copies I/O errors, which do not implement `Clone`: [`duplicate`].

use std::io;

/// Makes a copy of an error. An error of the operating system is copied unchanged. The copy of any other error has only
/// the kind and the text of that error.
pub(crate) fn duplicate(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}
