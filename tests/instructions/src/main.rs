//! Runs one operation of the core a number of times, under callgrind; `ci/instructions` does the rest.
//!
//! `hedge-instructions --list` names the operations; `hedge-instructions OPERATION COUNT` runs one.

use std::env;
use std::process::ExitCode;

use hedge_instructions::{OPERATIONS, World};

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match args[..] {
        ["--list"] => {
            OPERATIONS.iter().for_each(|operation| println!("{}", operation.name));
            Ok(())
        }
        [name, count] => run(name, count),
        _ => Err("usage: hedge-instructions --list | OPERATION COUNT".to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("error: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn run(name: &str, count: &str) -> Result<(), String> {
    let operation = OPERATIONS.iter().find(|operation| operation.name == name);
    let operation = operation.ok_or_else(|| format!("no operation is called {name}"))?;
    let count = count.parse().map_err(|_| format!("not a count: {count}"))?;
    let world = World::new().ok_or("the core refuses the options")?;
    if operation.run(&world, count) { Ok(()) } else { Err(format!("{name}: a call did not go as it should")) }
}
