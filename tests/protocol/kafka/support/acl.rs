//! Permissions on a broker with an authorizer. rdkafka cannot grant any, so this calls librdkafka itself.

use std::ffi::CString;
use std::ptr;

use rdkafka::bindings as rdsys;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, Producer as _};
use rdsys::rd_kafka_AclOperation_t as Operation;
use rdsys::rd_kafka_AclPermissionType_t::RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW as ALLOW;
use rdsys::rd_kafka_ResourcePatternType_t::RD_KAFKA_RESOURCE_PATTERN_PREFIXED as PREFIXED;
use rdsys::rd_kafka_ResourceType_t as Resource;

/// What somebody may do.
#[derive(Clone, Copy, Debug)]
pub enum Grant {
    DescribeTopics,
    DescribeTopicConfigs,
    ReadTopics,
    WriteTopics,
    WriteTransactionalIds,
    ReadGroups,
}

impl Grant {
    fn parts(self) -> (Resource, Operation) {
        match self {
            Grant::DescribeTopics => (Resource::RD_KAFKA_RESOURCE_TOPIC, Operation::RD_KAFKA_ACL_OPERATION_DESCRIBE),
            Grant::DescribeTopicConfigs => {
                (Resource::RD_KAFKA_RESOURCE_TOPIC, Operation::RD_KAFKA_ACL_OPERATION_DESCRIBE_CONFIGS)
            }
            Grant::ReadTopics => (Resource::RD_KAFKA_RESOURCE_TOPIC, Operation::RD_KAFKA_ACL_OPERATION_READ),
            Grant::WriteTopics => (Resource::RD_KAFKA_RESOURCE_TOPIC, Operation::RD_KAFKA_ACL_OPERATION_WRITE),
            Grant::WriteTransactionalIds => {
                (Resource::RD_KAFKA_RESOURCE_TRANSACTIONAL_ID, Operation::RD_KAFKA_ACL_OPERATION_WRITE)
            }
            Grant::ReadGroups => (Resource::RD_KAFKA_RESOURCE_GROUP, Operation::RD_KAFKA_ACL_OPERATION_READ),
        }
    }
}

/// Allows a user to do something with everything whose name begins with `prefix`. `bootstrap` has to let us.
pub fn allow(bootstrap: &str, user: &str, prefix: &str, grant: Grant) {
    let client: BaseProducer = ClientConfig::new().set("bootstrap.servers", bootstrap).create().unwrap();
    let rk = client.client().native_ptr();
    let text = |text: &str| CString::new(text).unwrap();
    let (prefix, principal, host) = (text(prefix), text(&format!("User:{user}")), text("*"));
    let (resource, operation) = grant.parts();
    // SAFETY: the client outlives all calls. Texts are copied. Binding, event and queue are ours, and each is destroyed
    // once, after its last use; the result belongs to its event.
    let answer = unsafe {
        let mut binding = rdsys::rd_kafka_AclBinding_new(
            resource,
            prefix.as_ptr(),
            PREFIXED,
            principal.as_ptr(),
            host.as_ptr(),
            operation,
            ALLOW,
            ptr::null_mut(),
            0,
        );
        assert!(!binding.is_null(), "{grant:?}");
        let queue = rdsys::rd_kafka_queue_new(rk);
        rdsys::rd_kafka_CreateAcls(rk, &mut binding, 1, ptr::null(), queue);
        let event = rdsys::rd_kafka_queue_poll(queue, 20_000);
        assert!(!event.is_null(), "no answer to {grant:?}");
        let answer = (rdsys::rd_kafka_event_error(event), one_error(event));
        rdsys::rd_kafka_event_destroy(event);
        rdsys::rd_kafka_queue_destroy(queue);
        rdsys::rd_kafka_AclBinding_destroy(binding);
        answer
    };
    let none = rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
    assert_eq!(answer, (none, none), "{grant:?}");
}

/// Returns the error of the one result of an event.
///
/// # Safety
///
/// The event has to be the answer to a request to create one permission.
unsafe fn one_error(event: *mut rdsys::rd_kafka_event_t) -> rdsys::rd_kafka_resp_err_t {
    // SAFETY: as the caller promises; nothing is kept.
    unsafe {
        let result = rdsys::rd_kafka_event_CreateAcls_result(event);
        let mut count = 0;
        let results = rdsys::rd_kafka_CreateAcls_result_acls(result, &mut count);
        if result.is_null() || count == 0 {
            return rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
        }
        assert_eq!(count, 1);
        let error = rdsys::rd_kafka_acl_result_error(*results);
        if error.is_null() {
            rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
        } else {
            rdsys::rd_kafka_error_code(error)
        }
    }
}
