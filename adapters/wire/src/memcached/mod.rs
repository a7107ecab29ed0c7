//! The client's side of memcached: [`binary`] is the protocol that brpc uses, [`meta`] is the text protocol of later
//! servers, which memcached's authors recommend.
//!
//! # Many keys at once
//! With `binary`, [`GetMany`](binary::GetMany) asks for each key quietly, and a no-op at the end tells that no more
//! values come. With `meta`, the same is done by [`Flag::Quiet`](meta::Flag::Quiet) and
//! [`Operation::NoOp`](meta::Operation::NoOp).
//!
//! # What is refused
//! Keys that are empty, too long, or have blanks or control characters, before anything is written ([`Key`]). An answer
//! that contradicts itself, is larger than its limit, or is not memcached's. Both decoders look only at heads, so a call
//! costs the same for a value of any size, and no announced length makes them allocate.

pub mod binary;
mod fault;
mod key;
pub mod meta;

pub use fault::{DecodeError, EncodeError, Fault};
pub use key::{Key, KeyError, MAX_BINARY_KEY, MAX_KEY};

/// The largest value that can be sent, in bytes. memcached keeps the length plus two in a signed number of 32 bits. By
/// default it refuses values above 1 MiB.
pub const MAX_VALUE: usize = 0x7fff_fffd;

/// How far an answer has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Progress<R> {
    /// The answer is not complete.
    More {
        /// The answer has at least this many bytes, counted from its start. The peer announces this number, and it may
        /// be false. So do not allocate this many bytes before they come.
        needs: usize,
    },
    /// The answer is complete.
    Done {
        /// The answer.
        response: R,
        /// Its length in bytes. Bytes behind it belong to the next answer.
        length: usize,
    },
}
