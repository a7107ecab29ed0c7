//! Messages that are compressed: there and back, within limits, and nothing but whole messages.
#![cfg(all(feature = "alloc", feature = "gzip", feature = "snappy"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use hedge_wire::baidu_std::Compression::{Gzip, None, Snappy, Zlib};
use hedge_wire::baidu_std::CompressionError::{Corrupt, TooLarge, Unknown};
use hedge_wire::baidu_std::{Compression, Packet};
use proptest::collection::vec;
use proptest::prelude::*;

#[test]
fn w4_a_message_has_a_limit_of_its_own() {
    for compression in [None, Snappy, Gzip, Zlib] {
        for length in [0, 1, 1000, 1023, 1024, 1025, 100_000] {
            let message = vec![7; length];
            let bytes = compression.compress_to_vec(&message).unwrap();
            for limit in [length, length + 1, usize::MAX] {
                assert_eq!(compression.decompress_to_vec(&bytes, limit).as_ref(), Ok(&message), "{compression:?}");
            }
            let mut out = vec![9; length];
            assert_eq!(compression.decompress(&bytes, &mut out), Ok(length), "{compression:?} {length}");
            assert_eq!(out, message);
            if let Some(limit) = length.checked_sub(1) {
                let too_large = TooLarge { limit };
                assert_eq!(compression.decompress_to_vec(&bytes, limit), Err(too_large), "{compression:?} {length}");
                assert_eq!(compression.decompress(&bytes, &mut out[..limit]), Err(too_large));
            }
        }
    }
}

#[test]
fn p1_snappy_does_not_allocate_what_it_only_announces() {
    let announces = b"\xff\xff\xff\xff\x07a";
    assert_eq!(Snappy.decompress_to_vec(announces, usize::MAX), Err(Corrupt { compression: Snappy }));
}

#[test]
fn a_message_must_be_whole_and_alone() {
    let message: Vec<u8> = (0..2000_u32).flat_map(u32::to_le_bytes).collect();
    for compression in [Snappy, Gzip, Zlib] {
        let corrupt = Err(Corrupt { compression });
        let bytes = compression.compress_to_vec(&message).unwrap();
        for end in 0..bytes.len() {
            assert_eq!(compression.decompress_to_vec(&bytes[..end], 10_000), corrupt, "{compression:?} {end}");
        }
        let more = [&bytes[..], b"x"].concat();
        assert!(compression.decompress_to_vec(&more, 10_000).is_err(), "{compression:?}");
    }
    let mut wrong_sum = Gzip.compress_to_vec(b"hello").unwrap();
    let at = wrong_sum.len() - 8;
    wrong_sum[at] ^= 1;
    assert_eq!(Gzip.decompress_to_vec(&wrong_sum, 10), Err(Corrupt { compression: Gzip }));
}

#[test]
fn a_packet_says_its_compression() {
    let of = |compress_type| Packet { compress_type, ..Packet::default() }.compression();
    let all = [Option::None, Some(0), Some(1), Some(2), Some(3), Some(4), Some(-1)].map(of);
    let unknown = |number| Err(Unknown { number });
    assert_eq!(all, [Ok(None), Ok(None), Ok(Snappy), Ok(Gzip), Ok(Zlib), unknown(4), unknown(-1)]);
    assert_eq!([None, Snappy, Gzip, Zlib].map(Compression::number), [0, 1, 2, 3]);
    assert_eq!(Unknown { number: 4 }.to_string(), "compression: type 4 is unknown");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: Option::None, ..ProptestConfig::default() })]

    #[test]
    fn a_buffer_and_a_vector_get_the_same_of_any_bytes(
        message in vec(0..4_u8, 0..600),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        limit in 0..700_usize,
    ) {
        for compression in [None, Snappy, Gzip, Zlib] {
            let mut bytes = compression.compress_to_vec(&message).unwrap();
            for (index, byte) in &changes {
                if !bytes.is_empty() {
                    let at = index.index(bytes.len());
                    bytes[at] = *byte;
                }
            }
            let mut out = vec![0; limit];
            let lent = compression.decompress(&bytes, &mut out).map(|length| out[..length].to_vec());
            let owned = compression.decompress_to_vec(&bytes, limit);
            prop_assert_eq!(&lent, &owned);
            if changes.is_empty() {
                let expected = if message.len() > limit { Err(TooLarge { limit }) } else { Ok(message.clone()) };
                prop_assert_eq!(owned, expected);
            }
        }
    }
}
