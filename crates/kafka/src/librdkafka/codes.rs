//! Classification of librdkafka's errors, by connection and by transaction.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// The meaning of an error for the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Transport,
    Auth,
    Timeout,
    Other,
}

/// Returns the code of an error, also of one of an admin request, for which rdkafka returns none.
pub fn code(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    match error {
        KafkaError::AdminOp(code) => Some(*code),
        other => other.rdkafka_error_code(),
    }
}

/// Returns whether a broker will keep refusing until a person repairs something.
pub fn is_refusal(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::Authentication
            | Code::SSL
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
    )
}

/// Classifies an error that a client reported, with the reason that came with it.
pub fn kind(error: &KafkaError, reason: &str) -> Kind {
    use RDKafkaErrorCode as Code;
    match error.rdkafka_error_code() {
        // A connection cut in the middle of a login is reported as a failed login.
        Some(Code::Authentication) if reason.contains("transport failure") || reason.contains("Timed out") => {
            Kind::Transport
        }
        // A client certificate is refused only after the handshake, which looks like a connection that breaks.
        Some(Code::BrokerTransportFailure) if is_certificate_alert(reason) => Kind::Auth,
        Some(code) if is_refusal(code) => Kind::Auth,
        Some(Code::BrokerTransportFailure | Code::AllBrokersDown | Code::Resolve | Code::NetworkException) => {
            Kind::Transport
        }
        Some(Code::OperationTimedOut | Code::MessageTimedOut | Code::TimedOutQueue | Code::RequestTimedOut) => {
            Kind::Timeout
        }
        _ => Kind::Other,
    }
}

fn is_certificate_alert(reason: &str) -> bool {
    let alert = reason.split_once("alert ").map(|(_, alert)| alert);
    alert.is_some_and(|alert| ["certificate", "unknown ca", "access denied"].iter().any(|text| alert.contains(text)))
}

/// The response that an error of a transaction requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Abort,
    Retry,
    Rebuild,
    Fenced,
    Refused,
}

/// Classifies an error of a transaction. The order matters: a fatal error may also claim to be retriable.
pub fn verdict(error: &KafkaError) -> Verdict {
    use RDKafkaErrorCode as Code;
    let code = error.rdkafka_error_code();
    if code.is_some_and(is_refusal) {
        return Verdict::Refused;
    }
    // A failed flush leaves the outcome open, as does any error that is not an answer to a transactional request.
    let KafkaError::Transaction(answer) = error else { return Verdict::Rebuild };
    if answer.is_fatal() {
        return match answer.code() {
            Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch => Verdict::Fenced,
            _ => Verdict::Rebuild,
        };
    }
    if answer.txn_requires_abort() {
        Verdict::Abort
    } else if answer.is_retriable() {
        Verdict::Retry
    } else {
        Verdict::Rebuild
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_stop_and_outages_do_not() {
        use RDKafkaErrorCode as Code;
        for (code, reason, expected) in [
            (Code::Authentication, "SASL authentication error: invalid credentials", Kind::Auth),
            (Code::Authentication, "SASL SCRAM handshake failed: Local: Broker transport failure", Kind::Transport),
            (Code::SSL, "certificate verify failed", Kind::Auth),
            (Code::TopicAuthorizationFailed, "", Kind::Auth),
            (Code::BrokerTransportFailure, "ssl/tls alert bad certificate: SSL alert number 42", Kind::Auth),
            (Code::BrokerTransportFailure, "tlsv1 alert unknown ca: SSL alert number 48", Kind::Auth),
            (Code::BrokerTransportFailure, "tlsv1 alert internal error: SSL alert number 80", Kind::Transport),
            (Code::BrokerTransportFailure, "connection refused", Kind::Transport),
            (Code::AllBrokersDown, "1/1 brokers are down", Kind::Transport),
            (Code::OperationTimedOut, "", Kind::Timeout),
            (Code::Fail, "", Kind::Other),
        ] {
            assert_eq!(kind(&KafkaError::Global(code), reason), expected, "{code:?} {reason}");
        }
    }
}
