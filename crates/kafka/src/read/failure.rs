//! Conversion of librdkafka's errors to [`ReadError`].

use rdkafka::error::KafkaError;

use crate::error::ReadError;
use crate::librdkafka::codes::{code, is_refusal};
use crate::librdkafka::context::Reports;

/// Returns the error of a request: a refusal, which a person has to repair, or an answer that may come later.
///
/// Poll the client first: the reason for a refusal comes only that way.
pub fn sort(reports: &Reports, problem: String, error: KafkaError) -> ReadError {
    match (reports.refusal(), code(&error)) {
        (Some(reason), _) => ReadError::Refused { reason },
        (None, Some(code)) if is_refusal(code) => ReadError::Refused { reason: error.to_string() },
        _ => ReadError::Unavailable { problem, source: error.into() },
    }
}

/// Returns the error of a client that librdkafka does not create: it does not accept the settings.
pub fn not_created(problem: &str, error: KafkaError) -> ReadError {
    ReadError::Rejected { problem: problem.to_owned(), source: error.into() }
}

/// Returns the error of an unusable client.
pub fn rebuild(problem: &str, error: KafkaError) -> ReadError {
    ReadError::Rebuild { problem: problem.to_owned(), source: error.into() }
}
