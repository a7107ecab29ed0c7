//! The reports of a combined call and of its sub-calls: [`CallTree`].

use std::fmt;
use std::sync::Arc;

use crate::trace::Trace;

/// The report of a call, and the reports of its sub-calls ([X4](hedge_core::rules#X4)). A call that is not combined has
/// no sub-calls.
///
/// `Display` writes the report's line, and below it one line for each sub-call, indented by two blanks for each level:
///
/// ```text
/// accepted after 12.1 ms by attempt 1 (backup, server 1.0); attempt 0 (first, server 0.0) abandoned after 12.1 ms; 2 attempts; 0.0 is eu, 1.0 is us
///   0 eu: cancelled
///   1 us: accepted after 2.1 ms by attempt 0 (first, server 0.0); 1 attempt; no backup: disabled; 0.0 is 10.0.0.1:80
/// ```
#[derive(Clone, Debug)]
pub struct CallTree {
    trace: Trace,
    sub_calls: Vec<SubCall>,
}

/// One sub-call of a combined call.
#[derive(Clone, Debug)]
pub struct SubCall {
    /// The number of the sub-call. In a call that chooses among its sub-channels, this is the number of the attempt. In
    /// a call to all sub-channels, this is the index of the sub-channel.
    pub index: usize,
    /// The name of the sub-channel.
    pub name: Arc<str>,
    /// How the sub-call ended.
    pub end: SubEnd,
}

/// How a sub-call ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SubEnd {
    /// The sub-call ended with a reply or an error. This is its report, with the reports of its own sub-calls.
    Ended(Box<CallTree>),
    /// The sub-call was not made, because the mapper left it out.
    Skipped,
    /// The sub-call was cancelled, because the combined call had ended.
    Cancelled,
    /// The sub-call took longer than the attempt timeout of the combined call, and was cancelled
    /// ([L21](hedge_core::rules#L21)).
    TimedOut,
    /// The sub-call had not ended at the deadline.
    Missing,
}

impl CallTree {
    /// Makes the tree of a call with these sub-calls.
    #[must_use]
    pub const fn new(trace: Trace, sub_calls: Vec<SubCall>) -> Self {
        Self { trace, sub_calls }
    }

    /// Returns the report of the call itself.
    #[must_use]
    pub const fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Returns the sub-calls, in the order of their numbers.
    #[must_use]
    pub fn sub_calls(&self) -> &[SubCall] {
        &self.sub_calls
    }

    /// Returns how many levels of calls the tree has: 1 if the call has no sub-calls.
    #[must_use]
    pub fn depth(&self) -> usize {
        1 + self.sub_calls.iter().filter_map(SubCall::tree).map(Self::depth).max().unwrap_or(0)
    }

    /// Writes the lines below the first line. `level` is the level of the sub-calls.
    fn write_below(&self, f: &mut fmt::Formatter<'_>, level: usize) -> fmt::Result {
        for SubCall { index, name, end } in &self.sub_calls {
            write!(f, "\n{:indent$}{index} {name}: ", "", indent = 2 * level)?;
            match end {
                SubEnd::Skipped => f.write_str("skipped")?,
                SubEnd::Cancelled => f.write_str("cancelled")?,
                SubEnd::TimedOut => f.write_str("cancelled at its attempt timeout")?,
                SubEnd::Missing => f.write_str("missing at the deadline")?,
                SubEnd::Ended(tree) => {
                    write!(f, "{}", tree.trace)?;
                    tree.write_below(f, level + 1)?;
                }
            }
        }
        Ok(())
    }
}

impl SubCall {
    /// Returns the report of the sub-call, if it ended by itself.
    #[must_use]
    pub const fn tree(&self) -> Option<&CallTree> {
        match &self.end {
            SubEnd::Ended(tree) => Some(tree),
            SubEnd::Skipped | SubEnd::Cancelled | SubEnd::TimedOut | SubEnd::Missing => None,
        }
    }
}

impl fmt::Display for CallTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.trace)?;
        self.write_below(f, 1)
    }
}

#[cfg(test)]
mod tests {
    use hedge_core::time::Instant;

    use super::*;
    use crate::Report;

    #[test]
    fn x4_a_tree_has_one_line_for_each_call() {
        let trace = || Trace::nowhere(Report::new(Instant::ZERO));
        let sub = |index, name: &str, end| SubCall { index, name: name.into(), end };
        let below = CallTree::new(trace(), vec![sub(0, "a", SubEnd::Missing)]);
        let tree =
            CallTree::new(trace(), vec![sub(0, "x", SubEnd::Ended(Box::new(below))), sub(1, "y", SubEnd::Cancelled)]);
        let line = trace().to_string();
        assert_eq!(
            tree.to_string(),
            format!("{line}\n  0 x: {line}\n    0 a: missing at the deadline\n  1 y: cancelled")
        );
        assert_eq!(tree.depth(), 2);
    }
}
