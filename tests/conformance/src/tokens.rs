//! Suite `token_buckets`: outcomes in, permissions and tokens out, of gRPC's and of tRPC's bucket.

use hedge_core::limit::{GrpcTokenRatio, GrpcTokens, TokenBucket, TokenOptions, TrpcTokens};
use hedge_core::policy::BackupPolicy;
use hedge_core::time::Instant;
use serde::Deserialize;

use crate::{Case, compare};

#[derive(Deserialize)]
struct Table {
    #[serde(default)]
    grpc: Traces<Grpc>,
    #[serde(default)]
    trpc: Traces<Trpc>,
}

#[derive(Deserialize)]
struct Traces<T> {
    traces: Vec<T>,
}

impl<T> Default for Traces<T> {
    fn default() -> Self {
        Self { traces: Vec::new() }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Grpc {
    max_tokens: GrpcTokens,
    token_ratio: GrpcTokenRatio,
    seq: String,
    /// What happened, the tokens after it, and whether extra attempts are allowed then.
    rows: Vec<(String, f64, bool)>,
}

#[derive(Deserialize)]
struct Trpc {
    max: TrpcTokens,
    ratio: TrpcTokens,
    seq: String,
    /// What happened, whether extra attempts were allowed before it, and the tokens after it.
    rows: Vec<(String, bool, f64)>,
}

pub(crate) fn run(text: &str) -> Result<Vec<Case>, serde_json::Error> {
    let table: Table = serde_json::from_str(text)?;
    let grpc = table.grpc.traces.iter().map(|trace| {
        let options = TokenOptions::Grpc { max_tokens: trace.max_tokens, token_ratio: trace.token_ratio };
        let name = format!("grpc {} {} {}", trace.max_tokens, trace.token_ratio, trace.seq);
        let outcomes = trace.rows.iter().map(|(outcome, ..)| outcome.as_str());
        let got = replay(options, outcomes).map(|rows| rows.iter().map(|row| (row.tokens, row.after)).collect());
        let expected = trace.rows.iter().map(|(_, tokens, allowed)| (milli(*tokens), *allowed)).collect::<Vec<_>>();
        compare(name, &expected, got)
    });
    let trpc = table.trpc.traces.iter().map(|trace| {
        let options = TokenOptions::Trpc { max_tokens: trace.max, token_ratio: trace.ratio };
        let name = format!("trpc {} {} {}", trace.max, trace.ratio, trace.seq);
        let outcomes = trace.rows.iter().map(|(outcome, ..)| outcome.as_str());
        let got = replay(options, outcomes).map(|rows| rows.iter().map(|row| (row.before, row.tokens)).collect());
        let expected = trace.rows.iter().map(|(_, allowed, tokens)| (*allowed, milli(*tokens))).collect::<Vec<_>>();
        compare(name, &expected, got)
    });
    Ok(grpc.chain(trpc).collect())
}

/// What was allowed around an outcome, and the tokens after it, in thousandths.
struct Row {
    before: bool,
    tokens: i64,
    after: bool,
}

fn replay<'t>(options: TokenOptions, outcomes: impl Iterator<Item = &'t str>) -> Result<Vec<Row>, String> {
    let bucket = TokenBucket::new(options);
    let allowed = || bucket.may_back_up(Instant::ZERO).is_ok() && bucket.may_retry(Instant::ZERO).is_ok();
    outcomes
        .map(|outcome| {
            let before = allowed();
            match outcome {
                "S" => bucket.succeeded(),
                "F" => bucket.failed(),
                other => return Err(format!("no such outcome: {other}")),
            }
            Ok(Row { before, tokens: bucket.tokens_milli().into(), after: allowed() })
        })
        .collect()
}

#[expect(clippy::cast_possible_truncation, reason = "tokens are some thousands at most")]
fn milli(tokens: f64) -> i64 {
    (tokens * 1_000.0).round() as i64
}
