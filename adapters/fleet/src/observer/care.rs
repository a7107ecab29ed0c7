//! How important a change of a server is to a program. This determines the levels of `tracing` events and of log lines.

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
