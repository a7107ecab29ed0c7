//! The feature `log`: the lines of calls and servers.

use std::cell::RefCell;
use std::time::Duration;

use hedge_fleet::hedge_core::outcome::ErrorKind;
use hedge_fleet::{CallOptions, CheckOutcome, CheckStep, NamingError, NamingErrorKind, Setup};
use log::{LevelFilter, Log, Metadata, Record};

use crate::world::World;

/// A logger that keeps the lines of each thread, so that other tests may run at the same time.
struct Lines;

thread_local! {
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        assert_eq!(record.target(), "hedge");
        LINES.with_borrow_mut(|lines| lines.push(format!("{} {}", record.level(), record.args())));
    }

    fn flush(&self) {}
}

/// Runs `run`, and returns the lines that were logged meanwhile.
fn logged(run: impl FnOnce()) -> Vec<String> {
    log::set_logger(&Lines).unwrap();
    log::set_max_level(LevelFilter::Debug);
    run();
    log::set_max_level(LevelFilter::Off);
    LINES.take()
}

#[test]
fn calls_and_servers_are_lines() {
    let world = World::new(Setup::new(), &[1, 2]);
    let node = world.node(2);
    let lines = logged(|| {
        world.run(&CallOptions::new(), &[Some((2, Err(ErrorKind::Refused))), Some((1, Ok(())))]);
        world.servers.set_usable(&node, false, hedge_fleet::hedge_core::time::Instant::ZERO);
        world.servers.tell_check(&node, CheckStep::Connect, CheckOutcome::TimedOut, Duration::from_millis(500));
        world.set(&[2]);
        world.servers.observers().naming_failed("/etc/servers", &std::fmt::Error);
        let gone = NamingError::new("file:///etc/servers", NamingErrorKind::NotFound);
        world.servers.observers().naming_failed(gone.name(), &gone);
        let address = "10.0.0.1:80".parse().unwrap();
        world.servers.observers().connection_expired(&address, Duration::from_secs(10));
    });
    // The number of the call differs from run to run.
    let without_number = |line: &String| match line.split_once("call ") {
        Some((level, rest)) => format!("{level}call {}", rest.trim_start_matches(|digit: char| digit.is_ascii_digit())),
        None => line.clone(),
    };
    assert_eq!(
        lines.iter().map(without_number).collect::<Vec<_>>(),
        [
            "DEBUG call : attempt 0 (first) to 10.0.0.1:80 started after 0 us",
            "DEBUG call : attempt 0 (first) to 10.0.0.1:80: retry after 2 ms: connection refused",
            "DEBUG call : attempt 1 (retry) to 10.0.0.2:80 started after 2 ms",
            "DEBUG call : attempt 1 (retry) to 10.0.0.2:80: accept after 1 ms",
            "DEBUG call : accepted after 3 ms by attempt 1 (retry, server 1.0); attempt 0 (first, server 0.0) failed \
             after 2 ms: connection refused; 2 attempts; no backup: disabled",
            "WARN server 10.0.0.2:80: withdrawn",
            "DEBUG server 10.0.0.2:80: check (connect) timed out after 500 ms",
            "INFO server 10.0.0.1:80: removed",
            "WARN naming /etc/servers: an error occurred when formatting an argument",
            "WARN naming file:///etc/servers: not found",
            "DEBUG connection to 10.0.0.1:80 closed: idle for 10000 ms",
        ]
    );
}
