//! Any bytes as compressed messages: nothing panics, no limit is passed, and a lent buffer gets what a vector gets. Any
//! message is restored from what was compressed.
#![no_main]

use hedge_wire::baidu_std::Compression;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let [kind, limit, bytes @ ..] = input else { return };
    let compression = [Compression::Snappy, Compression::Gzip, Compression::Zlib][usize::from(kind % 3)];
    if kind & 0x80 != 0 {
        let compressed = compression.compress_to_vec(bytes).expect("a small message");
        assert_eq!(compression.decompress_to_vec(&compressed, bytes.len()).as_deref(), Ok(bytes));
        return;
    }
    let limit = usize::from(*limit) * 16;
    let mut out = vec![0; limit];
    let lent = compression.decompress(bytes, &mut out).map(|length| &out[..length]);
    let owned = compression.decompress_to_vec(bytes, limit);
    assert!(owned.as_ref().is_ok_and(|owned| owned.len() <= limit) || owned.is_err());
    assert_eq!(lent, owned.as_deref().map_err(|error| *error));
});
