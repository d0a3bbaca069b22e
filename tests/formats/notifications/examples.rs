//! The examples as a whole: what comes out of them, and what never does.
//!
//! Each belongs to a rule of `docs/rules.md`, which names it. One that no other test shows is there too (rule: media-length).

use std::collections::BTreeSet;

use livesession_formats::notification::{Decoder, MAX_VALUE_BYTES, Notification, Reason, Rules};
use livesession_grouping::Anomaly;

use crate::notifications::support::{examples, fields_of, object_with, outcome};

#[test]
fn every_example_comes_out_as_specified() {
    let examples = examples();
    assert_eq!(examples.len(), 104);
    // One decoder for all: its buffers must not carry anything over.
    let mut decoder = Decoder::new(Rules::default());
    for example in &examples {
        let found = outcome(&decoder.decode(Some(example.input.as_bytes()), example.timestamp));
        assert_eq!(found, example.expect, "{}", example.name);
    }
}

#[test]
fn every_decode_reason_and_every_anomaly_occurs() {
    let mut decoder = Decoder::new(Rules::default());
    let (mut reasons, mut anomalies) = (BTreeSet::new(), BTreeSet::new());
    let mut note = |notification: Notification<'_>| match notification {
        Notification::Segment { segment, .. } => {
            anomalies.extend(segment.anomalies.iter().map(Anomaly::as_str));
        }
        Notification::Hint { anomalies: found, .. } => anomalies.extend(found.iter().map(Anomaly::as_str)),
        Notification::Refused(reason) => {
            reasons.insert(reason);
        }
        Notification::Other => {}
    };
    for example in examples() {
        note(decoder.decode(Some(example.input.as_bytes()), example.timestamp));
    }
    note(decoder.decode(Some(&[b' '; MAX_VALUE_BYTES + 1]), None));
    let decodable: BTreeSet<_> = Reason::ALL.into_iter().filter(|reason| reason.stage() == "decode").collect();
    assert_eq!(decodable.len(), 14);
    assert_eq!(reasons, decodable);
    assert_eq!(anomalies, Anomaly::ALL.map(Anomaly::as_str).into_iter().collect());
}

#[test]
fn secret_never_comes_out() {
    let mut decoder = Decoder::new(Rules::default());
    let mut with_secret = 0;
    for example in examples() {
        let Some(fields) = fields_of(&example.input).filter(|_| example.input.contains("txSecret")) else { continue };
        with_secret += 1;
        // As it is, and with each field in turn spoilt or missing.
        for spoilt in fields.keys().map(Some).chain([None]) {
            for literal in ["", "{}", "true", "-1.5", "\"\\u0000\""] {
                let changed: Vec<_> = fields
                    .iter()
                    .map(|(name, raw)| (name.as_str(), if Some(name) == spoilt { literal } else { raw.get() }))
                    .collect();
                let value = object_with(&changed, &[]);
                let found = decoder.decode(Some(value.as_bytes()), example.timestamp);
                let text = format!("{found:?} {}", outcome(&found));
                assert!(!text.contains("txSecret") && !text.contains("0000000000000000"), "{}: {text}", example.name);
            }
        }
        assert!(!format!("{decoder:?}").contains("txSecret"));
    }
    assert!(with_secret >= 4);
    for reason in Reason::ALL {
        assert!(!reason.explain().contains("txSecret"));
    }
}
