//! Both implementations of a call tell the same.

use hedge_model::compare;

#[test]
fn l_and_r_the_core_does_what_the_model_does_over_random_scripts() {
    let (scripts, seed) = (20_000, 7);
    println!("seed {seed}");
    let coverage = compare::run(scripts, seed).unwrap_or_else(|found| panic!("they differ: {found}"));
    print!("{coverage}");
    assert_eq!(coverage.missing(), [""; 0], "every branch of the rules is reached");
}
