//! Suite `hash_vectors`: the request codes of keys. What else a table says of a key is of hashes that are not offered.

use hedge_core::balance::hash::{md5_32, murmur3_32};
use serde::Deserialize;
use serde_json::Value;

use crate::{Case, compare};

#[derive(Deserialize)]
struct Table {
    vectors: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    hex: String,
    text: Option<String>,
    murmur32: Option<u32>,
    md5_32: Option<u32>,
    #[serde(rename = "crc_hash32")]
    _crc_hash32: Option<u32>,
    #[serde(rename = "crc32c")]
    _crc32c: Option<u32>,
}

pub(crate) fn run(text: &str) -> Result<Vec<Case>, serde_json::Error> {
    let table: Table = serde_json::from_str(text)?;
    Ok(table.vectors.into_iter().flat_map(cases).collect())
}

fn cases(vector: Value) -> Vec<Case> {
    let whole = vector.to_string();
    let (vector, key) = match read(vector) {
        Ok(read) => read,
        Err(error) => return vec![compare(whole, &"a vector of this suite", Err(error))],
    };
    let hashes = [("murmur32", vector.murmur32, murmur3_32(&key)), ("md5_32", vector.md5_32, md5_32(&key))];
    let cases = hashes
        .into_iter()
        .filter_map(|(name, expected, got)| Some(compare(format!("{name} of {:?}", vector.hex), &expected?, Ok(got))));
    cases.collect()
}

/// A vector and the key that it is about.
fn read(vector: Value) -> Result<(Vector, Vec<u8>), String> {
    let vector: Vector = serde_json::from_value(vector).map_err(|error| error.to_string())?;
    let key = bytes(&vector.hex).ok_or_else(|| format!("{:?} is not hexadecimal", vector.hex))?;
    match &vector.text {
        Some(text) if text.as_bytes() != key => Err(format!("{:?} is not {text:?}", vector.hex)),
        _ => Ok((vector, key)),
    }
}

/// The bytes that are written in hexadecimal.
pub(crate) fn bytes(hex: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok();
    pairs.iter().map(byte).collect::<Option<Vec<u8>>>().filter(|_| rest.is_empty())
}
