//! What a parallel call sends to each sub-channel: [`Mapper`].

use std::error::Error;
use std::fmt;
use std::marker::PhantomData;

/// An error of the program's code.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Makes the requests of the parts of a parallel call ([X2](hedge_core::rules#X2)).
///
/// A mapper is asked for every part before anything is sent, in the order of the sub-channels. It may be asked again for
/// the same request, so it must not depend on how often it is asked.
pub trait Mapper<Request>: Send + Sync {
    /// The type of the requests of the sub-channels.
    type Part: Send + Sync;

    /// Makes the request for the sub-channel with this index, which counts from 0.
    fn map<'r>(&self, index: usize, request: &'r Request) -> Mapped<'r, Self::Part>;
}

/// What a mapper makes of a request for one sub-channel.
pub enum Mapped<'r, Part> {
    /// The sub-channel gets this request, which is the whole request or a part of it. Nothing is copied.
    Borrowed(&'r Part),
    /// The sub-channel gets this new request.
    Owned(Part),
    /// The sub-channel gets no request. It neither fails nor succeeds.
    Skip,
    /// The whole call fails with this error, before anything is sent.
    Refuse(BoxError),
}

impl<Part> fmt::Debug for Mapped<'_, Part> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Borrowed(_) => f.write_str("Borrowed(_)"),
            Self::Owned(_) => f.write_str("Owned(_)"),
            Self::Skip => f.write_str("Skip"),
            Self::Refuse(error) => f.debug_tuple("Refuse").field(error).finish(),
        }
    }
}

/// The default mapper: every sub-channel gets the whole request, without a copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Unmapped;

impl<Request: Send + Sync> Mapper<Request> for Unmapped {
    type Part = Request;

    fn map<'r>(&self, _: usize, request: &'r Request) -> Mapped<'r, Request> {
        Mapped::Borrowed(request)
    }
}

/// A mapper that is a closure. [`ParallelBuilder::map`](crate::ParallelBuilder::map) makes it.
pub struct MapFn<F, Part> {
    map: F,
    part: PhantomData<fn() -> Part>,
}

impl<F, Part> MapFn<F, Part> {
    pub(super) const fn new(map: F) -> Self {
        Self { map, part: PhantomData }
    }
}

impl<Request, Part, F> Mapper<Request> for MapFn<F, Part>
where
    Part: Send + Sync,
    F: for<'r> Fn(usize, &'r Request) -> Mapped<'r, Part> + Send + Sync,
{
    type Part = Part;

    fn map<'r>(&self, index: usize, request: &'r Request) -> Mapped<'r, Part> {
        (self.map)(index, request)
    }
}

impl<F, Part> fmt::Debug for MapFn<F, Part> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapFn").finish_non_exhaustive()
    }
}
