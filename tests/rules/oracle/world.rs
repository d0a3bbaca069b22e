//! Random worlds: rules and a sequence of input, small enough that every bound is met often.
//!
//! Durations are a few milliseconds and starts lie on a narrow strip, so equality at a bound is the rule and not the
//! exception. The generator knows the rules' durations and aims at them; it knows nothing about the program.

use std::fmt;

use super::model::{HintKind, Written};
use super::{Rules, Seg};

/// Where the worlds' time begins: after 2000, so that a decoder takes it for a time.
pub const EPOCH: i64 = 1_772_323_200_000;

/// SplitMix64: one word of state, any seed is as good as another.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `low..=high`.
    pub fn range(&mut self, low: i64, high: i64) -> i64 {
        low + (self.next() % (high - low + 1).max(1) as u64) as i64
    }

    /// True `percent` times of a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[(self.next() % from.len() as u64) as usize]
    }
}

#[derive(Clone)]
pub enum Input {
    Segment { seg: Seg, written: Written },
    Hint { stream: String, kind: HintKind, push: Option<String>, at: i64, offset: i64, written: Written },
    Idle { now: i64 },
}

#[derive(Clone)]
pub struct World {
    pub rules: Rules,
    pub inputs: Vec<Input>,
}

/// One line each, in milliseconds of the world: close to a scenario.
impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |written: &Written| match written.timestamp {
            Some(timestamp) => format!("@{}/{}", timestamp - EPOCH, written.now - EPOCH),
            None => format!("@-/{}", written.now - EPOCH),
        };
        match self {
            Input::Segment { seg, written } => write!(f, "{seg:?} {}", at(written)),
            Input::Hint { stream, kind, push, at: time, offset, written } => {
                write!(f, "{offset}: {stream} {kind:?} {} {push:?} {}", time - EPOCH, at(written))
            }
            Input::Idle { now } => write!(f, "idle {}", now - EPOCH),
        }
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}", self.rules)?;
        self.inputs.iter().try_for_each(|input| writeln!(f, "{input:?}"))
    }
}

/// What a world may contain.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plan {
    /// Limits that are reached.
    pub limits: bool,
    /// Push hints that name their push and come start before end.
    pub hints: bool,
    /// Hints lost, late, twice, out of order, without a name, wrong.
    pub wild_hints: bool,
    pub idle: bool,
    /// Every notification within `notification_delay` of its segment's end, every segment within `recording_interval`.
    pub on_time: bool,
}

pub const STREAMS: [&str; 3] = ["//a", "//b", "//c"];

fn rules(random: &mut Random, plan: Plan) -> Rules {
    // Half of the worlds close early and amend for long: those bridge what has been published.
    let (hasty, longest) = if !plan.on_time && random.chance(50) { (4, 90) } else { (1, 40) };
    let gap = random.range(0, 5);
    let recording_interval = random.range(0, 12 / hasty);
    let max_segment = recording_interval + random.range(0, 12);
    let notification_delay = random.range(0, 8 / hasty);
    let allowed_lateness = notification_delay + random.range(0, longest);
    let long = 1_000_000;
    let limited = |random: &mut Random| plan.limits && random.chance(50);
    Rules {
        gap,
        overrides: if random.chance(30) { vec![("//b".to_owned(), random.range(0, 9))] } else { Vec::new() },
        recording_interval,
        max_segment,
        notification_delay,
        allowed_lateness,
        // A push that held a session for longer than it is remembered otherwise would decide what is a duplicate.
        max_hold: random.range(0, 90).min(max_segment + allowed_lateness),
        max_session_duration: if limited(random) { max_segment + random.range(0, 25) } else { long },
        max_session_segments: if limited(random) { random.range(1, 5) as usize } else { 2_000 },
        max_session_bytes: if limited(random) { random.range(1, 120) as u64 } else { 1 << 20 },
    }
}

/// Makes a world: shows and stray segments, each arriving at a moment of its own, read in the order of arrival.
pub fn world(random: &mut Random, plan: Plan) -> World {
    let rules = rules(random, plan);
    let mut arriving: Vec<(i64, Input)> = Vec::new();
    let span = *random.pick(&[40, 40, 120, 400]);
    let streams = random.range(1, 3) as usize;
    let wanted = random.range(1, 24);
    let mut number = 0;
    while (arriving.len() as i64) < wanted {
        let stream = STREAMS[random.range(0, streams as i64 - 1) as usize];
        let mut at = EPOCH + random.range(0, span);
        let (begin, push) = (at, format!("p{number}"));
        for _ in 0..random.range(1, 5) {
            let longest = if plan.on_time { rules.recording_interval } else { rules.max_segment };
            let length = if random.chance(20) { longest } else { random.range(0, longest) };
            // A small pool of names, so that they come again: at once as duplicates or conflicts, later as new files.
            number += 1;
            let file = if plan.on_time || random.chance(70) {
                format!("f{number}")
            } else {
                format!("g{}", random.range(0, 5))
            };
            let seg = Seg {
                start: at,
                end: at + length,
                file,
                offset: 0,
                stream: stream.to_owned(),
                format: *random.pick(&[None, Some("flv"), Some("mp4")]),
                url: random.chance(40).then(|| "u".repeat(random.range(1, 30) as usize)),
            };
            for _ in 0..if random.chance(15) { 2 } else { 1 } {
                let arrival = seg.end + delay(random, &rules, plan);
                let mut copy = seg.clone();
                if !plan.on_time && random.chance(5) {
                    copy.end += random.range(0, (copy.start + rules.max_segment - copy.end).max(0));
                }
                arriving.push((arrival, Input::Segment { written: written(random, arrival, plan), seg: copy }));
            }
            let gap = rules.gap(stream);
            let step = *random.pick(&[gap, gap + 1, gap - 1, 0, -3, 2 * gap + 1, rules.recording_interval]);
            at = (seg.end + step).max(EPOCH);
        }
        if plan.hints || plan.wild_hints {
            hints(random, plan, stream, &push, (begin, at), &rules, &mut arriving);
        }
    }
    if plan.idle {
        for _ in 0..random.range(0, 6) {
            let now = EPOCH + random.range(0, span * 2);
            arriving.push((now, Input::Idle { now }));
        }
    }
    // Stable, so that records of one moment keep the order in which they were made.
    arriving.sort_by_key(|(arrival, _)| *arrival);
    let mut inputs: Vec<Input> = arriving.into_iter().map(|(_, input)| input).collect();
    number_offsets(random, &mut inputs);
    World { rules, inputs }
}

fn number_offsets(random: &mut Random, inputs: &mut [Input]) {
    let mut next = random.range(0, 1_000);
    for input in inputs {
        if let Input::Segment { seg: Seg { offset, .. }, .. } | Input::Hint { offset, .. } = input {
            *offset = next;
            // Other events and transaction markers leave holes.
            next += if random.chance(80) { 1 } else { random.range(1, 5) };
        }
    }
}

/// How long after its end a segment is announced.
fn delay(random: &mut Random, rules: &Rules, plan: Plan) -> i64 {
    if plan.on_time {
        return random.range(0, rules.notification_delay);
    }
    match random.range(0, 9) {
        0..=4 => random.range(0, rules.notification_delay),
        5..=7 => random.range(0, rules.allowed_lateness + 2),
        8 => rules.allowed_lateness + random.range(-1, 2),
        _ => random.range(0, 3 * rules.allowed_lateness + 60),
    }
}

fn written(random: &mut Random, arrival: i64, plan: Plan) -> Written {
    if plan.on_time {
        return Written { timestamp: Some(arrival), now: arrival };
    }
    match random.range(0, 9) {
        0 => Written { timestamp: None, now: arrival },
        1 => Written { timestamp: Some(arrival + random.range(1, 50)), now: arrival },
        2 => Written { timestamp: Some(arrival), now: arrival + random.range(0, 60) },
        _ => Written { timestamp: Some(arrival), now: arrival + random.range(0, 2) },
    }
}

fn hints(
    random: &mut Random,
    plan: Plan,
    stream: &str,
    push: &str,
    (begin, end): (i64, i64),
    rules: &Rules,
    arriving: &mut Vec<(i64, Input)>,
) {
    if random.chance(30) {
        return;
    }
    let mut add = |random: &mut Random, kind, push: Option<String>, at: i64, delay: i64| {
        let (at, arrival) = (at.max(EPOCH), at.max(EPOCH) + delay);
        let written = written(random, arrival, plan);
        arriving.push((arrival, Input::Hint { stream: stream.to_owned(), kind, push, at, offset: 0, written }));
    };
    if !plan.wild_hints {
        let lag = random.range(0, 3);
        add(random, HintKind::PushStarted, Some(push.to_owned()), begin, lag);
        if random.chance(80) {
            let until = (end + random.range(-5, 5)).max(begin);
            let delay = lag + random.range(0, 5);
            add(random, HintKind::PushEnded, Some(push.to_owned()), until, delay);
        }
        if random.chance(20) {
            let delay = random.range(0, 5);
            add(random, HintKind::RecordEnded, None, end, delay);
        }
        return;
    }
    for _ in 0..random.range(1, 4) {
        let kind = *random.pick(&[HintKind::PushStarted, HintKind::PushEnded, HintKind::RecordEnded]);
        let name = match random.range(0, 3) {
            0 => None,
            1 => Some("p".to_owned()),
            _ => Some(push.to_owned()),
        };
        let at = random.range(begin - 10, end + 10);
        let delay = delay(random, rules, plan) + random.range(0, 10);
        add(random, kind, name, at, delay);
    }
}
