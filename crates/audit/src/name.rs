//! Names of sessions: UUIDs of version 5, by the standards' own words (RFC 9562, FIPS 180-4).

/// The namespace 5b0c3a52-8d0e-5c7e-9b43-0f2f6a1d7e64.
const NAMESPACE: u128 = 0x5b0c_3a52_8d0e_5c7e_9b43_0f2f_6a1d_7e64;

/// Returns the id of the session whose first accepted segment is this file, ending at `end`.
pub fn session_id(stream: &str, file: &str, end: i64) -> String {
    let name = [&NAMESPACE.to_be_bytes()[..], format!("{stream}\0{file}\0{end}").as_bytes()].concat();
    let digest = sha1(&name);
    let [a, b, c, d, _] = digest.map(u128::from);
    let raw = (a << 96) | (b << 64) | (c << 32) | d;
    let versioned = raw & !(0xf << 76) | (5 << 76);
    let uuid = versioned & !(0b11 << 62) | (0b10 << 62);
    let hex = format!("{uuid:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

fn sha1(message: &[u8]) -> [u32; 5] {
    let mut padded = message.to_vec();
    padded.push(0x80);
    padded.resize(padded.len().next_multiple_of(64), 0);
    if padded.len() - message.len() < 9 {
        padded.resize(padded.len() + 64, 0);
    }
    let length_at = padded.len() - 8;
    padded[length_at..].copy_from_slice(&(message.len() as u64 * 8).to_be_bytes());

    let mut hash = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    for block in padded.chunks_exact(64) {
        let mut schedule = [0_u32; 80];
        for (word, bytes) in schedule.iter_mut().zip(block.chunks_exact(4)) {
            *word = bytes.iter().fold(0, |word, byte| (word << 8) | u32::from(*byte));
        }
        for t in 16..80 {
            schedule[t] = (schedule[t - 3] ^ schedule[t - 8] ^ schedule[t - 14] ^ schedule[t - 16]).rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = hash;
        for (t, word) in schedule.into_iter().enumerate() {
            let (mixed, constant) = match t / 20 {
                0 => (d ^ (b & (c ^ d)), 0x5a82_7999),
                1 => (b ^ c ^ d, 0x6ed9_eba1),
                2 => ((b & c) | (d & (b | c)), 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6_u32),
            };
            let sum = [a.rotate_left(5), mixed, e, constant, word].into_iter().fold(0, u32::wrapping_add);
            (a, b, c, d, e) = (sum, a, b.rotate_left(30), c, d);
        }
        for (total, part) in hash.iter_mut().zip([a, b, c, d, e]) {
            *total = total.wrapping_add(part);
        }
    }
    hash
}
