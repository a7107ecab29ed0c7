//! The results of the parts of a parallel call: [`Parts`].

use std::ops::Deref;
use std::sync::Arc;

use hedge_fleet::{Outcome, SubCall, SubEnd};

/// The results of all parts of a parallel call, in the order of the sub-channels. It dereferences to a slice.
#[derive(Clone, Debug)]
pub struct Parts<Reply, E>(Vec<Part<Reply, E>>);

/// One part of a parallel call.
#[derive(Clone, Debug)]
pub struct Part<Reply, E> {
    /// The name of the sub-channel.
    pub name: Arc<str>,
    /// The result of the part.
    pub result: PartResult<Reply, E>,
}

/// The result of one part of a parallel call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PartResult<Reply, E> {
    /// The sub-channel has replied.
    Reply(Reply),
    /// The sub-call has failed.
    Failed(E),
    /// The mapper left the part out, or the call was refused before it started.
    Skipped,
    /// The part had not ended when the call ended for another reason than its deadline. It was cancelled.
    Cancelled,
    /// The part had not ended at the deadline. If the sub-call itself ended with an error at this deadline, this is the
    /// error.
    Missing(Option<E>),
}

impl<Reply, E> Parts<Reply, E> {
    /// Returns the parts of a call to these sub-channels. All are skipped so far.
    pub(super) fn skipped<'a>(names: impl Iterator<Item = &'a Arc<str>>) -> Self {
        Self(names.map(|name| Part { name: Arc::clone(name), result: PartResult::Skipped }).collect())
    }

    pub(super) fn set(&mut self, index: usize, result: PartResult<Reply, E>) {
        if let Some(part) = self.0.get_mut(index) {
            part.result = result;
        }
    }

    /// Changes the result of each cancelled part to `Missing`, because the deadline has ended these parts.
    pub(super) fn deadline(&mut self) {
        for part in &mut self.0 {
            if matches!(part.result, PartResult::Cancelled) {
                part.result = PartResult::Missing(None);
            }
        }
    }

    /// Returns the replies, each with the index of its sub-channel, in the order of the sub-channels.
    pub fn replies(&self) -> impl Iterator<Item = (usize, &Reply)> {
        self.0.iter().enumerate().filter_map(|(index, part)| match &part.result {
            PartResult::Reply(reply) => Some((index, reply)),
            _ => None,
        })
    }

    /// Returns the errors of the parts that have failed, each with the index of its sub-channel.
    pub fn failures(&self) -> impl Iterator<Item = (usize, &E)> {
        self.0.iter().enumerate().filter_map(|(index, part)| match &part.result {
            PartResult::Failed(error) => Some((index, error)),
            _ => None,
        })
    }

    /// Returns how many parts were missing at the deadline.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.0.iter().filter(|part| matches!(part.result, PartResult::Missing(_))).count()
    }

    /// Returns the parts themselves, for a program that wants to own the replies.
    #[must_use]
    pub fn into_vec(self) -> Vec<Part<Reply, E>> {
        self.0
    }
}

impl<Reply: Outcome, E: Outcome> Parts<Reply, E> {
    /// Returns the sub-calls for a report.
    pub(super) fn sub_calls(&self) -> Vec<SubCall> {
        let ended = |outcome: &dyn Outcome| SubEnd::Ended(Box::new(outcome.tree()));
        let sub = |(index, part): (usize, &Part<Reply, E>)| {
            let end = match &part.result {
                PartResult::Reply(reply) => ended(reply),
                PartResult::Failed(error) | PartResult::Missing(Some(error)) => ended(error),
                PartResult::Skipped => SubEnd::Skipped,
                PartResult::Cancelled => SubEnd::Cancelled,
                PartResult::Missing(None) => SubEnd::Missing,
            };
            SubCall { index, name: Arc::clone(&part.name), end }
        };
        self.0.iter().enumerate().map(sub).collect()
    }

    /// Whether no part has left this client.
    pub(super) fn never_left(&self) -> bool {
        self.0.iter().all(|part| match &part.result {
            PartResult::Skipped => true,
            PartResult::Failed(error) | PartResult::Missing(Some(error)) => error.never_left(),
            PartResult::Reply(_) | PartResult::Cancelled | PartResult::Missing(None) => false,
        })
    }
}

impl<Reply, E> Deref for Parts<Reply, E> {
    type Target = [Part<Reply, E>];

    fn deref(&self) -> &[Part<Reply, E>] {
        &self.0
    }
}
