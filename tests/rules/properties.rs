//! The rules of `docs/rules.md`, over random worlds, against an oracle that shares no code.
//!
//! Each test plays `WORLDS` worlds (2,000 unless told otherwise, so 16,000 for all of them), each from a seed of its own. A failure prints the command
//! that plays its world alone; `WORLDS=1000000` makes a long night of it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use crate::oracle::adapter::{policy, record, segment, timestamp};
use crate::oracle::model::{HintKind, Model, Placement};
use crate::oracle::worker::{Slices, Worker};
use crate::oracle::world::{EPOCH, Input, Plan, Random, World, world};
use crate::oracle::{Record, Rules, Seg, group_all};
use livesession_grouping as grouping;
use livesession_grouping::{Arrival, Grouper};

/// Checks `property` in many worlds, or in the one that `SIM_SEED` names.
///
/// A world in which it fails is made smaller, an input at a time, for as long as it still fails; the random decisions of
/// `property` stay the same. Then it fails once more, for people.
fn for_all(test: &str, plan: impl Fn(&mut Random) -> Plan, property: impl Fn(&World, &mut Random)) {
    quiet_panics();
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().unwrap_or_else(|error| panic!("{name}={text}: {error}")))
    };
    let seeds = match number("SIM_SEED") {
        Some(seed) => seed..=seed,
        None => 1..=number("WORLDS").unwrap_or(2_000),
    };
    for seed in seeds {
        let mut random = Random::new(seed);
        let plan = plan(&mut random);
        let mut world = world(&mut random, plan);
        let holds = |world: &World| {
            QUIET.set(true);
            let result = catch_unwind(AssertUnwindSafe(|| property(world, &mut random.clone())));
            QUIET.set(false);
            result.is_ok()
        };
        if holds(&world) {
            continue;
        }
        let mut index = 0;
        while index < world.inputs.len() {
            let mut smaller = world.clone();
            smaller.inputs.remove(index);
            if holds(&smaller) {
                index += 1;
            } else {
                world = smaller;
                index = 0;
            }
        }
        eprintln!("to repeat: SIM_SEED={seed} cargo test --test rules {test}\nthe world, made smaller:\n{world:?}");
        property(&world, &mut random.clone());
        unreachable!("it failed before");
    }
}

thread_local! {
    /// Whether panics of this thread are expected.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Keeps expected panics from being printed.
fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = take_hook();
        set_hook(Box::new(move |info| {
            if !QUIET.get() {
                print(info);
            }
        }));
    });
}

const ALL: Slices = Slices::All { most: usize::MAX };

/// What the replay can tell exactly: every hint in its place.
fn any_plan(random: &mut Random) -> Plan {
    Plan { limits: random.chance(40), hints: random.chance(50), idle: random.chance(60), ..Plan::default() }
}

fn anything(random: &mut Random) -> Plan {
    let plan = any_plan(random);
    Plan { wild_hints: plan.hints && random.chance(70), ..plan }
}

fn any_hints_no_limits(random: &mut Random) -> Plan {
    Plan { limits: false, ..anything(random) }
}

/// Punctuation depends on what is due, so it depends on transactions.
fn without_idle(random: &mut Random) -> Plan {
    Plan { idle: false, ..anything(random) }
}

fn limited(random: &mut Random) -> Plan {
    Plan { limits: true, ..anything(random) }
}

fn on_time(random: &mut Random) -> Plan {
    Plan { on_time: true, idle: random.chance(50), ..Plan::default() }
}

fn wild_hints_without_idle(random: &mut Random) -> Plan {
    Plan { wild_hints: true, limits: random.chance(30), ..Plan::default() }
}

fn any_slices(random: &mut Random) -> Slices {
    let most = random.range(1, 3) as usize;
    match random.range(0, 2) {
        0 => ALL,
        1 => Slices::All { most },
        _ => Slices::Some { most, times: random.range(1, 2) as usize },
    }
}

/// Cuts the inputs into transactions. Punctuation has one of its own, since it happens when there is nothing to read.
fn batches<'a>(random: &mut Random, inputs: &'a [Input]) -> Vec<&'a [Input]> {
    let is_idle = |input: &Input| matches!(input, Input::Idle { .. });
    let parts = inputs.chunk_by(|a, b| !is_idle(a) && !is_idle(b));
    parts.flat_map(|part| part.chunks(random.range(1, 5) as usize)).collect()
}

/// The end of every world: so late that everything closes and is forgotten.
fn far() -> Input {
    Input::Idle { now: EPOCH + 1_000_000_000 }
}

/// A program for a world, in which no clock is too far ahead.
fn worker(world: &World) -> Worker {
    Worker::new(&world.rules, 1_000_000_000)
}

fn with_end(world: &World) -> Vec<Input> {
    let mut inputs = world.inputs.clone();
    inputs.push(far());
    inputs
}

fn replay(model: &mut Model, input: &Input) -> Option<Placement> {
    match input {
        Input::Segment { seg, written } => return Some(model.accept(seg, *written)),
        Input::Hint { stream, kind, push, at, written, .. } => {
            model.hint(stream, *kind, push.as_deref(), *at, *written);
        }
        Input::Idle { now } => {
            model.punctuate(*now);
        }
    }
    None
}

fn segments(inputs: &[Input]) -> impl Iterator<Item = &Seg> {
    inputs.iter().filter_map(|input| match input {
        Input::Segment { seg, .. } => Some(seg),
        _ => None,
    })
}

fn accepted(world: &World, placements: &[Placement]) -> Vec<Seg> {
    let placed = segments(&world.inputs).zip(placements);
    placed.filter(|(_, placement)| **placement == Placement::Accepted).map(|(seg, _)| seg.clone()).collect()
}

fn sorted(mut records: Vec<Record>) -> Vec<Record> {
    records.sort();
    records
}

/// What a batch job finds, and what the reader of the output ends with.
fn assert_batch_job_agrees(world: &World, run: &Worker) {
    let accepted = accepted(world, &run.placements);
    let expected = group_all(&accepted, &world.rules);
    let expected = sorted(expected.iter().map(|session| Record::of(session).content()).collect());
    let actual = sorted(run.reader.live().map(Record::content).collect());
    assert_eq!(actual, expected, "{world:?}");
}

// rule: amend
#[test]
fn every_transaction_publishes_what_the_rules_say() {
    for_all("every_transaction_publishes_what_the_rules_say", any_plan, |world, random| {
        let inputs = with_end(world);
        let mut run = worker(world);
        let mut model = Model::new(world.rules.clone());
        let one_by_one = random.chance(60);
        let parts = if one_by_one { inputs.chunks(1).collect() } else { batches(random, &inputs) };
        for part in parts {
            let placements: Vec<Placement> = part.iter().filter_map(|input| replay(&mut model, input)).collect();
            let expected = sorted(model.publish_due());
            let from = run.placements.len();
            let actual = sorted(run.transaction(part, ALL).published);
            assert_eq!(run.placements[from..], placements, "{part:?} in {world:?}");
            assert_eq!(actual, expected, "{part:?} in {world:?}");
            let watermark = run.watermark();
            assert_eq!(watermark, model.watermark, "{part:?} in {world:?}");
        }
        assert!(model.is_empty());
    });
}

// rule: acceptance
#[test]
fn newest_revisions_are_what_a_batch_job_finds() {
    for_all("newest_revisions_are_what_a_batch_job_finds", any_hints_no_limits, |world, random| {
        let mut run = worker(world);
        for part in batches(random, &world.inputs) {
            let slices = any_slices(random);
            if random.chance(30) {
                run.aborted(part, slices, random.chance(50));
            }
            run.transaction(part, slices);
            if random.chance(30) {
                run.restart();
            }
        }
        let most = random.range(1, 4) as usize;
        run.transaction(&[far()], Slices::All { most });
        assert_batch_job_agrees(world, &run);
        assert!(run.placements.len() == segments(&world.inputs).count(), "every segment has a placement");
    });
}

// rules: acceptance, forget
#[test]
fn acceptance_does_not_depend_on_transactions() {
    for_all("acceptance_does_not_depend_on_transactions", without_idle, |world, random| {
        let mut model = Model::new(world.rules.clone());
        let mut expected = Vec::new();
        for input in &world.inputs {
            expected.extend(replay(&mut model, input));
            model.publish_due();
        }
        let mut run = worker(world);
        for part in batches(random, &world.inputs) {
            run.transaction(part, any_slices(random));
            if random.chance(20) {
                run.restart();
            }
        }
        assert_eq!(run.placements, expected, "{world:?}");
    });
}

/// The sessions that are linked by `continues`.
fn chains(run: &Worker) -> Vec<Vec<Seg>> {
    let live: BTreeMap<&str, &Record> = run.reader.live().map(|record| (record.id.as_str(), record)).collect();
    let first = |record: &Record| {
        let mut at = record.id.clone();
        while let Some(before) = live.get(at.as_str()).and_then(|record| record.continues.clone()) {
            at = before;
        }
        at
    };
    let mut chains: BTreeMap<String, Vec<Seg>> = BTreeMap::new();
    for record in live.values() {
        chains.entry(first(record)).or_default().extend(record.files.iter().cloned());
    }
    let mut chains: Vec<Vec<Seg>> = chains.into_values().collect();
    chains.iter_mut().for_each(|chain| chain.sort());
    chains.sort();
    chains
}

// rule: limits
#[test]
fn limits_cut_sessions_into_chains_that_lie_within_one_session_of_the_batch_job() {
    for_all(
        "limits_cut_sessions_into_chains_that_lie_within_one_session_of_the_batch_job",
        limited,
        |world, random| {
            let mut run = worker(world);
            for part in batches(random, &world.inputs) {
                run.transaction(part, any_slices(random));
                if random.chance(40) {
                    run.restart();
                }
            }
            run.transaction(&[far()], ALL);
            let whole = group_all(&accepted(world, &run.placements), &world.rules);
            for chain in chains(&run) {
                let within = whole.iter().any(|session| chain.iter().all(|seg| session.contains(seg)));
                assert!(within, "{chain:#?} is more than one session of a batch job in {world:?}");
            }
            for record in run.reader.live() {
                let rules = &world.rules;
                let bytes: u64 = record.files.iter().map(Seg::bytes).sum();
                let fits = record.end - record.start <= rules.max_session_duration
                    && record.files.len() <= rules.max_session_segments
                    && bytes <= rules.max_session_bytes;
                assert!(fits || record.files.len() == 1, "{record:#?} exceeds a limit of {rules:?}");
                let alone = group_all(&record.files, rules);
                assert_eq!(alone.len(), 1, "{record:#?} is not one session");
            }
            let total: usize = run.reader.live().map(|record| record.files.len()).sum();
            assert_eq!(total, whole.concat().len(), "every accepted segment is in a session");
        },
    );
}

/// Plays the same transactions straight, with rollbacks, and with a restore after each.
#[test]
fn rollback_and_restore_at_any_step_publish_the_same() {
    for_all("rollback_and_restore_at_any_step_publish_the_same", anything, |world, random| {
        let inputs = with_end(world);
        let parts: Vec<(&[Input], Slices)> =
            batches(random, &inputs).into_iter().map(|part| (part, any_slices(random))).collect();
        let [mut straight, mut aborting, mut restarting] = [(); 3].map(|()| worker(world));
        for (step, (part, slices)) in parts.iter().enumerate() {
            straight.transaction(part, *slices);
            let once_more = random.range(0, part.len() as i64) as usize;
            let published = sorted(straight.transactions[step].clone());
            // Some are given up before anything is published.
            let given_up = if random.chance(30) { Slices::Some { most: 0, times: 0 } } else { any_slices(random) };
            aborting.aborted(&part[..once_more], given_up, random.chance(50));
            aborting.transaction(part, *slices);
            assert_eq!(sorted(aborting.transactions[step].clone()), published, "aborted before {part:#?} in {world:?}");
            restarting.transaction(part, *slices);
            assert_eq!(
                sorted(restarting.transactions[step].clone()),
                published,
                "restored before {part:#?} in {world:?}"
            );
            restarting.restart();
        }
        assert_eq!(aborting.placements, straight.placements);
        assert_eq!(restarting.placements, straight.placements);
    });
}

// rule: close
#[test]
fn sessions_that_arrive_on_time_are_published_once() {
    for_all("sessions_that_arrive_on_time_are_published_once", on_time, |world, _| {
        let mut run = worker(world);
        for input in &world.inputs {
            run.transaction(std::slice::from_ref(input), ALL);
        }
        run.transaction(&[far()], ALL);
        assert_batch_job_agrees(world, &run);
        for record in run.transactions.iter().flatten() {
            assert!(record.revision == 1 && !record.withdrawn, "{record:#?} in {world:?}");
        }
        assert!(!run.placements.contains(&Placement::Late), "{world:?}");
    });
}

/// Other settings that what is remembered allows: nothing becomes acceptable again, and no gap changes.
fn other_rules(random: &mut Random, rules: &Rules) -> Rules {
    let max_segment = random.range(0, rules.max_segment);
    let allowed_lateness = random.range(0, rules.allowed_lateness);
    Rules {
        max_segment,
        recording_interval: random.range(0, max_segment),
        allowed_lateness,
        notification_delay: random.range(0, allowed_lateness),
        max_hold: random.range(0, max_segment + allowed_lateness),
        ..rules.clone()
    }
}

#[test]
fn settings_can_change_at_a_restart() {
    for_all("settings_can_change_at_a_restart", any_hints_no_limits, |world, random| {
        let mut run = worker(world);
        let mut rules = world.rules.clone();
        for part in batches(random, &world.inputs) {
            run.transaction(part, any_slices(random));
            if random.chance(20) {
                rules = other_rules(random, &rules);
                run.restart_with(&rules);
            }
        }
        run.transaction(&[far()], ALL);
        assert_batch_job_agrees(world, &run);
    });
}

/// `group` reads a file as a set: of two segments with one file id the first stands, and nothing is late.
// rule: merge
#[test]
fn sets_are_grouped_in_any_order() {
    for_all("sets_are_grouped_in_any_order", any_hints_no_limits, |world, random| {
        let mut set: Vec<Seg> = Vec::new();
        for seg in segments(&world.inputs) {
            if !set.iter().any(|known| (&known.stream, &known.file) == (&seg.stream, &seg.file)) {
                set.push(seg.clone());
            }
        }
        for index in (1..set.len()).rev() {
            set.swap(index, random.range(0, index as i64) as usize);
        }
        let mut grouper = Grouper::for_set(policy(&world.rules));
        for (offset, seg) in set.iter_mut().enumerate() {
            seg.offset = offset as i64;
            let arrival = Arrival { stream: &seg.stream, offset: seg.offset, timestamp: None, now: timestamp(EPOCH) };
            assert_eq!(grouper.accept(arrival, &segment(seg)), grouping::Outcome::Accepted, "{set:?}");
        }
        let expected = group_all(&set, &world.rules).iter().map(|session| Record::of(session).content()).collect();
        let actual = grouper.close_all().iter().map(|session| record(session).content()).collect();
        assert_eq!(sorted(actual), sorted(expected), "{set:?}");
    });
}

// rule: hints
#[test]
fn hints_never_change_the_grouping() {
    for_all("hints_never_change_the_grouping", wild_hints_without_idle, |world, _| {
        let [mut with, mut without] = [(); 2].map(|()| worker(world));
        for input in &world.inputs {
            with.transaction(std::slice::from_ref(input), ALL);
            // The same times, which move the watermark, and nothing said about pushes.
            let mut silent = input.clone();
            if let Input::Hint { kind, .. } = &mut silent {
                *kind = HintKind::RecordEnded;
            }
            without.transaction(&[silent], ALL);
        }
        with.transaction(&[far()], ALL);
        without.transaction(&[far()], ALL);
        assert_eq!(with.placements, without.placements, "{world:?}");
        let contents = |run: &Worker| sorted(run.reader.live().map(Record::content).collect());
        assert_eq!(contents(&with), contents(&without), "{world:?}");
    });
}

// rule: forget
#[test]
fn memory_and_changelog_are_empty_once_everything_is_forgotten() {
    for_all("memory_and_changelog_are_empty_once_everything_is_forgotten", anything, |world, random| {
        let mut run = worker(world);
        for part in batches(random, &world.inputs) {
            run.transaction(part, any_slices(random));
        }
        // A last segment, because the silence of a stream with hints alone is no reason to punctuate.
        let now = EPOCH + 500_000_000;
        let file = "last".to_owned();
        let seg =
            Seg { start: now, end: now, file, offset: 1 << 40, stream: "//z".to_owned(), format: None, url: None };
        let written = crate::oracle::model::Written { timestamp: Some(now), now };
        run.transaction(&[Input::Segment { seg, written }], ALL);
        if random.chance(50) {
            run.restart();
        }
        run.transaction(&[far()], ALL);
        assert_eq!(run.partition.grouper().segments(), 0);
        assert_eq!(run.partition.grouper().sessions(), 0);
        assert_eq!(run.partition.grouper().streams(), 0);
        assert_eq!(run.keys(), ["m"]);
    });
}
