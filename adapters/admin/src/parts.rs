//! The variables of a channel and of a recorder, by the names that brpc and tRPC use: [`Part`].

/// One variable of a source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    /// The mean latency of the last 10 s.
    Mean,
    Max,
    Qps,
    Count,
    /// A quantile of the last 10 s, in ten-thousandths.
    Quantile(u16),
    Cdf,
    Of(Counter),
    /// The whole value of a variable of the program.
    Whole,
}

/// A variable that only channels have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Counter {
    Errors,
    Retries,
    Backups,
    BackupsWon,
    InFlight,
    Servers,
    UsableServers,
}

/// The variables of a channel: what follows the name, and the part.
pub(crate) const OF_CHANNEL: [(&str, Part); 17] = [
    ("_latency", Part::Mean),
    ("_max_latency", Part::Max),
    ("_qps", Part::Qps),
    ("_count", Part::Count),
    ("_latency_80", Part::Quantile(8_000)),
    ("_latency_90", Part::Quantile(9_000)),
    ("_latency_99", Part::Quantile(9_900)),
    ("_latency_999", Part::Quantile(9_990)),
    ("_latency_9999", Part::Quantile(9_999)),
    ("_latency_cdf", Part::Cdf),
    ("_error", Part::Of(Counter::Errors)),
    ("_retry", Part::Of(Counter::Retries)),
    ("_backup_request", Part::Of(Counter::Backups)),
    ("_backup_request_success", Part::Of(Counter::BackupsWon)),
    ("_in_flight", Part::Of(Counter::InFlight)),
    ("_servers", Part::Of(Counter::Servers)),
    ("_usable_servers", Part::Of(Counter::UsableServers)),
];

/// The variables of a recorder: the first ten of a channel, which are those of brpc's `LatencyRecorder`.
pub(crate) const OF_RECORDER: &[(&str, Part)] = OF_CHANNEL.split_at(10).0;

/// The only variable of a variable of the program.
pub(crate) const OF_VARIABLE: [(&str, Part); 1] = [("", Part::Whole)];
