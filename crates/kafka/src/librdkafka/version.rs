//! Which librdkafka this is: the one that runs, which is not the headers' where it is linked dynamically.

/// Returns librdkafka's version, such as `2.12.1`.
pub fn library() -> String {
    rdkafka::util::get_rdkafka_version().1
}
