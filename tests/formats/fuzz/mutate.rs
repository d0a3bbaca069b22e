//! Damage, the same on every machine: numbers from a seed, and what is done to bytes with them.

use std::fs;
use std::path::Path;

/// A small xorshift generator.
pub struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Returns the numbers of a run, and how many rounds it has: a `share`-th of `MUTATIONS`.
pub fn begin(target: &str, share: u64) -> (Random, u64) {
    let seed = from_environment("MUTATION_SEED", 0x9e37_79b9_7f4a_7c15);
    let mutations = from_environment("MUTATIONS", 60_000);
    println!("MUTATION_SEED={seed} MUTATIONS={mutations} cargo test --test formats fuzz::{target}");
    (Random(seed | 1), mutations / share)
}

/// Returns the corpus of a target: one input a file, in the order of their names.
pub fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(target);
    let mut paths: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Looks at every input of a corpus as it is, then at damaged ones, until all rounds are over.
///
/// `check` returns what is wrong. It runs twice on each input and has to say the same: `Err` is a broken promise, `Ok` is
/// whether the input was accepted. A run that accepts nothing, or everything, would prove nothing.
pub fn run(target: &str, share: u64, inputs: &[Vec<u8>], mut check: impl FnMut(&[u8]) -> Result<bool, String>) {
    let (mut random, rounds) = begin(target, share);
    let mut accepted = 0;
    let mut look = |input: &[u8], place: String| {
        let first = check(input);
        let is_accepted = match &first {
            Ok(is_accepted) => *is_accepted,
            Err(problem) => panic!("{target}, {place}: {problem}: {}", show(input)),
        };
        assert_eq!(check(input), first, "{target}, {place}: another answer the second time: {}", show(input));
        accepted += u64::from(is_accepted);
    };
    for (index, input) in inputs.iter().enumerate() {
        look(input, format!("input {index}"));
    }
    for round in 0..rounds {
        let mut input = random.pick(inputs).clone();
        for _ in 0..=random.below(3) {
            match random.below(8) {
                0 => splice(&mut random, &mut input, inputs),
                1 => replace_literal(&mut random, &mut input),
                2 => repeat(&mut random, &mut input),
                _ => damage(&mut random, &mut input),
            }
        }
        look(&input, format!("round {round}"));
    }
    println!("{target}: {accepted} accepted of {}", rounds + inputs.len() as u64);
    assert!(accepted * 100 > rounds && accepted < rounds, "{target}: {accepted} of {rounds} accepted");
}

fn show(input: &[u8]) -> String {
    let text = String::from_utf8_lossy(input);
    if text.len() > 2_000 {
        format!("{}… ({} bytes)", text.chars().take(500).collect::<String>(), input.len())
    } else {
        text.into_owned()
    }
}

/// One flipped bit, cut, repeated slice, overwritten or removed byte.
pub fn damage(random: &mut Random, value: &mut Vec<u8>) {
    if value.is_empty() {
        return;
    }
    let at = random.below(value.len());
    match random.below(5) {
        0 => value[at] ^= 1 << random.below(8),
        1 => value.truncate(at),
        2 => {
            let length = random.below(64).min(value.len() - at);
            let slice = value[at..at + length].to_vec();
            let target = random.below(value.len());
            value.splice(target..target, slice);
        }
        3 => value[at] = *random.pick(b"{}[]\",:\\0123456789eE.+- \t\x00\x7f\xc2\x85\xff=&%/"),
        _ => {
            value.remove(at);
        }
    }
}

/// The beginning of one input and the end of another.
fn splice(random: &mut Random, value: &mut Vec<u8>, inputs: &[Vec<u8>]) {
    let other = random.pick(inputs);
    let (keep, from) = (random.below(value.len()), random.below(other.len()));
    value.truncate(keep);
    value.extend_from_slice(&other[from..]);
}

/// Another literal in the place of a number, or of whatever stands between two marks.
fn replace_literal(random: &mut Random, value: &mut Vec<u8>) {
    const MARKS: &[u8] = b",:[]{}= \n&";
    let marks: Vec<usize> = (0..value.len()).filter(|at| MARKS.contains(&value[*at])).collect();
    if marks.len() < 2 {
        return;
    }
    let index = random.below(marks.len() - 1);
    let literal = random.pick(NASTY_LITERALS);
    value.splice(marks[index] + 1..marks[index + 1], literal.bytes());
}

/// One byte many times, for whoever recurses or counts.
fn repeat(random: &mut Random, value: &mut Vec<u8>) {
    const OFTEN: usize = 20_000;
    let at = random.below(value.len() + 1);
    let byte = *random.pick(b"[[[[{{{(\"\\,:09-= \n");
    let most = if random.below(20) == 0 { OFTEN } else { 40 };
    let times = 1 + random.below(most);
    value.splice(at..at, std::iter::repeat_n(byte, times));
}

/// Literals that have hurt readers of numbers and texts before.
pub const NASTY_LITERALS: &[&str] = &[
    "null",
    "true",
    "{}",
    "[]",
    "\"\"",
    "\" \"",
    "0",
    "-0",
    "-1",
    "0.0",
    "1e2",
    "1e999999999999999999999",
    "-1E-99999",
    "0e999999999",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e18",
    "1e19",
    "99999999999",
    "100000000000",
    "99999999999999",
    "100000000000000",
    "99999999999999999",
    "100000000000000000",
    "946684799",
    "946684800",
    "253402300799",
    "253402300800",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\"\\ud83d\\ude00\"",
    "\"\\u0085\"",
    "\"%2F/%\"",
    "\"\u{85}\"",
    "\"+5\"",
    "\"-\"",
    "100",
    "1",
    "332",
    "\"record_ended\"",
    "86400",
    "86401",
    "999999",
    "1000000",
    "1754037000.000",
    "17540370000e-1",
];
