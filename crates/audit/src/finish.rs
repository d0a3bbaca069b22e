//! The comparison of all with all: what a batch job makes of the accepted segments, and what is published.
//!
//! ```text
//! watermark:    … end + gap ──────────── + recording_interval + notification_delay ──── + max_segment + allowed_lateness ───▶
//! a session is          open: may be unpublished or lack its newest files │ closed: exactly so │ state may forget it
//! ```

use std::collections::{BTreeMap, BTreeSet};

use crate::audit::{Audit, Ends};
use crate::report::{Kind, Place, Report};
use crate::state::{Remembered, Session};
use crate::sweep::sweep;

/// Start, end and input offset of segments.
type Spans = Vec<(i64, i64, i64)>;

/// A session as a batch job finds it.
struct Group {
    partition: i32,
    stream: u32,
    /// Input offsets, lowest first.
    offsets: Vec<i64>,
    start: i64,
    end: i64,
    /// Whether it would exceed a limit, if it became one session.
    may_be_cut: bool,
}

impl Group {
    fn places(&self) -> impl Iterator<Item = Place> {
        self.offsets.iter().map(|offset| Place { partition: self.partition, offset: *offset })
    }
}

impl Audit {
    /// Compares everything but an index, which comes after.
    pub fn finish(&mut self, ends: &Ends) {
        self.finish_letters();
        self.finish_markers(ends);
        self.place_sessions();
        let groups = self.group();
        let (groups, unjudged): (Vec<Group>, Vec<Group>) = groups.into_iter().partition(|group| self.is_judged(group));
        let mut open = 0;
        for group in &groups {
            open += usize::from(self.finish_group(group));
        }
        self.finish_withdrawn();
        let remembered: Vec<Remembered> = groups.iter().flat_map(|group| self.remembered(group)).collect();
        self.finish_state(&remembered);
        let current = self.sessions.values().filter(|session| !session.withdrawn).count();
        for (outcome, count) in std::mem::take(&mut self.outcomes) {
            self.report.count(&format!("input records: {outcome}"), count);
        }
        self.report.count("revisions published", self.revisions);
        self.report.count("sessions published and not withdrawn", current);
        self.report.count("sessions withdrawn", self.sessions.len() - current);
        self.report.count("sessions cut at a limit", self.sessions.values().filter(|session| session.is_cut()).count());
        self.report.count("sessions that a batch job finds", groups.len());
        self.report.count("of these still open", open);
        self.report.count("not judged, since what was removed may have touched them", unjudged.len());
    }

    /// Checks that group and markers agree with the input.
    fn finish_markers(&mut self, ends: &Ends) {
        let (input, changelog) = (self.told.input.clone(), self.told.changelog.clone());
        let policies: BTreeSet<i32> = self.state.keys().copied().collect();
        for (partition, end) in &ends.input {
            let here = format!("{input}/{partition}");
            let own = self.partitions.entry(*partition).or_default();
            let committed = ends.committed.get(partition).copied();
            // A log that was written in transactions ends in markers, which are no records.
            if !(own.next..=*end).contains(&committed.unwrap_or(0)) {
                let what = format!("the group committed {committed:?}, should be {} to {end}", own.next);
                self.report.wrong(Kind::NotRead, &here, what);
            }
            let marker = self.state.get(partition).and_then(|state| state.marker.as_ref());
            let found = marker.map(|marker| marker.next_offset);
            if found != committed {
                let here = format!("{changelog}/{partition} key m");
                self.report.wrong(Kind::Marker, here, format!("next offset {found:?}, the group has {committed:?}"));
            }
            let Some(marker) = marker else { continue };
            let (reached, watermark) = (own.reached, marker.watermark);
            let is_exact = self.told.never_idle && !self.trimmed.input.contains_key(partition);
            let is_behind = watermark < reached || is_exact && watermark != reached;
            if is_behind {
                let here = format!("{changelog}/{partition} key m");
                self.report.wrong(Kind::Marker, here, format!("watermark {watermark:?}, records reached {reached:?}"));
            }
            if let Some(gap) = self.told.gap.filter(|gap| *gap != marker.policy.gap) {
                let here = format!("{changelog}/{partition} key m");
                self.report.wrong(Kind::Marker, here, format!("gap {} ms, should be {gap} ms", marker.policy.gap));
            }
        }
        for partition in policies.into_iter().filter(|partition| !ends.input.contains_key(partition)) {
            let here = format!("{changelog}/{partition}");
            self.report.wrong(Kind::StateUnknown, here, format!("{input} has no such partition"));
        }
    }

    /// Notes in which session each segment stands, which must be one.
    fn place_sessions(&mut self) {
        for (id, session) in self.sessions.iter().filter(|(_, session)| !session.withdrawn) {
            for offset in &session.members {
                let place = Place { partition: session.source_partition, offset: *offset };
                if let Some(other) = self.in_session.insert(place, id.clone()) {
                    let here = format!("{}/{place}", self.told.input);
                    self.report.wrong(Kind::Misplaced, here, format!("in session {other} and in session {id}"));
                }
            }
        }
        let mut lost: Vec<Place> =
            self.published.iter().filter(|place| !self.in_session.contains_key(place)).copied().collect();
        lost.sort_unstable();
        for place in lost {
            let here = format!("{}/{place}", self.told.input);
            self.report.wrong(Kind::Misplaced, here, "was in a session and now is in none");
        }
    }

    /// Runs the batch job over each stream.
    fn group(&self) -> Vec<Group> {
        let mut streams: BTreeMap<(i32, u32), Spans> = BTreeMap::new();
        for (place, segment) in &self.accepted {
            let own = streams.entry((place.partition, segment.stream)).or_default();
            own.push((segment.start, segment.end, place.offset));
        }
        let mut groups: Vec<Group> = Vec::new();
        for ((partition, stream), own) in streams {
            let gap = self.policy(partition).map_or(0, |policy| policy.gap_of(self.stream(stream)));
            groups.extend(sweep(own, gap, |(start, end, _)| (*start, *end)).into_iter().map(|spans| {
                let start = spans[0].0;
                let end = spans.iter().map(|(_, end, _)| *end).max().unwrap_or(start);
                let offsets = spans.into_iter().map(|(_, _, offset)| offset).collect();
                Group { partition, stream, offsets, start, end, may_be_cut: false }
            }));
        }
        for group in &mut groups {
            group.offsets.sort_unstable();
            group.may_be_cut = self.exceeds_a_limit(group);
        }
        groups
    }

    /// Whether no segment whose notification is removed can touch a group.
    fn is_judged(&self, group: &Group) -> bool {
        let gap = self.policy(group.partition).map_or(0, |policy| policy.gap_of(self.stream(group.stream)));
        self.horizon(group.partition).is_none_or(|horizon| group.start > horizon + gap)
    }

    /// Compares what a batch job finds with what is published. Returns whether the session may still be open.
    fn finish_group(&mut self, group: &Group) -> bool {
        let Some(policy) = self.policy(group.partition) else { return true };
        let stream = self.stream(group.stream);
        let gap = policy.gap_of(stream);
        let watermark = self.watermark(group.partition);
        let passed = |bound: i64| watermark.is_some_and(|watermark| watermark > bound);
        let pushed = self.partitions.get(&group.partition).is_some_and(|own| own.pushed.contains(&group.stream));
        let may_be_held = pushed && !passed(group.end + policy.max_hold);
        let is_open = !passed(group.end + gap + policy.close_after()) || may_be_held;

        let ids: BTreeSet<&String> = group.places().filter_map(|place| self.in_session.get(&place)).collect();
        let unpublished = group.places().filter(|place| !self.in_session.contains_key(place));
        let missing: Vec<i64> = unpublished.map(|place| place.offset).collect();
        let first = Place { partition: group.partition, offset: group.offsets[0] };
        let here = format!("{}/{first}", self.told.input);
        let expected = format!(
            "session of {stream:?} from {} to {}, segments of offsets {}",
            group.start,
            group.end,
            some(&group.offsets)
        );
        let mut found = Vec::new();
        for id in &ids {
            let session = &self.sessions[*id];
            if let Some(foreign) = session.members.iter().find(|offset| group.offsets.binary_search(offset).is_err()) {
                let what = format!("should be the {expected}; {id} also has that of offset {foreign}");
                found.push((Kind::GroupedOtherwise, what));
            }
        }
        if !missing.is_empty() && !is_open {
            let what = format!("should be the {expected}; of these {} are not published", some(&missing));
            found.push((Kind::NotPublished, what));
        }
        if ids.len() > 1 && !is_open && !group.may_be_cut {
            let ids: Vec<&str> = ids.iter().map(|id| id.as_str()).collect();
            found.push((Kind::GroupedOtherwise, format!("should be the {expected}; published as {}", ids.join(", "))));
        }
        if let Some(id) = ids.iter().find(|id| !group.may_be_cut && self.sessions[**id].is_cut()) {
            let what = format!("should be the {expected}; {id} was cut, and no limit is reached");
            found.push((Kind::GroupedOtherwise, what));
        }
        for (kind, what) in found {
            self.report.wrong(kind, &here, what);
        }
        is_open
    }

    fn exceeds_a_limit(&self, group: &Group) -> bool {
        let Some(policy) = self.policy(group.partition) else { return false };
        let segments = group.places().map(|place| &self.accepted[&place]);
        let bytes: usize = segments.map(|own| own.attributes.most_text_bytes() + 6 * own.file.len()).sum();
        group.end - group.start > policy.max_session_duration
            || group.offsets.len() > policy.max_session_segments
            || bytes > policy.max_session_bytes
    }

    /// Returns what is forgotten together: the whole group, or each of the parts into which a limit may have cut it.
    fn remembered(&self, group: &Group) -> Vec<Remembered> {
        let mut parts: BTreeMap<Option<&String>, Vec<i64>> = BTreeMap::new();
        for place in group.places() {
            parts.entry(self.in_session.get(&place).filter(|_| group.may_be_cut)).or_default().push(place.offset);
        }
        // A session that a limit cut off is kept for the sake of those that continue it, and are named after it.
        let mut continuing: BTreeMap<&String, i64> = BTreeMap::new();
        for session in parts.keys().flatten().map(|id| &self.sessions[*id]) {
            if let Some(before) = &session.head.continues {
                let end = continuing.entry(before).or_insert(session.head.end);
                *end = session.head.end.max(*end);
            }
        }
        // With something unpublished among them, it is not known which of them has grown.
        let has_grown = parts.contains_key(&None);
        let part = |(id, offsets): (Option<&String>, Vec<i64>)| {
            let end = id.map_or(group.end, |id| self.sessions[id].head.end);
            let known = id.filter(|_| !has_grown);
            let last = known.map_or(group.end, |id| continuing.get(id).map_or(end, |last| end.max(*last)));
            Remembered { partition: group.partition, stream: group.stream, offsets, end, last }
        };
        parts.into_iter().map(part).collect()
    }

    /// Checks that every withdrawn session leads to one that stands.
    fn finish_withdrawn(&mut self) {
        for (id, session) in self.sessions.iter().filter(|(_, session)| session.withdrawn) {
            let here = format!("{}/{}", self.told.output, session.place);
            let may_be_removed = !self.trimmed.output.is_empty();
            check_survivor(&mut self.report, &self.sessions, &here, (id, session), may_be_removed);
        }
    }
}

fn check_survivor(
    report: &mut Report,
    sessions: &BTreeMap<String, Session>,
    here: &str,
    (id, session): (&str, &Session),
    may_be_removed: bool,
) {
    let (mut survivor, mut steps) = (session, 0);
    while let Some(next) = survivor.merged_into.as_ref().filter(|_| survivor.withdrawn) {
        let Some(found) = sessions.get(next) else {
            if may_be_removed {
                return;
            }
            return report.wrong(
                Kind::Withdrawal,
                here,
                format!("session {id} was merged into {next}, which is not there"),
            );
        };
        steps += 1;
        if steps > sessions.len() {
            return report.wrong(Kind::Withdrawal, here, format!("session {id} was merged in a circle"));
        }
        survivor = found;
    }
    if survivor.stream != session.stream {
        report.wrong(Kind::Withdrawal, here, format!("session {id} was merged into one of another stream"));
    }
}

/// Names some offsets, and how many more there are.
fn some(offsets: &[i64]) -> String {
    const SHOWN: usize = 10;
    let shown: Vec<String> = offsets.iter().take(SHOWN).map(i64::to_string).collect();
    match offsets.len() {
        ..=SHOWN => shown.join(", "),
        count => format!("{} and {} more", shown.join(", "), count - SHOWN),
    }
}
