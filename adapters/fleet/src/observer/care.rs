//! How much a program should care about a change of a server, for the levels of events and lines.

use super::ServerChange;

pub(super) enum Care {
    Warn,
    Info,
    Debug,
}

pub(super) const fn care(change: ServerChange) -> Care {
    match change {
        ServerChange::Isolated { .. } | ServerChange::Broken | ServerChange::Withdrawn => Care::Warn,
        ServerChange::HalfOpen => Care::Debug,
        _ => Care::Info,
    }
}
