//! The command line.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use hedge_core::balance::BalancerSpec;
use hedge_core::bounded::{BoundedSpan, Ratio};
use hedge_core::config::{Setup, Warnings};
use hedge_core::policy::{BackupDelay, ChannelOptions};
use hedge_core::time::Timeout;
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

    /// Calls a run [default: 5000; 20000 with --limit cached, which looks at its ratio once a second]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    calls: Option<u64>,

    /// Calls at a time
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) concurrency: u32,

    /// When the second run sends its backup: so long after a call's start; after the shortest delay that keeps to
    /// --max-backup-ratio, found from the latencies (auto); or never, to show what backups would have done (shadow)
    #[arg(long, visible_alias = "backup-ms", value_name = "MS|auto|shadow", default_value = "2", value_parser = backup)]
    #[arg(allow_negative_numbers = true)]
    pub(crate) backup: Backup,

    /// What limits backups and retries, in both runs [default: exact and budget together, as in any channel]
    #[arg(long, value_enum)]
    pub(crate) limit: Option<Limit>,

    /// How many backups a call there may be, in (0, 1]: for --limit exact (1 turns it off), --limit cached (1 does not) and
    /// --backup auto [default: 0.1]
    #[arg(long, value_name = "RATIO", allow_negative_numbers = true, value_parser = ratio)]
    pub(crate) max_backup_ratio: Option<Ratio>,

    /// A call's deadline, extra attempts included
    #[arg(long, value_name = "MS", default_value = "500", allow_negative_numbers = true, value_parser = timeout)]
    pub(crate) timeout_ms: Duration,

    /// How many attempts may follow a call's first, retries and backups together
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    pub(crate) max_retry: u8,

    /// The load balancer, with its parameters if it takes any: p2c:choices=4. Those that hash get a code a call
    #[arg(long, visible_alias = "lb", value_name = "NAME", default_value = "rr")]
    pub(crate) balancer: BalancerSpec,

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

/// The limits of the library, one at a time.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
pub(crate) enum Limit {
    /// Backups in proportion to calls, counted at each backup
    Exact,
    /// The same as brpc does it: looked up now and then, here once a second over the last two (brpc: every five over ten)
    Cached,
    /// tRPC's bucket: no backups and retries while many calls fail
    Tokens,
    /// Finagle's account: calls pay into it, backups and retries draw on it
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
    /// How many calls a run makes.
    pub(crate) fn calls(&self) -> u64 {
        // A run of 5,000 is over in about a second, before a cached ratio is looked up again; 20,000 take two or more.
        self.calls.unwrap_or(if self.limit == Some(Limit::Cached) { 20_000 } else { 5_000 })
    }

    /// When backups are sent, in a few words.
    pub(crate) fn backup_text(&self) -> String {
        match self.backup {
            Backup::After(delay) => format!("backup after {}", in_millis(delay)),
            Backup::Auto => format!("backup after an adaptive delay for a ratio of {}", self.ratio()),
            Backup::Shadow => "backups on paper".into(),
        }
    }

    /// How many backups a call there may be.
    pub(crate) fn ratio(&self) -> Ratio {
        self.max_backup_ratio.unwrap_or(RatioOptions::DEFAULT.max_backup_ratio)
    }

    /// The limits that are asked for; the error is a ratio that nothing asked for has.
    pub(crate) fn limits(&self) -> Result<LimitOptions, String> {
        let exact = RatioOptions { max_backup_ratio: self.ratio(), ..RatioOptions::DEFAULT };
        // The shortest interval there is, and two of them a window as in brpc: a run lasts a few seconds.
        let cached = RatioOptions {
            mode: RatioMode::Cached,
            update_interval: BoundedSpan::of_secs::<1>(),
            window: BoundedSpan::of_secs::<2>(),
            ..exact
        };
        let limits = match self.limit {
            None => LimitOptions { ratio: Some(exact), ..LimitOptions::SAFE },
            Some(Limit::Exact) => LimitOptions { ratio: Some(exact), ..LimitOptions::NONE },
            Some(Limit::Cached) => LimitOptions { ratio: Some(cached), ..LimitOptions::NONE },
            Some(Limit::Tokens) => LimitOptions { tokens: Some(TokenOptions::TRPC), ..LimitOptions::NONE },
            Some(Limit::Budget) => LimitOptions { budget: Some(BudgetOptions::DEFAULT), ..LimitOptions::NONE },
            Some(Limit::None) => LimitOptions::NONE,
        };
        match (self.limit, self.max_backup_ratio, limits.ratio) {
            (Some(limit), Some(ratio), None) if self.backup != Backup::Auto => Err(format!(
                "--max-backup-ratio {ratio}: --limit {} has no ratio; --limit exact, --limit cached and --backup auto \
                have one",
                limit.name()
            )),
            _ => Ok(limits),
        }
    }

    /// What contradicts something else or does nothing, as the library finds it.
    pub(crate) fn warnings(&self, limits: &LimitOptions) -> Warnings {
        let (backup, policy_delay) = match self.backup {
            Backup::After(delay) => (BackupDelay::after(delay), None),
            // It begins without a delay.
            Backup::Auto => (BackupDelay::OFF, Some(BackupDelay::OFF)),
            Backup::Shadow => (BackupDelay::OFF, Some(BackupDelay::shadow(Duration::ZERO))),
        };
        let (timeout, max_retry) = (Timeout::after(self.timeout_ms), self.max_retry);
        let options = ChannelOptions { timeout, max_retry, backup, ..ChannelOptions::brpc() };
        let servers = self.servers.as_deref().and_then(|servers| hedge_net::parse_servers(servers).ok());
        let addresses = servers.map(|servers| servers.into_iter().map(|server| server.address).collect::<HashSet<_>>());
        let addresses = addresses.map(|addresses| addresses.len()).filter(|addresses| *addresses > 0);
        // The connect timeout is not an option here: it goes by the timeout.
        Setup { policy_delay, addresses, connects: false, ..Setup::new(&options, limits) }.warnings()
    }

    /// For making one connection: brpc's, but no more than half of a call, so that one that hangs leaves time for another.
    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(200).min(self.timeout_ms / 2).max(Duration::from_micros(1))
    }
}

/// Limits in a few words.
pub(crate) fn limits_text(limits: &LimitOptions) -> String {
    let ratio = limits.ratio.map(|ratio| {
        let mode = match ratio.mode {
            RatioMode::Cached => " cached",
            RatioMode::Exact if ratio.max_backup_ratio == Ratio::WHOLE => " (off)",
            RatioMode::Exact => "",
        };
        format!("ratio {}{mode}", ratio.max_backup_ratio)
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

/// A time as it is given on the command line: `2.5 ms`.
pub(crate) fn in_millis(time: Duration) -> String {
    format!("{} ms", time.as_nanos() as f64 / 1e6)
}

/// A day: far beyond any call, and far within what a duration holds.
const MAX_MILLIS: f64 = 86_400_000.0;

/// A number of milliseconds from `min` to a day.
fn millis(text: &str, min: f64) -> Option<Duration> {
    let millis = text.parse().ok().filter(|millis| (min..=MAX_MILLIS).contains(millis))?;
    Duration::try_from_secs_f64(millis / 1_000.0).ok()
}

fn backup(text: &str) -> Result<Backup, String> {
    match text {
        "auto" => Ok(Backup::Auto),
        "shadow" => Ok(Backup::Shadow),
        _ => millis(text, 0.0)
            .map(Backup::After)
            .ok_or_else(|| format!("must be auto, shadow or a number of milliseconds in [0, {MAX_MILLIS}]")),
    }
}

fn ratio(text: &str) -> Result<Ratio, String> {
    let ratio = text.parse().map_err(|_| "must be a number in (0, 1]")?;
    Ratio::new(ratio).map_err(|error| format!("max_backup_ratio {error}"))
}

fn timeout(text: &str) -> Result<Duration, String> {
    // A microsecond is the least that the library counts.
    let least = 0.001;
    millis(text, least).ok_or_else(|| format!("must be a number of milliseconds in [{least}, {MAX_MILLIS}]"))
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
        assert_eq!((options.calls(), options.concurrency, options.max_retry), (5_000, 8, 3));
        assert_eq!((options.backup, options.timeout_ms.as_millis()), (Backup::After(Duration::from_millis(2)), 500));
        assert_eq!(options.limits(), Ok(LimitOptions::SAFE));
        assert!(options.warnings(&LimitOptions::SAFE).is_empty());
    }

    #[test]
    fn a_cached_ratio_gets_a_run_of_several_intervals() {
        assert_eq!(parse("--limit cached").unwrap().calls(), 20_000);
        assert_eq!(parse("--limit cached --calls 7").unwrap().calls(), 7);
        assert_eq!(parse("--limit exact").unwrap().calls(), 5_000);
    }

    #[test]
    fn milliseconds_take_fractions() {
        let after = Backup::After(Duration::from_micros(2_500));
        assert_eq!(parse("--backup 2.5").unwrap().backup, after);
        assert_eq!(parse("--backup-ms 2.5").unwrap().backup, after);
        assert_eq!(parse("--timeout-ms 0.001").unwrap().timeout_ms, Duration::from_micros(1));
        assert_eq!(parse("--timeout-ms 86400000").unwrap().timeout_ms, Duration::from_secs(86_400));
    }

    #[test]
    fn a_time_that_is_none_says_which_and_what_is_accepted() {
        for bad in ["x", "NaN", "inf", "-5", "-0.1", "86400001", "1e300", "Auto"] {
            assert_eq!(
                parse(&format!("--backup {bad}")).unwrap_err(),
                format!(
                    "invalid value '{bad}' for '--backup <MS|auto|shadow>': \
                    must be auto, shadow or a number of milliseconds in [0, 86400000]"
                )
            );
        }
        for bad in ["x", "NaN", "-5", "0", "0.0009", "1e300"] {
            assert_eq!(
                parse(&format!("--timeout-ms {bad}")).unwrap_err(),
                format!(
                    "invalid value '{bad}' for '--timeout-ms <MS>': must be a number of milliseconds in [0.001, 86400000]"
                )
            );
        }
        assert!(parse("--backup=").is_err());
    }

    #[test]
    fn a_title_says_when_backups_are_sent() {
        for (line, text) in [
            ("", "backup after 2 ms"),
            ("--backup 0", "backup after 0 ms"),
            ("--backup 0.25", "backup after 0.25 ms"),
            ("--backup auto", "backup after an adaptive delay for a ratio of 0.1"),
            ("--backup auto --max-backup-ratio 0.05", "backup after an adaptive delay for a ratio of 0.05"),
            ("--backup shadow", "backups on paper"),
        ] {
            assert_eq!(parse(line).unwrap().backup_text(), text, "{line}");
        }
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
        for name in hedge_core::balance::BalancerName::NAMES {
            assert_eq!(parse(&format!("--balancer {name}")).unwrap().balancer.to_string(), *name);
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
            ("--limit exact --max-backup-ratio 1", "limit ratio 1 (off)"),
            ("--limit cached", "limit ratio 0.1 cached"),
            ("--limit cached --max-backup-ratio 1", "limit ratio 1 cached"),
            ("--limit tokens", "limit tokens"),
            ("--limit budget", "limit budget"),
            ("--limit none", "no limit"),
        ] {
            assert_eq!(limits_text(&limits(line).unwrap()), text, "{line}");
        }
        let cached = limits("--limit cached").unwrap().ratio.unwrap();
        assert!(cached.update_interval.get() <= cached.window.get());
    }

    #[test]
    fn limits_are_those_of_the_library() {
        let limits = |line: &str| parse(line).unwrap().limits().unwrap();
        let ratio = RatioOptions { max_backup_ratio: Ratio::of_percent::<30>(), ..RatioOptions::DEFAULT };
        let exact = LimitOptions { ratio: Some(ratio), ..LimitOptions::NONE };
        assert_eq!(limits("--limit exact --max-backup-ratio 0.3"), exact);
        let cached = RatioOptions {
            mode: RatioMode::Cached,
            window: BoundedSpan::of_secs::<2>(),
            update_interval: BoundedSpan::of_secs::<1>(),
            ..ratio
        };
        let cached = LimitOptions { ratio: Some(cached), ..LimitOptions::NONE };
        assert_eq!(limits("--limit cached --max-backup-ratio 0.3"), cached);
        let tokens = LimitOptions { tokens: Some(TokenOptions::TRPC), ..LimitOptions::NONE };
        assert_eq!(limits("--limit tokens"), tokens);
        let budget = LimitOptions { budget: Some(BudgetOptions::DEFAULT), ..LimitOptions::NONE };
        assert_eq!(limits("--limit budget"), budget);
        assert_eq!(limits("--limit none"), LimitOptions::NONE);
    }

    #[test]
    fn a_ratio_out_of_range_or_of_nothing_says_so() {
        for bad in ["0", "-0.1", "1.5", "NaN", "x"] {
            let error = parse(&format!("--max-backup-ratio {bad}")).unwrap_err();
            assert!(error.contains(&format!("'{bad}'")) && error.ends_with("in (0, 1]"), "{error}");
        }
        for limit in ["tokens", "budget", "none"] {
            for backup in ["5", "shadow"] {
                let line = format!("--limit {limit} --max-backup-ratio 0.2 --backup {backup}");
                let error = parse(&line).unwrap().limits().unwrap_err();
                let expected = format!(
                    "--max-backup-ratio 0.2: --limit {limit} has no ratio; --limit exact, --limit cached and \
                    --backup auto have one"
                );
                assert_eq!(error, expected);
            }
        }
    }

    #[test]
    fn an_adaptive_delay_has_a_ratio_under_any_limit() {
        for (limit, text) in [("tokens", "limit tokens"), ("budget", "limit budget"), ("none", "no limit")] {
            let options = parse(&format!("--backup auto --limit {limit} --max-backup-ratio 0.05")).unwrap();
            assert_eq!((options.ratio().get(), limits_text(&options.limits().unwrap()).as_str()), (0.05, text));
        }
    }

    #[test]
    fn what_contradicts_itself_is_worth_a_warning() {
        for (line, text) in [
            (
                "--backup 500",
                "backup 500 ms: not below timeout 500 ms, so no backup is ever sent; write a shorter backup or a longer timeout",
            ),
            (
                "--max-retry 0",
                "max_retry 0: allows one attempt a call, so no backup is ever sent although backup asks for one; write \
                max_retry 1 or more",
            ),
            (
                "--max-retry 0 --backup auto",
                "max_retry 0: allows one attempt a call, so no backup is ever sent although backup_policy asks for one; write \
                max_retry 1 or more",
            ),
            (
                "--servers 127.0.0.1:1",
                "backup: there is one server address, so no backup is sent; name another server, or write \
                same_server_backup true",
            ),
            (
                "--limit exact --max-backup-ratio 1",
                "limits.ratio.max_backup_ratio 1: mode exact is off at 1; write a ratio below 1, or off for limits.ratio",
            ),
        ] {
            let options = parse(line).unwrap();
            let found = options.warnings(&options.limits().unwrap());
            assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), [text], "{line}");
        }
        for line in [
            "--backup auto",
            "--max-retry 0 --backup shadow",
            "--limit cached",
            "--timeout-ms 50",
            "--servers list://127.0.0.1:1,127.0.0.1:2",
        ] {
            let options = parse(line).unwrap();
            assert!(options.warnings(&options.limits().unwrap()).is_empty(), "{line}");
        }
    }

    #[test]
    fn connecting_takes_half_of_a_call_at_most() {
        for (line, micros) in [("", 200_000), ("--timeout-ms 50", 25_000), ("--timeout-ms 0.001", 1)] {
            assert_eq!(parse(line).unwrap().connect_timeout(), Duration::from_micros(micros), "{line}");
        }
    }
}
