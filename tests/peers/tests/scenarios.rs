//! The whole table; ours is held against what is wanted, the peers' cells are not.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

#[test]
fn ours_is_right_in_every_scenario() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let table = runtime.block_on(hedge_peers::run());
    println!("{}\n\n{table}", hedge_peers::versions());
    assert_eq!(table.wrong(), [""; 0]);
    assert_eq!(table.checked(), 16);
}
