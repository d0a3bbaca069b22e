//! Random batches and questions, against a model that is too simple to be wrong: a list that is filtered.

use std::collections::BTreeMap;

use super::*;
use crate::{Entry, Position, Select, StatusFilter, View};

#[derive(Default)]
struct Model {
    /// Newest record and change number by session id.
    sessions: BTreeMap<SessionId, (SessionRecord, i64)>,
    /// What a look-up by file sees: the last lists before a withdrawal.
    files: BTreeMap<SessionId, Vec<Segment>>,
    change: i64,
}

impl Model {
    fn apply(&mut self, record: &SessionRecord) {
        let id = record.session_id;
        if self.sessions.get(&id).is_some_and(|(known, _)| known.revision >= record.revision) {
            return;
        }
        self.change += 1;
        if record.status != Status::Withdrawn {
            self.files.insert(id, record.segments.clone());
        }
        self.sessions.insert(id, (record.clone(), self.change));
    }

    fn page(&self, select: &Select<'_>) -> Vec<SessionId> {
        let mut rows: Vec<&SessionRecord> = self
            .sessions
            .values()
            .map(|(record, _)| record)
            .filter(|session| select.stream.is_none_or(|stream| session.stream.key == stream))
            .filter(|session| match select.status {
                StatusFilter::Current => session.status != Status::Withdrawn,
                StatusFilter::Is(status) => session.status == status,
                StatusFilter::Any => true,
            })
            .filter(|session| {
                let (from, to) = (select.from_ms.unwrap_or(i64::MIN), select.to_ms.unwrap_or(i64::MAX));
                let (start, end) = (session.start.as_ms(), session.end.as_ms());
                let last = if start == end { start } else { end - 1 };
                start < to && last >= from
            })
            .filter(|session| {
                select.after.as_ref().is_none_or(|after| {
                    (session.start.as_ms(), session.session_id.to_string()) > (after.start_ms, after.session_id.clone())
                })
            })
            .collect();
        rows.sort_by_key(|session| (session.start, session.session_id));
        rows.into_iter().take(select.limit).map(|session| session.session_id).collect()
    }
}

fn random_record(random: &mut Random, model: &Model) -> SessionRecord {
    let name = format!("s-{}", random.below(60));
    let revision = u32::try_from(random.below(6)).unwrap();
    let start = random.between(0, 2_000);
    let length = if random.below(20) == 0 { 700 } else { random.between(0, 60) };
    let files: Vec<String> = (0..random.below(4)).map(|_| format!("f-{}", random.below(80))).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    // A session never changes its stream.
    let stream_id = format!("room-{}", name.len() + name.bytes().map(usize::from).sum::<usize>() % 4);
    let new = record(&name, revision, &stream_id, start, start + length, &files);
    match model.sessions.get(&id(&name)) {
        Some((known, _)) if random.below(4) == 0 && known.status != Status::Withdrawn => {
            let mut gone = withdrawn(known.clone(), &format!("s-{}", random.below(60)));
            gone.stream = new.stream;
            gone
        }
        _ => new,
    }
}

fn check_pages(random: &mut Random, view: &View<'_>, model: &Model) {
    let stream = stream(&format!("room-{}", random.below(8))).key;
    let from = random.between(-50, 2_100);
    let select = Select {
        stream: (random.below(2) == 0).then_some(stream.as_str()),
        from_ms: (random.below(4) > 0).then_some(from),
        to_ms: (random.below(4) > 0).then(|| from + random.between(0, 400)),
        status: [
            StatusFilter::Current,
            StatusFilter::Is(Status::Withdrawn),
            StatusFilter::Is(Status::Closed),
            StatusFilter::Any,
        ][usize::try_from(random.below(4)).unwrap()],
        after: None,
        limit: 1 + usize::try_from(random.below(7)).unwrap(),
    };
    let whole = model.page(&Select { limit: usize::MAX, ..select.clone() });
    let mut paged: Vec<SessionId> = Vec::new();
    let mut after: Option<Position> = None;
    loop {
        let asked = Select { after: after.clone(), ..select.clone() };
        let page: Vec<Entry> = view.sessions(&asked).unwrap();
        let ids: Vec<SessionId> = page.iter().map(|entry| entry.summary.session_id).collect();
        assert_eq!(ids, model.page(&asked), "{asked:?}");
        paged.extend(ids);
        let Some(last) = page.last() else { break };
        after = Some(Position::of(&last.summary));
    }
    assert_eq!(paged, whole, "pages of {select:?}");
}

fn check_rows(view: &View<'_>, model: &Model) {
    for (id, (record, change)) in &model.sessions {
        let entry = view.session(&id.to_string()).unwrap().unwrap();
        assert_eq!(entry.change, *change, "{id}");
        let (_, segments) = view.segments(entry.session_no, *id).unwrap();
        assert_eq!(segments, model.files.get(id).cloned().unwrap_or_default());
        assert_eq!(view.with_lists(entry).unwrap(), *record);
    }
    assert_eq!(
        view.verify(model.sessions.values().map(|(record, _)| record.clone()), |d| panic!("{d:?}")).unwrap(),
        model.sessions.len()
    );
}

fn check_changes(random: &mut Random, view: &View<'_>, model: &Model) {
    let after = random.between(-1, model.change + 2);
    let mut expected: Vec<(i64, SessionId)> =
        model.sessions.iter().map(|(id, (_, change))| (*change, *id)).filter(|(change, _)| *change > after).collect();
    expected.sort_unstable();
    let found = view.changes(&view.generation().unwrap(), after, usize::MAX).unwrap();
    let found: Vec<(i64, SessionId)> = found.iter().map(|one| (one.change, one.summary.session_id)).collect();
    assert_eq!(found, expected);
}

fn check_file(random: &mut Random, view: &View<'_>, model: &Model) {
    let file = format!("f-{}", random.below(85));
    let found = view.recordings(&file, 1_000).unwrap();
    // Every closed session that lists the file is an answer; every answer lists it or took the place of one that did.
    let holders: Vec<&SessionId> =
        model.files.iter().filter(|(_, list)| list.iter().any(|one| one.file_id == file)).map(|(id, _)| id).collect();
    for id in &holders {
        let closed = model.sessions[*id].0.status == Status::Closed;
        assert!(!closed || found.iter().any(|one| one.session.session_id == **id), "{file} in {id}");
    }
    assert_eq!(found.is_empty(), holders.is_empty());
    for one in &found {
        assert_eq!(one.file_id, file);
        let via: Vec<SessionId> = one.via.iter().map(|id| SessionId::parse(id).unwrap()).collect();
        let from = via.first().unwrap_or(&one.session.session_id);
        assert!(holders.contains(&from));
        for step in via.windows(2) {
            assert_eq!(model.sessions[&step[0]].0.merged_into, Some(step[1]));
        }
    }
}

#[test]
fn index_answers_as_a_filtered_list_does() {
    for seed in 1..=8 {
        let scratch = Scratch::new("model");
        let path = scratch.path("index.db");
        let (mut random, mut model) = (Random(seed), Model::default());
        let (mut writer, mut reader) = (writer(&path), None);
        let mut offset = None;
        for _ in 0..40 {
            let mut batch = Vec::new();
            for _ in 0..random.below(12) {
                let record = random_record(&mut random, &model);
                model.apply(&record);
                batch.push(record);
            }
            let to = offset.unwrap_or(0) + 1;
            let applied = writer.apply(&batch, &[advance(offset, to)]).unwrap();
            offset = Some(to);
            assert_eq!(applied.change, model.change, "seed {seed}");
            let view = reader.get_or_insert_with(|| super::reader(&path)).view().unwrap();
            for _ in 0..4 {
                check_pages(&mut random, &view, &model);
                check_file(&mut random, &view, &model);
                check_changes(&mut random, &view, &model);
            }
            check_rows(&view, &model);
        }
        assert_eq!(writer.offsets().unwrap(), [("t-1".to_owned(), 0, 40)]);
    }
}
