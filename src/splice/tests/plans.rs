//! Files of a plan: which ones, in which order, cut where.

use super::*;

/// Describes a plan: file, what is before it, what was left out.
fn plan_of(files: &[(&str, i64, i64)]) -> String {
    let session = session(files.iter().map(|(id, start, end)| file(id, *start, *end)).collect());
    let plan = Plan::new(&session, 0).unwrap();
    let item = |item: &Item<'_>| match item.before {
        Seam::First | Seam::Joined => format!("{} {}", item.segment.file_id, item.before.as_str()),
        Seam::Gap(length) | Seam::Overlap(length) => {
            format!("{} {} {}", item.segment.file_id, item.before.as_str(), length.as_ms() / 1_000)
        }
    };
    let mut words: Vec<String> = plan.items.iter().map(item).collect();
    words.extend(plan.left_out.iter().map(|(segment, why)| format!("-{} {}", segment.file_id, why.as_str())));
    words.join(", ")
}

#[test]
fn files_are_joined_in_time_order_and_shown_once() {
    type Files = &'static [(&'static str, i64, i64)];
    let cases: [(Files, &str); 14] = [
        (&[("a", 0, 10), ("b", 11, 20)], "a first, b gap 1"),
        (&[("a", 0, 10), ("b", 10, 20)], "a first, b joined"),
        (&[("a", 0, 10), ("b", 9, 20)], "a first, b overlap 1"),
        (&[("b", 11, 20), ("a", 0, 10)], "a first, b gap 1"),
        // What lies inside of another is left out, whatever its place in the list.
        (&[("a", 0, 10), ("b", 2, 10)], "a first, -b covered"),
        (&[("a", 0, 10), ("b", 2, 11)], "a first, b overlap 8"),
        (&[("a", 0, 10), ("b", 0, 20)], "b first, -a covered"),
        (&[("b", 0, 10), ("a", 0, 10)], "a first, -b covered"),
        (&[("a", 0, 30), ("b", 5, 10), ("c", 25, 40)], "a first, c overlap 5, -b covered"),
        // The gap is counted from the end that was reached, not from the last file's.
        (&[("a", 0, 30), ("b", 5, 10), ("c", 31, 40)], "a first, c gap 1, -b covered"),
        (&[("a", 0, 10), ("e", 15, 15), ("b", 20, 30)], "a first, b gap 10, -e empty"),
        (&[("e", 5, 5)], "-e empty"),
        // Two files that overlap by themselves need no third between them.
        (&[("a", 0, 10), ("b", 2, 12), ("c", 4, 20)], "a first, c overlap 6, -b covered"),
        (&[("a", 0, 10), ("b", 2, 12), ("c", 9, 20)], "a first, b overlap 8, c overlap 3"),
    ];
    for (files, expected) in cases {
        assert_eq!(plan_of(files), expected, "{files:?}");
    }
}

/// Describes a plan of files with start, end and media: file, what is before it, where it is cut.
fn cuts_of(files: &[(&str, i64, i64, i64)]) -> String {
    let with_media = |(id, start, end, media): &(&str, i64, i64, i64)| Segment {
        media_ms: Some(media * 1_000),
        ..file(id, *start, *end)
    };
    let session = session(files.iter().map(with_media).collect());
    let plan = Plan::new(&session, 0).unwrap();
    let item = |item: &Item<'_>| {
        let cut = item.outpoint.map_or(String::new(), |outpoint| format!(" to {}", outpoint.as_ms() / 1_000));
        let length = item.before.length().as_ms() / 1_000;
        let length = if length > 0 { format!(" {length}") } else { String::new() };
        format!("{} {}{length}{cut}", item.segment.file_id, item.before.as_str())
    };
    let mut words: Vec<String> = plan.items.iter().map(item).collect();
    words.extend(plan.left_out.iter().map(|(segment, why)| format!("-{} {}", segment.file_id, why.as_str())));
    words.join(", ")
}

#[test]
fn file_covers_only_what_its_media_can_hold() {
    type Files = &'static [(&'static str, i64, i64, i64)];
    let cases: [(Files, &str); 9] = [
        // A start that is the recording task's, in each of its files.
        (&[("a", 0, 60, 60), ("b", 0, 120, 60), ("c", 0, 180, 60)], "a first, b joined, c joined"),
        (&[("c", 0, 180, 60), ("a", 0, 60, 60)], "a first, c joined"),
        // Five seconds are within what two clocks differ by.
        (&[("a", 0, 60, 55), ("b", 2, 30, 28)], "a first, -b covered"),
        (&[("a", 0, 60, 54), ("b", 2, 30, 28)], "b first to 4, a overlap 24"),
        (&[("a", 0, 60, 54), ("b", 20, 30, 10)], "a first, -b covered"),
        // Lost packets are no silence.
        (&[("a", 0, 1800, 1800), ("b", 1800, 3600, 1730), ("c", 3700, 3800, 100)], "a first, b joined, c gap 100"),
        (&[("a", 0, 1800, 1800), ("b", 1799, 3600, 1730)], "a first, b joined"),
        // A cut is counted in the media that there are.
        (&[("a", 0, 1800, 1730), ("b", 1790, 3600, 1810)], "a first to 1720, b overlap 10"),
        // No media at all is what producers write that do not know.
        (&[("a", 0, 60, 0), ("b", 20, 30, 10)], "a first, -b covered"),
    ];
    for (files, expected) in cases {
        assert_eq!(cuts_of(files), expected, "{files:?}");
    }
}

#[test]
fn overlap_of_rounded_times_is_not_cut() {
    type Files = &'static [(&'static str, i64, i64, i64)];
    let cases: [(Files, &str); 10] = [
        (&[("a", 0, 1801, 1800), ("b", 1800, 3600, 1800)], "a first, b joined"),
        (&[("a", 0, 1802, 1800), ("b", 1800, 3600, 1800)], "a first, b joined"),
        (&[("a", 0, 1802, 1801), ("b", 1800, 3600, 1800)], "a first, b joined"),
        // A start that was rounded down.
        (&[("a", 0, 1800, 1800), ("b", 1799, 3600, 1800)], "a first, b joined"),
        (&[("a", 0, 1800, 1800), ("b", 1798, 3600, 1800)], "a first, b joined"),
        // Recorded twice: the media are there twice.
        (&[("a", 0, 1801, 1801), ("b", 1800, 3600, 1800)], "a first to 1800, b overlap 1"),
        (&[("a", 0, 1802, 1802), ("b", 1800, 3600, 1800)], "a first to 1800, b overlap 2"),
        // Three seconds are no rounding, unless there is nothing to cut.
        (&[("a", 0, 1803, 1801), ("b", 1800, 3600, 1799)], "a first to 1800, b overlap 3"),
        (&[("a", 0, 1803, 1800), ("b", 1800, 3600, 1800)], "a first, b joined"),
        // Small files within a rounding of each other hold something each.
        (&[("a", 0, 4, 3), ("b", 3, 5, 2), ("c", 4, 8, 3)], "a first, b joined, c joined"),
    ];
    for (files, expected) in cases {
        assert_eq!(cuts_of(files), expected, "{files:?}");
    }
    assert_eq!(plan_of(&[("a", 0, 1801), ("b", 1800, 3600)]), "a first, b overlap 1", "media are not known");
}

#[test]
fn every_file_of_a_rendition_is_in_the_plan_or_left_out() {
    let mut state = 1_u64;
    let mut below = |bound: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from((state >> 33) % bound).unwrap()
    };
    for _ in 0..500 {
        let files: Vec<Segment> = (0..1 + below(12))
            .map(|number| {
                let start = below(60);
                Segment {
                    rendition: usize::try_from(below(2)).unwrap(),
                    ..file(&format!("f{number}"), start, start + below(20))
                }
            })
            .collect();
        let session = session(files);
        for plan in Plan::all(&session) {
            let expected = session.segments.iter().filter(|segment| segment.rendition == plan.rendition).count();
            assert_eq!(plan.items.len() + plan.left_out.len(), expected);
            // Second by second: what is recorded is shown once, what is silent is not shown.
            for second in 0..90 {
                let recorded = |s: &Segment| s.start <= at(second) && at(second) < s.end;
                let shown = plan.items.iter().filter(|i| i.from <= at(second) && at(second) < i.until()).count();
                let has = session.segments.iter().any(|s| s.rendition == plan.rendition && recorded(s));
                assert_eq!(shown, usize::from(has), "second {second} of {plan:?}");
            }
        }
    }
}

#[test]
fn request_id_is_one_of_session_revision_and_rendition_and_fits() {
    let mut one = session(vec![file("a", 0, 10), Segment { rendition: 16, ..file("b", 0, 10) }]);
    let id = |session: &SessionRecord, rendition| Plan::new(session, rendition).unwrap().request_id();
    assert_eq!(id(&one, 0), "5b0c3a528d0e5c7e9b430f2f6a1d7e64-3-0");
    assert_eq!(id(&one, 16), "5b0c3a528d0e5c7e9b430f2f6a1d7e64-3-10");
    one.revision = u32::MAX;
    let longest = id(&one, 0).len() + "ffffffff".len() - 1;
    assert_eq!(longest, MAX_REQUEST_ID);
}

#[test]
fn unknown_rendition_has_no_plan() {
    let session = session(vec![file("a", 0, 10)]);
    assert_eq!(Plan::new(&session, 1), None);
    assert_eq!(Plan::new(&session, usize::MAX), None);
    assert_eq!(Plan::all(&session).len(), 1);
}
