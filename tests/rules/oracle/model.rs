//! Part 1 of `docs/rules.md`, replayed over lists.
//!
//! State is what the rules speak of and nothing derived: remembered segments, frozen sets, what was published, pushes,
//! the clock. Sessions are computed afresh by [`super::group`] at each question. [`Model::publish_due`] publishes all that is
//! due and then forgets; it is called once per transaction, as the rules speak of transactions.

use std::cmp::Reverse;

use super::{Record, Rules, Seg, group, hull, seed, session_id, touch};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    Accepted,
    Duplicate,
    Conflict,
    Late,
    /// Refused for what it is, before the state was asked.
    Rejected,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HintKind {
    PushStarted,
    PushEnded,
    RecordEnded,
}

/// When a record was written and when it is read.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    pub timestamp: Option<i64>,
    pub now: i64,
}

/// A session that reached a limit.
#[derive(Clone, Debug)]
struct Frozen {
    members: Vec<Seg>,
    /// How many froze before it.
    number: usize,
    settled: bool,
}

#[derive(Clone, Debug)]
struct Push {
    stream: String,
    id: Option<String>,
    /// `None` if only its end has been seen.
    start: Option<i64>,
    end: Option<i64>,
    last_hint: i64,
}

/// That the member at `offset` touched a frozen session when it came.
#[derive(Clone, Debug)]
struct Link {
    offset: i64,
    /// Its end, the order of those that end together, the first one first, and its name.
    frozen: (i64, Reverse<(i64, usize)>, String),
}

#[derive(Clone, Debug)]
pub struct Model {
    rules: Rules,
    pub watermark: Option<i64>,
    at: i64,
    /// Remembered members of sessions that may still change.
    live: Vec<Seg>,
    frozen: Vec<Frozen>,
    freezes: usize,
    links: Vec<Link>,
    /// The newest publication of each session that is remembered and not withdrawn.
    published: Vec<Record>,
    pushes: Vec<Push>,
}

impl Model {
    pub fn new(rules: Rules) -> Model {
        Model {
            rules,
            watermark: None,
            at: i64::MIN,
            live: Vec::new(),
            frozen: Vec::new(),
            freezes: 0,
            links: Vec::new(),
            published: Vec::new(),
            pushes: Vec::new(),
        }
    }

    fn passed(&self, bound: i64) -> bool {
        self.watermark.is_some_and(|watermark| watermark > bound)
    }

    /// The bound of forgetting (rule: forget).
    fn forget_bound(&self, session: &[Seg]) -> i64 {
        let rules = &self.rules;
        hull(session).1 + rules.gap(&session[0].stream) + rules.max_segment + rules.allowed_lateness
    }

    /// The sessions of a stream that may still change.
    fn sessions(&self, stream: &str) -> Vec<Vec<Seg>> {
        let members = self.live.iter().filter(|seg| seg.stream == stream).cloned().collect();
        group(members, self.rules.gap(stream))
    }

    fn streams(&self) -> Vec<String> {
        let mut streams: Vec<String> = self.live.iter().map(|seg| seg.stream.clone()).collect();
        streams.sort();
        streams.dedup();
        streams
    }

    /// One segment (rules: acceptance, duplicate, limits, clock).
    pub fn accept(&mut self, seg: &Seg, written: Written) -> Placement {
        if self.passed(seg.end + self.rules.allowed_lateness) {
            return Placement::Late;
        }
        let known = self.remembered(&seg.stream).into_iter().flatten().find(|known| known.file == seg.file);
        if let Some(known) = known {
            let same = (known.start, known.end) == (seg.start, seg.end);
            return if same { Placement::Duplicate } else { Placement::Conflict };
        }
        let gap = self.rules.gap(&seg.stream);
        let interval = (seg.start, seg.end);
        let mut touched = self.sessions(&seg.stream);
        touched.retain(|session| touch(hull(session), interval, gap));
        touched.sort_by_key(|session| hull(session).0);
        while !touched.is_empty() && self.exceeds(&touched, seg) {
            let members = touched.remove(0);
            self.live.retain(|live| !members.contains(live));
            self.freezes += 1;
            self.frozen.push(Frozen { members, number: self.freezes, settled: false });
        }
        for frozen in &self.frozen {
            if frozen.members[0].stream == seg.stream && touch(hull(&frozen.members), interval, gap) {
                // Of those that end together the first one touched, of those touched at once the first one frozen.
                let order = Reverse((seg.offset, frozen.number));
                let key = (hull(&frozen.members).1, order, session_id(seed(&frozen.members)));
                self.links.push(Link { offset: seg.offset, frozen: key });
            }
        }
        self.live.push(seg.clone());
        self.advance(seg.end, written);
        Placement::Accepted
    }

    /// What is remembered (rule: forget), whether or not the end of a transaction has forgotten it by now.
    fn remembered(&self, stream: &str) -> Vec<Vec<Seg>> {
        let frozen = self.frozen.iter().map(|frozen| frozen.members.clone());
        let frozen = frozen.filter(|session| session[0].stream == stream && !self.passed(self.forget_bound(session)));
        let may_forget = |session: &[Seg]| {
            self.passed(self.forget_bound(session)) && (self.is_published(session) || self.verdict(session).is_some())
        };
        let live = self.sessions(stream).into_iter().filter(|session| !may_forget(session));
        live.chain(frozen).collect()
    }

    fn exceeds(&self, touched: &[Vec<Seg>], seg: &Seg) -> bool {
        let mut union: Vec<Seg> = touched.concat();
        union.push(seg.clone());
        let (start, end) = hull(&union);
        end - start > self.rules.max_session_duration
            || union.len() > self.rules.max_session_segments
            || union.iter().map(Seg::bytes).sum::<u64>() > self.rules.max_session_bytes
    }

    /// Moves the clock (rule: clock).
    fn advance(&mut self, to: i64, written: Written) {
        if self.watermark.is_none_or(|watermark| to > watermark) {
            self.watermark = Some(to);
            let fresh = |at: &i64| *at <= written.now && at + self.rules.allowed_lateness >= written.now;
            self.at = self.at.max(written.timestamp.filter(fresh).unwrap_or(written.now));
        }
    }

    /// A hint (rule: hints), for hints that name their push, each by a name of its own.
    pub fn hint(&mut self, stream: &str, kind: HintKind, push: Option<&str>, at: i64, written: Written) {
        if self.passed(at + self.rules.allowed_lateness) {
            return;
        }
        self.advance(at, written);
        let (start, end) = match kind {
            HintKind::RecordEnded => return,
            HintKind::PushStarted => (Some(at), None),
            HintKind::PushEnded => (None, Some(at)),
        };
        let known = self.pushes.iter_mut().find(|known| known.stream == stream && known.id.as_deref() == push);
        match known {
            Some(known) => {
                known.start = known.start.or(start);
                known.end = known.end.or(end);
                known.last_hint = known.last_hint.max(at);
            }
            None => {
                let (stream, id) = (stream.to_owned(), push.map(str::to_owned));
                self.pushes.push(Push { stream, id, start, end, last_hint: at });
            }
        }
    }

    /// Why the session is closed, if it is (rules: close, hints).
    fn verdict(&self, session: &[Seg]) -> Option<&'static str> {
        let stream = &session[0].stream;
        let (end, gap) = (hull(session).1, self.rules.gap(stream));
        let wait = end + gap + self.rules.recording_interval + self.rules.notification_delay;
        let started = |push: &&Push| push.stream == *stream && push.start.is_some();
        let pushes: Vec<&Push> = self.pushes.iter().filter(started).collect();
        let on_air = pushes.iter().any(|push| push.end.is_none());
        if pushes.iter().any(|push| push.end.is_none() && push.start <= Some(end + gap)) {
            // A hold makes nothing close sooner than it would without.
            return (self.passed(wait) && self.passed(end + self.rules.max_hold)).then_some("max_hold");
        }
        if self.passed(wait) {
            return Some("watermark");
        }
        let off_air = pushes.iter().filter_map(|push| push.end).max().filter(|_| !on_air)?;
        let ended = off_air + gap >= end && self.passed(off_air.max(end) + gap + self.rules.notification_delay);
        ended.then_some("push_ended")
    }

    /// The publication that a session is owed, if it has changed since the last one.
    fn owed(&self, session: &[Seg], cause: &'static str) -> Option<Record> {
        let fresh = Record::of(session);
        let last = self.published.iter().find(|record| record.seed_offset == fresh.seed_offset);
        if last.is_some_and(|last| last.segments == fresh.segments) {
            return None;
        }
        Some(Record {
            revision: last.map_or(1, |last| last.revision + 1),
            continues: self.continues(session),
            cause: Some(cause),
            watermark: self.watermark.expect("a session was accepted"),
            ..fresh
        })
    }

    fn due(&self) -> Vec<Record> {
        let mut due = Vec::new();
        for frozen in self.frozen.iter().filter(|frozen| !frozen.settled) {
            due.extend(self.owed(&frozen.members, "limit"));
        }
        for session in self.streams().iter().flat_map(|stream| self.sessions(stream)) {
            due.extend(self.verdict(&session).and_then(|cause| self.owed(&session, cause)));
        }
        due
    }

    /// Whether a session stands in the output as it is.
    fn is_published(&self, session: &[Seg]) -> bool {
        let first = seed(session);
        self.published
            .iter()
            .any(|record| record.seed_offset == first.offset && record.segments as usize == session.len())
    }

    /// The sessions that go at the end of a transaction (rule: forget), but a frozen one stays as long as one that continues it
    /// may still be published, so that a restore finds what it is named after.
    fn forgettable(&self) -> Vec<Vec<Seg>> {
        let live: Vec<Vec<Seg>> = self.streams().iter().flat_map(|stream| self.sessions(stream)).collect();
        let passed = |session: &[Seg]| self.passed(self.forget_bound(session));
        let frozen = self.frozen.iter().map(|frozen| frozen.members.clone()).filter(|members| {
            let id = session_id(seed(members));
            let continuing = |session: &&Vec<Seg>| self.continues(session).as_ref() == Some(&id);
            passed(members) && live.iter().filter(continuing).all(|session| passed(session))
        });
        let frozen: Vec<Vec<Seg>> = frozen.collect();
        let live = live.into_iter().filter(|session| self.is_published(session) && passed(session));
        live.chain(frozen).collect()
    }

    /// The frozen session that `session` continues: of several the one that ends last.
    fn continues(&self, session: &[Seg]) -> Option<String> {
        let links = self.links.iter().filter(|link| session.iter().any(|seg| seg.offset == link.offset));
        links.map(|link| link.frozen.clone()).max().map(|(.., id)| id)
    }

    /// Publishes all that is due, each survivor after those that it replaces, then forgets.
    pub fn publish_due(&mut self) -> Vec<Record> {
        let mut out = Vec::new();
        for record in self.due() {
            let mut replaced: Vec<Record> = Vec::new();
            self.published.retain(|known| {
                let member = record.files.iter().any(|seg| seg.offset == known.seed_offset);
                if member && known.seed_offset != record.seed_offset {
                    replaced.push(known.clone());
                }
                !member
            });
            out.extend(replaced.into_iter().map(|last| Record {
                revision: last.revision + 1,
                withdrawn: true,
                merged_into: Some(record.id.clone()),
                cause: None,
                watermark: record.watermark,
                gaps: Vec::new(),
                files: Vec::new(),
                ..last
            }));
            self.published.push(record.clone());
            out.push(record);
        }
        self.frozen.iter_mut().for_each(|frozen| frozen.settled = true);
        for session in self.forgettable() {
            self.live.retain(|seg| !session.contains(seg));
            self.frozen.retain(|frozen| frozen.members[0].offset != session[0].offset);
            let offsets: Vec<i64> = session.iter().map(|seg| seg.offset).collect();
            self.published.retain(|record| !offsets.contains(&record.seed_offset));
            self.links.retain(|link| !offsets.contains(&link.offset));
        }
        self.drop_hints();
        out
    }

    fn drop_hints(&mut self) {
        let keep = self.rules.max_hold.max(self.rules.allowed_lateness);
        let frozen = self.frozen.iter().flat_map(|frozen| &frozen.members);
        let mut busy: Vec<String> = self.live.iter().chain(frozen).map(|seg| seg.stream.clone()).collect();
        let recent = self.pushes.iter().filter(|push| !self.passed(push.last_hint + keep));
        busy.extend(recent.map(|push| push.stream.clone()));
        self.pushes.retain(|push| busy.contains(&push.stream));
    }

    /// Punctuation (rule: clock); whether the watermark moved.
    pub fn punctuate(&mut self, now: i64) -> bool {
        let Some(watermark) = self.watermark.filter(|_| now > self.at) else { return false };
        let mut then = self.clone();
        then.watermark = Some(watermark + (now - self.at));
        let useful = !then.due().is_empty() || !then.forgettable().is_empty();
        if useful {
            self.watermark = then.watermark;
            self.at = now;
        }
        useful
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty() && self.frozen.is_empty() && self.published.is_empty()
    }
}
