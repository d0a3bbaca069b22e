//! Topics and a worker's settings, for the benchmarks on a real broker.

use std::time::Duration;

use livesession::metrics::Labels;
use livesession::partition::Start;
use livesession::worker::{BETWEEN_SLICES, SLICE, Settings, Topics};
use livesession_formats::notification::{Reason, Rules};
use livesession_grouping::Policy;
use livesession_kafka::admin::{Admin, NewTopicSettings};
use livesession_kafka::settings::Settings as KafkaSettings;
use mimalloc::MiMalloc;

/// That of the program.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

pub const PATIENCE: Duration = Duration::from_secs(30);

const REASONS: [&str; Reason::ALL.len()] = {
    let mut names = [""; Reason::ALL.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = Reason::ALL[index].as_str();
        index += 1;
    }
    names
};
pub const LABELS: Labels = Labels {
    reasons: &REASONS,
    anomalies: &["field_unreadable", "start_rebuilt", "time_scaled", "url_as_id", "usec_ignored"],
    causes: &["watermark", "push_ended", "max_hold", "limit", "end_of_input"],
};

pub fn settings(name: &str, input: &str, commit_interval: Duration) -> Settings {
    Settings {
        application_id: name.to_owned(),
        topics: Topics {
            input: input.to_owned(),
            output: format!("{name}-out"),
            dead_letter: "bench-dlq".to_owned(),
            changelog: format!("{name}-changelog"),
            latest: None,
        },
        policy: Policy::default(),
        rules: Rules::default(),
        start: Start::Earliest,
        commit_interval,
        commit_max_records: usize::MAX,
        commit_timeout: PATIENCE,
        idle_after: Duration::from_secs(3_600),
        cloudevents: true,
        schema_guid: String::new(),
        dead_letter_partitions: 1,
        max_dead_letter_bytes: 1 << 20,
        slice: SLICE,
        between_slices: BETWEEN_SLICES,
    }
}

pub fn create(brokers: &str, topic: &str, is_compacted: bool) {
    let admin = Admin::new(&KafkaSettings::new(brokers, "admin", "admin"), PATIENCE).unwrap();
    let policy = if is_compacted { "compact" } else { "delete" };
    let settings = [("cleanup.policy", policy), ("retention.ms", "-1"), ("max.message.bytes", "2097152")];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let topic = NewTopicSettings { name: topic.to_owned(), partitions: 1, replicas: Some(1), settings };
    admin.create(&topic).unwrap();
}
