//! The command line.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use hedge_core::balance::BalancerName;
use hedge_net::{BudgetOptions, LimitOptions, RatioMode, RatioOptions, TokenOptions};
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

    /// When the second run sends its backup: so long after a call's start; after a delay that follows the latencies, the
    /// shortest that keeps to the ratio (auto); or never, to show what backups would have done (shadow)
    #[arg(long, visible_alias = "backup-ms", value_name = "MS|auto|shadow", default_value = "2", value_parser = backup)]
    #[arg(allow_negative_numbers = true)]
    pub(crate) backup: Backup,

    /// What backups and retries are limited to, in both runs; by default as a channel is: exact, and budget
    #[arg(long, value_enum)]
    pub(crate) limit: Option<Limit>,

    /// How many backups a call there may be, in (0, 1]: for the limit, and for --backup auto [default: 0.1]
    #[arg(long, value_name = "RATIO", allow_negative_numbers = true, value_parser = ratio)]
    pub(crate) max_backup_ratio: Option<f64>,

    /// A call's deadline, extra attempts included
    #[arg(long, value_name = "MS", default_value = "500", allow_negative_numbers = true, value_parser = positive_millis)]
    pub(crate) timeout_ms: Duration,

    /// How many attempts may follow a call's first, retries and backups together
    #[arg(long, default_value_t = 3)]
    pub(crate) max_retry: u8,

    /// The load balancer, with its parameters if it takes any: p2c:choices=4. Those that hash get a code a call
    #[arg(long, visible_alias = "lb", value_name = "NAME", default_value = "rr")]
    pub(crate) balancer: BalancerName,

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

/// When a backup is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Backup {
    After(Duration),
    Auto,
    Shadow,
}

impl fmt::Display for Backup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::After(delay) => write!(f, "backup after {delay:?}"),
            Self::Auto => f.write_str("backup after an adaptive delay"),
            Self::Shadow => f.write_str("backups on paper"),
        }
    }
}

/// The limits of the library, one at a time.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
pub(crate) enum Limit {
    /// Backups in proportion to calls, counted at each backup
    Exact,
    /// The same as brpc does it, but looked up every second over the last two instead of every five over ten
    Cached,
    /// tRPC's bucket: backups and retries while calls succeed
    Tokens,
    /// Finagle's account, which backups and retries draw on
    Budget,
    /// Nothing is refused
    None,
}

impl Limit {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().into())
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
    /// How many backups a call there may be.
    pub(crate) fn ratio(&self) -> f64 {
        self.max_backup_ratio.unwrap_or(RatioOptions::DEFAULT.max_backup_ratio)
    }

    /// The limits that are asked for; the error is a ratio for limits that have none.
    pub(crate) fn limits(&self) -> Result<LimitOptions, String> {
        let exact = RatioOptions { max_backup_ratio: self.ratio(), ..RatioOptions::DEFAULT };
        // A run lasts a second or so, and these are the shortest there are: with brpc's 5 s it would be over before the
        // limit looked a second time.
        let cached =
            RatioOptions { mode: RatioMode::Cached, update_interval_seconds: 1, window_size_seconds: 2, ..exact };
        let limits = match self.limit {
            None => LimitOptions { ratio: Some(exact), ..LimitOptions::SAFE },
            Some(Limit::Exact) => LimitOptions { ratio: Some(exact), ..LimitOptions::NONE },
            Some(Limit::Cached) => LimitOptions { ratio: Some(cached), ..LimitOptions::NONE },
            Some(Limit::Tokens) => LimitOptions { tokens: Some(TokenOptions::TRPC), ..LimitOptions::NONE },
            Some(Limit::Budget) => LimitOptions { budget: Some(BudgetOptions::DEFAULT), ..LimitOptions::NONE },
            Some(Limit::None) => LimitOptions::NONE,
        };
        match (self.limit, self.max_backup_ratio, limits.ratio) {
            (Some(limit), Some(_), None) => {
                Err(format!("--max-backup-ratio: --limit {} has no ratio; exact and cached have one", limit.name()))
            }
            _ => Ok(limits),
        }
    }

    /// What is odd about the options without being wrong.
    pub(crate) fn warning(&self) -> Option<String> {
        let timeout = self.timeout_ms;
        match self.backup {
            Backup::After(delay) if delay >= timeout => {
                Some(format!("no backup will be sent: its delay of {delay:?} is not below the timeout of {timeout:?}"))
            }
            Backup::After(_) | Backup::Auto if self.max_retry == 0 => {
                Some("no backup will be sent: --max-retry 0 allows one attempt a call".into())
            }
            _ => None,
        }
    }
}

/// Limits in a few words.
pub(crate) fn limits_text(limits: &LimitOptions) -> String {
    let ratio = limits.ratio.map(|ratio| {
        let cached = if ratio.mode == RatioMode::Cached { " cached" } else { "" };
        format!("ratio {}{cached}", ratio.max_backup_ratio)
    });
    let tokens = limits.tokens.map(|_| "tokens".to_owned());
    let budget = limits.budget.map(|_| "budget".to_owned());
    let all: Vec<_> = [ratio, tokens, budget].into_iter().flatten().collect();
    if all.is_empty() { "no limit".into() } else { format!("limit {}", all.join(" and ")) }
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

fn backup(text: &str) -> Result<Backup, String> {
    match text {
        "auto" => Ok(Backup::Auto),
        "shadow" => Ok(Backup::Shadow),
        _ if text.parse::<f64>().is_err() => Err("neither a number of milliseconds nor auto nor shadow".into()),
        _ => millis(text).map(Backup::After),
    }
}

fn ratio(text: &str) -> Result<f64, String> {
    let max_backup_ratio = text.parse().map_err(|_| "not a number")?;
    let checked = RatioOptions { max_backup_ratio, ..RatioOptions::DEFAULT }.validate();
    checked.map(|_| max_backup_ratio).map_err(|error| error.to_string())
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
        assert_eq!((options.backup, options.timeout_ms.as_millis()), (Backup::After(Duration::from_millis(2)), 500));
        assert_eq!(options.limits(), Ok(LimitOptions::SAFE));
        assert_eq!(options.warning(), None);
    }

    #[test]
    fn milliseconds_take_fractions() {
        let after = Backup::After(Duration::from_micros(2_500));
        assert_eq!(parse("--backup 2.5").unwrap().backup, after);
        assert_eq!(parse("--backup-ms 2.5").unwrap().backup, after);
        for bad in ["x", "NaN", "-1", "1e300", "Auto", ""] {
            let error = parse(&format!("--backup={bad}")).unwrap_err();
            assert!(error.contains("--backup <MS|auto|shadow>"), "{error}");
        }
        assert!(parse("--timeout-ms 0").is_err());
    }

    #[test]
    fn what_cannot_work_is_one_line() {
        for bad in ["--calls 0", "--concurrency 0", "--path x", "--balancer best", "--nonsense", "--max-retry -1"] {
            let error = parse(bad).unwrap_err();
            assert!(!error.is_empty() && !error.contains('\n') && !error.starts_with("error"), "{error}");
        }
    }

    #[test]
    fn the_possible_values_are_named() {
        assert_eq!(
            parse("--runtime best").unwrap_err(),
            "invalid value 'best' for '--runtime <RUNTIME>' [possible values: tokio, smol]"
        );
    }

    #[test]
    fn any_balancer_of_the_library_will_do() {
        for name in BalancerName::NAMES {
            assert_eq!(parse(&format!("--balancer {name}")).unwrap().balancer.name(), *name);
        }
        assert_eq!(parse("--lb p2c:choices=4").unwrap().balancer.to_string(), "p2c:choices=4");
        let error = parse("--balancer best").unwrap_err();
        assert!(error.starts_with("invalid value 'best' for '--balancer <NAME>': no balancer is named"), "{error}");
        assert!(parse("--balancer p2c:choices=1").unwrap_err().contains("[2, 64]"));
    }

    #[test]
    fn limits_are_one_at_a_time_and_take_their_ratio() {
        let limits = |line: &str| parse(line).unwrap().limits();
        for (line, text) in [
            ("", "limit ratio 0.1 and budget"),
            ("--max-backup-ratio 0.25", "limit ratio 0.25 and budget"),
            ("--limit exact --max-backup-ratio 1", "limit ratio 1"),
            ("--limit cached", "limit ratio 0.1 cached"),
            ("--limit tokens", "limit tokens"),
            ("--limit budget", "limit budget"),
            ("--limit none", "no limit"),
        ] {
            assert_eq!(limits_text(&limits(line).unwrap()), text, "{line}");
        }
        let cached = limits("--limit cached").unwrap().ratio.unwrap();
        assert_eq!(cached.validate(), Ok(None), "the interval is not above the window");
    }

    #[test]
    fn a_ratio_out_of_range_or_of_nothing_says_so() {
        for bad in ["0", "-0.1", "1.5", "NaN", "x"] {
            let error = parse(&format!("--max-backup-ratio {bad}")).unwrap_err();
            assert!(error.contains("(0, 1]") || error.ends_with("not a number"), "{error}");
        }
        for limit in ["tokens", "budget", "none"] {
            let error = parse(&format!("--limit {limit} --max-backup-ratio 0.2")).unwrap().limits().unwrap_err();
            assert_eq!(error, format!("--max-backup-ratio: --limit {limit} has no ratio; exact and cached have one"));
        }
    }

    #[test]
    fn a_backup_that_never_goes_out_is_worth_a_warning() {
        assert!(parse("--backup 500").unwrap().warning().unwrap().contains("timeout"));
        assert!(parse("--max-retry 0").unwrap().warning().unwrap().contains("--max-retry"));
        assert!(parse("--max-retry 0 --backup auto").unwrap().warning().is_some());
        assert_eq!(parse("--max-retry 0 --backup shadow").unwrap().warning(), None, "nobody expects one");
    }
}
