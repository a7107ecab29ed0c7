//! Prints the table of scenarios; fails if hedge-tower is not as wanted in one of them.

use std::process::ExitCode;

fn main() -> std::io::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let table = runtime.block_on(hedge_peers::run());
    println!("{}; hedge delay 50 ms, tokio's paused time\n\n{table}", hedge_peers::versions());
    let wrong = table.wrong();
    for scenario in &wrong {
        eprintln!("error: hedge-tower is not as wanted: {scenario}");
    }
    Ok(if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
