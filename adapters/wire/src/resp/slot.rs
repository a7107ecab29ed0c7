//! The slots of a cluster: [`slot`].

/// How many slots a cluster has.
pub const SLOTS: u16 = 16_384;

/// The slot of a key: CRC-16/XMODEM of the key, modulo [`SLOTS`]. If the key has a `{`, and a later `}` with at least one
/// byte between them, only the bytes between the first `{` and the first `}` after it count (Redis cluster
/// specification, "hash tags"). So keys with one tag are in one slot.
///
/// ```
/// use hedge_wire::resp::slot;
///
/// assert_eq!(slot(b"somekey"), 11058);
/// assert_eq!(slot(b"{user1000}.following"), slot(b"{user1000}.followers"));
/// ```
#[must_use]
pub fn slot(key: &[u8]) -> u16 {
    crc16(hashed(key)) % SLOTS
}

/// The part of the key that counts.
fn hashed(key: &[u8]) -> &[u8] {
    let tag = || {
        let open = key.iter().position(|&byte| byte == b'{')?;
        let behind = key.get(open.saturating_add(1)..)?;
        let length = behind.iter().position(|&byte| byte == b'}')?;
        behind.get(..length).filter(|tag| !tag.is_empty())
    };
    tag().unwrap_or(key)
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| {
        let at = usize::from((crc >> 8) ^ u16::from(byte)) & 0xff;
        (crc << 8) ^ TABLE.get(at).copied().unwrap_or(0)
    })
}

/// What each byte contributes, for the polynomial x^16 + x^12 + x^5 + 1.
const TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0_u16;
    while byte < 256 {
        let mut crc = byte << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which would refuse an index outside")]
        let to = &mut table[byte as usize];
        *to = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_cluster_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(crc16(b""), 0);
    }

    #[test]
    fn slots_of_the_documentation() {
        let table: &[(&[u8], u16)] = &[
            (b"", 0),
            (b"foo", 12182),
            (b"bar", 5061),
            (b"hello", 866),
            (b"somekey", 11058),
            (b"foo{hash_tag}", 2515),
            (b"bar{hash_tag}", 2515),
            (b"hash_tag", 2515),
            (b"foo{bar}{zap}", 5061),
            (b"{bar", 4015),
            (b"foo{{bar}}zap", 4015),
            (b"foo{}{bar}", 8363),
        ];
        for &(key, expected) in table {
            assert_eq!(slot(key), expected, "{}", key.escape_ascii());
        }
        assert_eq!(slot(b"}{"), crc16(b"}{") % SLOTS);
    }
}
