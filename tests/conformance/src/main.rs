//! `hedge-conformance SUITE FILE…`: a line a case, and a status that is not zero if any failed.

use std::path::Path;
use std::process::ExitCode;

/// The cases ran and some failed.
const FAILED: u8 = 1;
/// The cases could not be run.
const UNUSABLE: u8 = 2;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let suite = arguments.next();
    let files: Vec<String> = arguments.collect();
    let Some(suite) = suite.filter(|_| !files.is_empty()) else {
        eprintln!("usage: hedge-conformance SUITE FILE...");
        return ExitCode::from(UNUSABLE);
    };
    let (mut run, mut failed) = (0, 0);
    for file in &files {
        match hedge_conformance::run(&suite, Path::new(file)) {
            Ok(cases) => {
                for case in &cases {
                    println!("{case}");
                }
                run += cases.len();
                failed += cases.iter().filter(|case| case.failed()).count();
            }
            Err(error) => {
                eprintln!("error: {error}");
                return ExitCode::from(UNUSABLE);
            }
        }
    }
    if run == 0 {
        eprintln!("error: no case in {}", files.join(", "));
        return ExitCode::from(UNUSABLE);
    }
    eprintln!("{suite}: {} passed, {failed} failed", run - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
}
