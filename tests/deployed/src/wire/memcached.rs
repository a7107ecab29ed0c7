//! memcached, over each of its protocols, compared with a model.

pub(super) mod binary;
pub(super) mod meta;

use std::collections::HashMap;

use fastrand::Rng;

/// How many requests are sent before their answers are read.
const BATCH: u64 = 64;

/// What the server holds: values with their flags, by key.
type Held = HashMap<Vec<u8>, (Vec<u8>, u32)>;

/// A key, and a value of any bytes; a few values are larger than a piece.
fn draw(rng: &mut Rng) -> (Vec<u8>, Vec<u8>) {
    let key = format!("key:{}", rng.u8(..24)).into_bytes();
    let size = if rng.u8(..50) == 0 { rng.usize(..20_000) } else { rng.usize(..30) };
    (key, (0..size).map(|_| if rng.bool() { rng.u8(..) } else { *rng.choice(b"\r\n VA0").unwrap_or(&0) }).collect())
}
