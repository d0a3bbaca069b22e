//! Version of the librdkafka that runs, which differs from the headers' if it is linked dynamically.

/// Returns librdkafka's version, such as `2.12.1`.
pub fn library() -> String {
    rdkafka::util::get_rdkafka_version().1
}
