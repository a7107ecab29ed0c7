//! `/rpcz`: the last sampled calls, each with its attempts as bars on one time axis.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hedge_core::outcome::{Code, Kind, State, Verdict};
use hedge_core::time::Micros;
use serde_json::{Value as Json, json};

use super::{Page, Part, layout};
use crate::recorder::micros_of;
use crate::registry::Registry;
use crate::request::{Format, Parsed};
use crate::samples::{Sample, SampledAttempt};
use crate::text::Html;

/// How many calls one page shows.
const SIZE: usize = 100;
/// The width of the time axis, and the height of an attempt.
const WIDTH: u64 = 640;
const ROW: usize = 22;

/// Which samples a page shows.
struct Filter<'a> {
    channel: Option<&'a str>,
    server: Option<&'a str>,
    /// The shortest latency, in milliseconds.
    slow_ms: Option<u64>,
    hedged: bool,
    failed: bool,
}

impl<'a> Filter<'a> {
    fn of(parsed: &'a Parsed) -> Self {
        Self {
            channel: parsed.get("channel"),
            server: parsed.get("server"),
            slow_ms: parsed.get("slow").and_then(|slow| slow.parse().ok()),
            hedged: parsed.get("hedged").is_some(),
            failed: parsed.get("failed").is_some(),
        }
    }

    fn takes(&self, sample: &Sample) -> bool {
        self.channel.is_none_or(|channel| sample.channel.as_str() == channel)
            && self.slow_ms.is_none_or(|slow| sample.elapsed.as_millis() >= slow)
            && (!self.hedged || sample.is_hedged())
            && (!self.failed || sample.is_failed())
            && self.server.is_none_or(|server| sample.attempts.iter().any(|attempt| attempt.server.contains(server)))
    }
}

/// The page of the samples that the query asks for.
pub(super) fn page(parsed: &Parsed, registry: &Registry) -> Page {
    let filter = Filter::of(parsed);
    let mut samples = registry.samples().latest();
    samples.retain(|sample| filter.takes(sample));
    let part = Part::of(&samples, parsed.page(), SIZE);
    let one_in = registry.samples().one_in();
    match parsed.format {
        Format::Json => {
            let mut page = part.json();
            page.insert("one_in".to_owned(), one_in.into());
            page.insert("calls".to_owned(), part.items.iter().map(call_json).collect());
            Page::json(&page.into())
        }
        Format::Text => Page::text(part.items.iter().map(call_text).collect()),
        Format::Html => {
            let mut html = form(&filter);
            match one_in {
                0 => html.push_str("<p>Sampling is off. The program switches it on.</p>\n"),
                1 => html.push_str("<p>Every call is sampled, up to a limit a second.</p>\n"),
                _ => {
                    let _ = writeln!(
                        html,
                        "<p>One of {one_in} calls is sampled, and each that failed or took more than one attempt.</p>"
                    );
                }
            }
            layout::parts(&mut html, parsed, &part, "sampled calls");
            part.items.iter().for_each(|sample| call(&mut html, sample));
            layout::parts(&mut html, parsed, &part, "sampled calls");
            layout::html(parsed, "rpcz", &html)
        }
    }
}

fn form(filter: &Filter<'_>) -> String {
    let check = |name: &str, is_on: bool| {
        let checked = if is_on { " checked" } else { "" };
        format!("<label class=\"check\"><input type=\"checkbox\" name=\"{name}\" value=\"1\"{checked}>{name}</label>")
    };
    format!(
        "<form><label>channel<input name=\"channel\" value=\"{}\"></label>\
         <label>server contains<input name=\"server\" value=\"{}\"></label>\
         <label>at least, ms<input type=\"number\" min=\"0\" name=\"slow\" value=\"{}\"></label>{}{}\
         <button>show</button></form>\n",
        Html(filter.channel.unwrap_or_default()),
        Html(filter.server.unwrap_or_default()),
        filter.slow_ms.map_or_else(String::new, |slow| slow.to_string()),
        check("hedged", filter.hedged),
        check("failed", filter.failed),
    )
}

/// Writes one call: a line, the bars, and the attempts as a list.
fn call(html: &mut String, sample: &Arc<Sample>) {
    let Sample { channel, elapsed, attempts, .. } = &**sample;
    let class = if sample.is_failed() { " class=\"bad\"" } else { "" };
    let number = sample.call.map_or_else(String::new, |call| format!(" · call {call}"));
    let _ = writeln!(
        html,
        "<article class=\"call\"><h2>{channel} · {elapsed} · <span{class}>{}</span></h2>\
         <p class=\"soft\">ended {}{number}{}</p>",
        sample.end_text(),
        Utc(sample.ended_at),
        not_hedged(sample),
    );
    bars(html, *elapsed, attempts);
    html.push_str("<ol start=\"0\">");
    for attempt in attempts {
        let _ = write!(html, "<li>{}</li>", Html(attempt_text(attempt)));
    }
    html.push_str("</ol></article>\n");
}

fn not_hedged(sample: &Sample) -> String {
    sample.not_hedged.map_or_else(String::new, |reason| format!(" · no backup: {reason}"))
}

/// Draws the attempts, each as a bar from its start to its end.
fn bars(html: &mut String, elapsed: Micros, attempts: &[SampledAttempt]) {
    let whole = attempts.iter().map(|attempt| attempt.ended).fold(elapsed, Micros::max).as_micros().max(1);
    let x =
        |at: Micros| u64::try_from(u128::from(WIDTH) * u128::from(at.as_micros()) / u128::from(whole)).unwrap_or(WIDTH);
    let height = ROW * attempts.len() + 18;
    let _ = write!(
        html,
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"attempts over time; see the list below\">"
    );
    for (row, attempt) in attempts.iter().enumerate() {
        let (from, to, top) = (x(attempt.started), x(attempt.ended), row * ROW);
        let width = to.saturating_sub(from).max(2);
        let result = if attempt.state == State::Finished(Verdict::Accept) { "won" } else { "lost" };
        // The text stands in the bar, or left of the end if there is no room.
        let (at, anchor) = if from < WIDTH / 2 { (from + 4, "start") } else { (WIDTH - 4, "end") };
        let _ = write!(
            html,
            "<rect class=\"{kind} {result}\" x=\"{from}\" y=\"{}\" width=\"{width}\" height=\"{}\"/>\
             <text class=\"bar\" x=\"{at}\" y=\"{}\" text-anchor=\"{anchor}\">{row} {kind}: {}</text>",
            top + 2,
            ROW - 4,
            top + 16,
            attempt.outcome(),
            kind = attempt.kind,
        );
    }
    let _ = writeln!(
        html,
        "<text x=\"0\" y=\"{y}\">0</text><text x=\"{WIDTH}\" y=\"{y}\" text-anchor=\"end\">{}</text></svg>",
        Micros::from_micros(whole),
        y = height - 4,
    );
}

fn attempt_text(attempt: &SampledAttempt) -> String {
    let SampledAttempt { kind, server, started, ended, code, .. } = attempt;
    let code = if *code == Code::NONE { String::new() } else { format!(" ({code})") };
    format!("{kind} to {server}: {started} to {ended}, {}{code}", attempt.outcome())
}

fn call_text(sample: &Arc<Sample>) -> String {
    let Sample { channel, elapsed, ended_at, .. } = &**sample;
    let mut text = format!("{} {channel} {elapsed} {}{}\n", Utc(*ended_at), sample.end_text(), not_hedged(sample));
    for (number, attempt) in sample.attempts.iter().enumerate() {
        let _ = writeln!(text, "  {number} {}", attempt_text(attempt));
    }
    text
}

fn call_json(sample: &Arc<Sample>) -> Json {
    let attempt = |attempt: &SampledAttempt| {
        json!({
            "kind": match attempt.kind { Kind::First => "first", Kind::Retry => "retry", Kind::Backup => "backup" },
            "server": attempt.server,
            "started_us": attempt.started.as_micros(),
            "ended_us": attempt.ended.as_micros(),
            "outcome": attempt.outcome(),
            "code": (attempt.code != Code::NONE).then(|| attempt.code.to_string()),
        })
    };
    json!({
        "channel": sample.channel.as_str(),
        "call": sample.call.map(hedge_fleet::CallId::get),
        "ended_at_unix_us": micros_of(since_1970(sample.ended_at)),
        "elapsed_us": sample.elapsed.as_micros(),
        "end": sample.end_text(),
        "not_hedged": sample.not_hedged.map(|reason| reason.to_string()),
        "attempts": sample.attempts.iter().map(attempt).collect::<Vec<_>>(),
    })
}

fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// A time of day. `Display` writes the date and the time in UTC, to a millisecond.
struct Utc(SystemTime);

impl std::fmt::Display for Utc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let since = since_1970(self.0);
        let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
        let (year, month, day) = date(days);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        let millis = since.subsec_millis();
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{millis:03} UTC")
    }
}

/// Returns the year, the month and the day of a number of days since 1970 (`civil_from_days`, Howard Hinnant, 2013).
/// A year begins in March here, so that a leap day is the last day of its year.
const fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year_of_era + era * 400 + (month <= 2) as u64, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn o1_times_are_dates_in_utc() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00.000 UTC"),
            (951_782_399, "2000-02-28 23:59:59.000 UTC"),
            (951_782_400, "2000-02-29 00:00:00.000 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00.000 UTC"),
            (1_796_037_555, "2026-11-30 11:19:15.000 UTC"),
        ] {
            assert_eq!(Utc(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).to_string(), text);
        }
    }
}
