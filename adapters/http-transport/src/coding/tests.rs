//! The codings on good, broken, cut and huge bodies. The encoders are those of the same crate, so the formats are also
//! pinned by bytes that other programs wrote.

use compression_codecs::{BrotliEncoder, EncodeV2, GzipEncoder, ZlibEncoder, ZstdEncoder};

use compression_codecs::brotli::params::EncoderParams;
use compression_codecs::core::Level;

use super::*;

fn encoder(coding: Coding) -> Box<dyn EncodeV2> {
    match coding {
        Coding::Gzip => Box::new(GzipEncoder::new(Level::Fastest.into())),
        Coding::Deflate => Box::new(ZlibEncoder::new(Level::Fastest.into())),
        Coding::Brotli => Box::new(BrotliEncoder::new(EncoderParams::default().quality(Level::Fastest))),
        Coding::Zstd => Box::new(ZstdEncoder::new(3)),
    }
}

fn encode(coding: Coding, text: &[u8]) -> Vec<u8> {
    let mut encoder = encoder(coding);
    let (mut from, mut encoded) = (PartialBuffer::new(text), Vec::new());
    let mut piece = vec![0; 64 * 1024];
    loop {
        let mut to = WriteBuffer::new_initialized(&mut piece);
        let is_over = from.unwritten().is_empty();
        let ended =
            if is_over { encoder.finish(&mut to).unwrap() } else { encoder.encode(&mut from, &mut to).is_err() };
        encoded.extend_from_slice(to.written());
        if ended {
            return encoded;
        }
    }
}

/// Decodes input that comes in pieces of `size` bytes.
fn decode(coding: Coding, encoded: &[u8], size: usize) -> Result<Vec<u8>, CodingError> {
    let (mut decoder, mut decoded) = (Decoder::new(coding), Vec::new());
    for piece in encoded.chunks(size) {
        let mut piece = Bytes::copy_from_slice(piece);
        while let Some(data) = decoder.decode(&mut piece)? {
            assert!(!data.is_empty() && data.len() <= PIECE);
            decoded.extend_from_slice(&data);
        }
        assert!(piece.is_empty());
    }
    decoder.end().map(|()| decoded)
}

/// Text that compresses, and random bytes, of many sizes around that of a piece.
fn bodies() -> Vec<Vec<u8>> {
    let mut rng = fastrand::Rng::with_seed(13);
    let mut bodies = Vec::new();
    for size in [0, 1, 100, PIECE - 1, PIECE, PIECE + 1, 5 * PIECE, 300_000] {
        bodies.push(b"hedge ".iter().copied().cycle().take(size).collect());
        bodies.push((0..size).map(|_| rng.u8(..)).collect());
    }
    bodies
}

#[test]
fn w4_what_was_encoded_is_decoded_in_pieces_of_any_size() {
    for coding in Coding::ALL {
        for body in bodies() {
            let encoded = encode(*coding, &body);
            for size in [1_000_000, 4096, 7] {
                assert_eq!(
                    decode(*coding, &encoded, size).unwrap(),
                    body,
                    "{coding:?}, {} bytes by {size}",
                    body.len()
                );
            }
        }
        let encoded = encode(*coding, b"a small page");
        assert_eq!(decode(*coding, &encoded, 1).unwrap(), b"a small page");
    }
}

#[test]
fn w4_a_body_that_is_cut_ends_early() {
    for coding in Coding::ALL {
        let encoded = encode(*coding, &bodies()[7]);
        for kept in [1, 5, encoded.len() / 2, encoded.len() - 1] {
            let error = decode(*coding, &encoded[..kept], 1_000).unwrap_err();
            assert_eq!(error.to_string(), format!("body ends in the middle of its {} data", coding.name()), "{kept}");
        }
        assert_eq!(decode(*coding, b"", 1).unwrap(), b"", "an answer to HEAD has no body");
    }
}

#[test]
fn w4_what_is_not_encoded_is_an_error() {
    for coding in Coding::ALL {
        let error = decode(*coding, b"\xff<html>not encoded at all, but long enough</html>", 1_000).unwrap_err();
        assert_eq!(error.coding(), coding.name());
        assert!(error.to_string().starts_with("body "), "{error}");
    }
    // The sum of a gzip member is checked.
    let mut wrong = encode(Coding::Gzip, b"a small page");
    let at = wrong.len() - 8;
    wrong[at] ^= 1;
    assert!(decode(Coding::Gzip, &wrong, 100).unwrap_err().to_string().starts_with("body is not valid gzip: "));
}

#[test]
fn w4_members_follow_one_another_only_where_the_format_has_them() {
    for coding in Coding::ALL {
        let twice = [encode(*coding, b"one "), encode(*coding, b"two")].concat();
        match decode(*coding, &twice, 1_000) {
            Ok(body) => assert_eq!((coding.has_members(), &body[..]), (true, &b"one two"[..])),
            Err(error) => {
                assert!(!coding.has_members());
                assert_eq!(error.to_string(), format!("body goes on after its {} data", coding.name()));
            }
        }
    }
}

#[test]
fn w4_deflate_is_read_with_and_without_the_frame_of_zlib() {
    let zlib = encode(Coding::Deflate, b"a small page");
    let raw = &zlib[2..zlib.len() - 4];
    for size in [1, 100] {
        assert_eq!(decode(Coding::Deflate, raw, size).unwrap(), b"a small page");
    }
}

/// A bomb: 16 MiB of zeros. The decoder gives it out in small pieces, so its reader can stop at any limit.
#[test]
fn w4_a_bomb_comes_in_small_pieces() {
    for coding in Coding::ALL {
        let mut bomb = Bytes::from(encode(*coding, &vec![0; 16 << 20]));
        let size = bomb.len();
        let (mut decoder, mut decoded) = (Decoder::new(*coding), 0);
        while let Some(piece) = decoder.decode(&mut bomb).unwrap() {
            decoded += piece.len();
            if decoded > 1 << 20 {
                break;
            }
        }
        assert!(decoded <= (1 << 20) + PIECE && size < 1 << 20, "{coding:?}: {decoded} of {size} bytes");
    }
}

#[test]
fn w4_a_window_of_zstd_beyond_that_of_http_is_refused() {
    // Magic number, a frame header that announces a window of 1 GiB, and an empty last block.
    let announces = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa0, 0x01, 0x00, 0x00];
    assert!(decode(Coding::Zstd, &announces, 100).unwrap_err().to_string().starts_with("body is not valid zstd: "));
}

/// Bytes that gzip(1) wrote.
#[test]
fn w4_gzip_of_another_program_is_read() {
    let gzip = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xcb\x48\xcd\xc9\xc9\x57\x28\xcf\x2f\xca\x49\x01\x00\x85\x11\x4a\x0d\x0b\x00\x00\x00";
    assert_eq!(decode(Coding::Gzip, gzip, 3).unwrap(), b"hello world");
}

#[test]
fn w4_codings_are_asked_for_and_recognised() {
    let mut headers = HeaderMap::new();
    ask(&mut headers);
    assert_eq!(headers[ACCEPT_ENCODING], "zstd, br, gzip, deflate");
    for own in ["accept-encoding", "range"] {
        let mut headers = HeaderMap::new();
        headers.insert(own, HeaderValue::from_static("identity"));
        ask(&mut headers);
        assert_eq!(headers.len(), 1, "the program's own {own} stays");
        assert!(headers.values().all(|value| value == "identity"));
    }
    for (values, expected) in [
        (&["gzip"][..], Some(Coding::Gzip)),
        (&["X-GZIP"], Some(Coding::Gzip)),
        (&[" br "], Some(Coding::Brotli)),
        (&["gzip, br"], None),
        (&["gzip", "br"], None),
        (&["identity"], None),
        (&[], None),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, 5.into());
        for value in values {
            headers.append(CONTENT_ENCODING, HeaderValue::from_static(value));
        }
        assert_eq!(take_coding(&mut headers), expected, "{values:?}");
        assert_eq!(headers.contains_key(CONTENT_LENGTH), expected.is_none());
        assert_eq!(headers.contains_key(CONTENT_ENCODING), expected.is_none() && !values.is_empty());
    }
}
