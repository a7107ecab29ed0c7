//! The pure state machine by hand: no async, no I/O, no clock; the first server is slow and a backup wins.
//! Run it: cargo run --release --example by_hand

use std::error::Error;

use hedge_core::balance::RoundRobin;
use hedge_core::call::{Action, Input};
use hedge_core::channel::Channel;
use hedge_core::id::AttemptId;
use hedge_core::outcome::Verdict;
use hedge_core::policy::{BackupDelay, CallOptions, ChannelOptions};
use hedge_core::time::{Duration, Instant};

/// How long each server takes.
const SERVERS: [(&str, Duration); 2] =
    [("10.0.0.1:80", Duration::from_millis(20)), ("10.0.0.2:80", Duration::from_micros(700))];

fn main() -> Result<(), Box<dyn Error>> {
    let backup = BackupDelay::after(Duration::from_millis(2));
    let options = ChannelOptions { backup, ..ChannelOptions::brpc() };
    let mut channel: Channel<&str, RoundRobin> = Channel::new(options, RoundRobin::starting_at(0), 1);
    for (address, _) in SERVERS {
        channel.insert(address, "")?;
    }

    let begin = Instant::ZERO;
    let mut now = begin;
    let options = CallOptions::new();
    let mut call = channel.call(&options, now)?;
    // The "network": which attempt is answered when.
    let mut answers: Vec<(Instant, AttemptId)> = Vec::new();
    loop {
        let action = call.poll(now);
        println!("{:>4} µs  {action:?}", now.since(begin).as_micros());
        match action {
            Action::Start(start) => {
                let address = channel.cluster().address(start.server).copied();
                let time = SERVERS.iter().find(|(server, _)| Some(*server) == address).map(|(_, time)| *time);
                answers.push((now + time.unwrap_or_default(), start.attempt));
            }
            Action::Abandon { attempt } => answers.retain(|(_, answered)| *answered != attempt),
            Action::Wait { until } => {
                // Whatever comes first: an answer, or the instant that the call asked to be woken at.
                let answer = answers.iter().copied().min();
                match answer.filter(|(at, _)| until.is_none_or(|until| *at <= until)) {
                    Some((at, attempt)) => {
                        now = at;
                        answers.retain(|(_, answered)| *answered != attempt);
                        call.handle(now, Input::finished(attempt, Verdict::Accept));
                    }
                    None => now = until.ok_or("nothing will ever happen")?,
                }
            }
            Action::Done(_) => break,
        }
    }

    let report = call.report();
    println!("\nended after {} µs: {:?}", report.elapsed().as_micros(), report.end());
    for (index, attempt) in report.attempts().iter().enumerate() {
        let address = channel.cluster().address(attempt.server()).copied().unwrap_or("gone");
        let won = if report.winner().is_some_and(|winner| winner.index() == index) { ", won" } else { "" };
        let begun = attempt.started().as_micros();
        println!("attempt {index}: {:?} at {begun} µs to {address}: {:?}{won}", attempt.kind(), attempt.state());
    }
    Ok(())
}
