//! Sets `has_atomic_64` if the target, or the feature `portable-atomic`, has atomics of 64 bits. Stops the build if
//! neither has compare-and-swap: this one error names the fix, instead of one error for each line of code that needs
//! compare-and-swap.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(has_atomic_64)");
    // Cargo does not set this variable for a target without any atomics.
    let atomics = env::var("CARGO_CFG_TARGET_HAS_ATOMIC").unwrap_or_default();
    let has = |wanted| atomics.split(',').any(|width| width == wanted);
    let given = env::var_os("CARGO_FEATURE_PORTABLE_ATOMIC").is_some();
    if given || has("64") {
        println!("cargo::rustc-cfg=has_atomic_64");
    }
    if !given && !has("32") {
        println!(
            "cargo::error={} has no compare-and-swap. Turn on the feature `critical-section` of hedge-core (of \
             hedge-embassy, if that is what the program uses), which uses the program's critical sections. If the chip has \
             one core and no other crate asks for critical sections, the feature `portable-atomic` will do, with \
             `unsafe-assume-single-core` of portable-atomic in the program",
            env::var("TARGET").unwrap_or_default()
        );
    }
}
