//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use http::uri::PathAndQuery;

/// Measures calls without and with a backup request, side by side.
///
/// Without --servers it starts three replicas in the process that answer after a lognormal time (median 0.5 ms) and stall
/// for 20 ms on 5 % of the requests.
#[derive(Clone, Parser, Debug)]
#[command(version)]
pub(crate) struct Options {
    /// Servers to call instead of replicas in the process
    #[arg(long, value_name = "list://HOST:PORT,…")]
    pub(crate) servers: Option<String>,

    /// What to GET
    #[arg(long, default_value = "/", value_parser = path)]
    pub(crate) path: PathAndQuery,

    /// Calls a run
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) calls: u64,

    /// Calls at a time
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) concurrency: u32,

    /// When the second run sends its backup, after a call's start
    #[arg(long, value_name = "MS", default_value = "2", allow_negative_numbers = true, value_parser = millis)]
    pub(crate) backup_ms: Duration,

    /// A call's deadline, extra attempts included
    #[arg(long, value_name = "MS", default_value = "500", allow_negative_numbers = true, value_parser = positive_millis)]
    pub(crate) timeout_ms: Duration,

    /// How many attempts may follow a call's first, retries and backups together
    #[arg(long, default_value_t = 3)]
    pub(crate) max_retry: u8,

    /// The load balancer
    #[arg(long, value_enum, default_value_t = Balancer::Rr)]
    pub(crate) lb: Balancer,

    /// The runtime that the client runs on
    #[arg(long, value_enum, default_value_t = Runtime::Tokio)]
    pub(crate) runtime: Runtime,

    /// Where the replicas' service times and the balancer's choices come from
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,

    /// Print one JSON object instead of the table and the picture
    #[arg(long)]
    pub(crate) json: bool,

    /// Draw the picture into a file, too
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
}

/// The balancers of the library, by name.
#[derive(Clone, Copy, ValueEnum, Debug)]
pub(crate) enum Balancer {
    Rr,
    Random,
}

impl Balancer {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Rr => "rr",
            Self::Random => "random",
        }
    }
}

#[derive(Clone, Copy, ValueEnum, Debug)]
pub(crate) enum Runtime {
    Tokio,
    Smol,
}

impl Runtime {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tokio => "tokio",
            Self::Smol => "smol",
        }
    }
}

impl Options {
    /// What is odd about the options without being wrong.
    pub(crate) fn warning(&self) -> Option<String> {
        let (backup, timeout) = (self.backup_ms, self.timeout_ms);
        if backup >= timeout {
            return Some(format!(
                "no backup will be sent: its delay of {backup:?} is not below the timeout of {timeout:?}"
            ));
        }
        (self.max_retry == 0).then(|| "no backup will be sent: --max-retry 0 allows one attempt a call".into())
    }
}

/// What clap has to say in one line: the complaint and the possible values, without the usage and the hint at `--help`.
pub(crate) fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let complaint = text.lines().take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let words: Vec<_> = complaint.flat_map(str::split_whitespace).skip_while(|word| *word == "error:").collect();
    words.join(" ")
}

fn millis(text: &str) -> Result<Duration, String> {
    let millis: f64 = text.parse().map_err(|_| "not a number of milliseconds")?;
    Duration::try_from_secs_f64(millis / 1_000.0).map_err(|error| error.to_string())
}

fn positive_millis(text: &str) -> Result<Duration, String> {
    millis(text).and_then(|time| if time.is_zero() { Err("must be above 0".into()) } else { Ok(time) })
}

fn path(text: &str) -> Result<PathAndQuery, String> {
    if !text.starts_with('/') {
        return Err("a path begins with /".into());
    }
    text.parse().map_err(|error: http::uri::InvalidUri| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        let words = std::iter::once("hedge-examples").chain(line.split_whitespace());
        Options::try_parse_from(words).map_err(|error| one_line(&error))
    }

    #[test]
    fn the_defaults_are_the_demonstration() {
        let options = parse("").unwrap();
        assert_eq!((options.calls, options.concurrency, options.max_retry), (5_000, 8, 3));
        assert_eq!((options.backup_ms.as_millis(), options.timeout_ms.as_millis()), (2, 500));
        assert_eq!(options.warning(), None);
    }

    #[test]
    fn milliseconds_take_fractions() {
        assert_eq!(parse("--backup-ms 2.5").unwrap().backup_ms, Duration::from_micros(2_500));
        for bad in ["x", "NaN", "-1", "1e300"] {
            let error = parse(&format!("--backup-ms={bad}")).unwrap_err();
            assert!(error.contains("--backup-ms <MS>"), "{error}");
        }
        assert!(parse("--timeout-ms 0").is_err());
    }

    #[test]
    fn what_cannot_work_is_one_line() {
        for bad in ["--calls 0", "--concurrency 0", "--path x", "--lb best", "--nonsense", "--max-retry -1"] {
            let error = parse(bad).unwrap_err();
            assert!(!error.is_empty() && !error.contains('\n') && !error.starts_with("error"), "{error}");
        }
    }

    #[test]
    fn the_possible_values_are_named() {
        assert_eq!(
            parse("--lb best").unwrap_err(),
            "invalid value 'best' for '--lb <LB>' [possible values: rr, random]"
        );
    }

    #[test]
    fn a_backup_that_never_goes_out_is_worth_a_warning() {
        assert!(parse("--backup-ms 500").unwrap().warning().unwrap().contains("timeout"));
        assert!(parse("--max-retry 0").unwrap().warning().unwrap().contains("--max-retry"));
    }
}
