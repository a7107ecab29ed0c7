//! Faults of answers in content codings. They need the feature `gzip` of hedge-net.

use hedge_net::Runtime;

use super::faults::{Case, documented};
use super::server::TestServer;

pub async fn w4_a_gzip_bomb_is_an_answer_over_its_limit<R: Runtime>(runtime: R) {
    let bomb = bomb(32 << 20);
    let there = TestServer::start(move |connection| {
        while connection.request().is_some() {
            let length = bomb.len();
            connection.send(&format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {length}\r\n\r\n"));
            connection.send_bytes(&bomb);
        }
    });
    documented(&runtime, [Case::new("a gzip bomb", there)]).await;
}

/// The start of so many bytes in gzip, as small as deflate can make them: one letter, and then 258 more of it each time.
fn bomb(bytes: usize) -> Vec<u8> {
    let mut packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let (mut bits, mut count) = (0_u64, 0);
    // The bits of a code come in reverse.
    let mut push = |code: u64, length: usize| {
        bits |= code << count;
        count += length;
        while count >= 8 {
            packed.push(bits.to_le_bytes()[0]);
            bits >>= 8;
            count -= 8;
        }
    };
    // The last block, with fixed codes; an `x`; the length 258 with the distance 1.
    push(0b011, 3);
    push(0b0001_0101, 8);
    for _ in 0..bytes / 258 {
        push(0b0_0000_1010_0011, 13);
    }
    packed
}
