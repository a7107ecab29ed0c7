//! Joins the replies of the parts of a parallel call: [`Merger`].

use std::fmt;

use super::mapper::BoxError;
use super::parts::Parts;

/// Joins the replies of the parts of a parallel call ([X2](hedge_core::rules#X2)). A merger runs once, when enough
/// parts have succeeded. It sees the result of every part, in the order of the sub-channels. The replies stay in the
/// parts.
///
/// A closure `Fn(&Parts<Reply, Error>) -> Result<Merged, BoxError>` is a merger.
pub trait Merger<Reply, E>: Send + Sync {
    /// The type of the joined reply.
    type Merged: Send;

    /// Joins the replies.
    ///
    /// # Errors
    /// Returns the reason why the replies cannot be joined. The call then fails with this error.
    fn merge(&self, parts: &Parts<Reply, E>) -> Result<Self::Merged, BoxError>;
}

impl<Reply, E, Merged, F> Merger<Reply, E> for F
where
    Merged: Send,
    F: Fn(&Parts<Reply, E>) -> Result<Merged, BoxError> + Send + Sync,
{
    type Merged = Merged;

    fn merge(&self, parts: &Parts<Reply, E>) -> Result<Merged, BoxError> {
        self(parts)
    }
}

/// The default merger. It joins nothing: the program reads the replies from the parts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Unmerged;

impl<Reply, E> Merger<Reply, E> for Unmerged {
    type Merged = ();

    fn merge(&self, _: &Parts<Reply, E>) -> Result<(), BoxError> {
        Ok(())
    }
}

/// A merger that copies the replies into a vector, in the order of the sub-channels. Parts without a reply are left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Collect;

impl<Reply: Clone + Send, E> Merger<Reply, E> for Collect {
    type Merged = Vec<Reply>;

    fn merge(&self, parts: &Parts<Reply, E>) -> Result<Vec<Reply>, BoxError> {
        Ok(parts.replies().map(|(_, reply)| reply.clone()).collect())
    }
}

/// A merger that copies the reply of the first sub-channel that has one. Together with a `success_limit` of 1, this is
/// the fastest reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct First;

impl<Reply: Clone + Send, E> Merger<Reply, E> for First {
    type Merged = Reply;

    fn merge(&self, parts: &Parts<Reply, E>) -> Result<Reply, BoxError> {
        parts.replies().next().map(|(_, reply)| reply.clone()).ok_or_else(|| NoReply.into())
    }
}

/// No part has a reply. A parallel call that succeeds has at least one reply, so this happens only if the program calls
/// the merger itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct NoReply;

impl fmt::Display for NoReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no part has a reply")
    }
}

impl std::error::Error for NoReply {}

/// A merger that joins the bytes of the replies, in the order of the sub-channels.
///
/// ```
/// use hedge_compose::Concat;
///
/// struct Reply { body: Vec<u8> }
/// let merger = Concat::new(|reply: &Reply| &reply.body[..]);
/// ```
#[derive(Clone, Copy)]
pub struct Concat<F>(F);

impl<F> Concat<F> {
    /// Makes the merger. `bytes` returns the bytes of a reply.
    pub const fn new<Reply>(bytes: F) -> Self
    where
        F: Fn(&Reply) -> &[u8],
    {
        Self(bytes)
    }
}

impl<Reply, E, F: Fn(&Reply) -> &[u8] + Send + Sync> Merger<Reply, E> for Concat<F> {
    type Merged = Vec<u8>;

    fn merge(&self, parts: &Parts<Reply, E>) -> Result<Vec<u8>, BoxError> {
        let mut all = Vec::with_capacity(parts.replies().map(|(_, reply)| (self.0)(reply).len()).sum());
        for (_, reply) in parts.replies() {
            all.extend_from_slice((self.0)(reply));
        }
        Ok(all)
    }
}

impl<F> fmt::Debug for Concat<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Concat").finish_non_exhaustive()
    }
}
