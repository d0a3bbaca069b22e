//! Calls of librdkafka that rdkafka lacks: all unsafe code of the crate.
//!
//! * the generation and member id of a group consumer, which tell whether it is still in the group;
//! * header names as bytes: rdkafka panics on a name that is not UTF-8, and any producer can write one;
//! * producing a record with such a name, since a dead letter keeps the headers of its record;
//! * the id of a topic, which tells whether the topic was deleted and created again;
//! * waiting for deliveries: rdkafka's flush has its own loop, which either takes all of its time or polls busily.
//!
//! Every block has its `SAFETY:`. Nothing here decides anything.

use std::ffi::{CStr, CString, c_int, c_void};
use std::time::Duration;
use std::{ptr, slice};

use rdkafka::bindings as rdsys;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::producer::{BaseProducer, PARTITION_UA, Producer, ProducerContext};
use rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR as NO_ERROR;
use rdsys::rd_kafka_vtype_t as vtype;

use crate::values::{Header, Outgoing};

/// Returns the headers of a message in their order.
pub fn headers<'m>(message: &'m BorrowedMessage<'_>) -> Vec<Header<'m>> {
    let mut headers = ptr::null_mut();
    // SAFETY: the message outlives the call; on success librdkafka sets the pointer to a list that the message keeps.
    let error = unsafe { rdsys::rd_kafka_message_headers(message.ptr(), &mut headers) };
    if error != NO_ERROR {
        // `NOENT`: the record has none.
        return Vec::new();
    }
    // SAFETY: the list is the message's and lives as long as the message.
    let count = unsafe { rdsys::rd_kafka_header_cnt(headers) };
    let header = |index| -> Option<Header<'m>> {
        let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the list is the message's; the out pointers are valid, and set on success.
        let error = unsafe { rdsys::rd_kafka_header_get_all(headers, index, &mut name, &mut value, &mut size) };
        if error != NO_ERROR {
            return None;
        }
        // SAFETY: a name ends in NUL and lives in the list, which lives for `'m`.
        let name = unsafe { CStr::from_ptr(name) }.to_bytes();
        // SAFETY: a value that is not null has `size` bytes in the same list.
        let value = (!value.is_null()).then(|| unsafe { slice::from_raw_parts(value.cast::<u8>(), size) });
        Some((name, value))
    };
    (0..count).map_while(header).collect()
}

/// A member of the group as the coordinator knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Grows with each rebalance; negative outside of the group.
    pub generation: i32,
    /// Empty outside of the group.
    pub member: String,
}

impl Membership {
    /// Returns whether the coordinator knows this member. After an outage this can be the only sign that it does not.
    pub fn is_member(&self) -> bool {
        self.generation >= 0 && !self.member.is_empty()
    }
}

/// Returns generation and member id, or `None` if the client has no group.
pub fn membership<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> Option<Membership> {
    // SAFETY: the client lives as long as `consumer`.
    let metadata = unsafe { rdsys::rd_kafka_consumer_group_metadata(consumer.client().native_ptr()) };
    if metadata.is_null() {
        return None;
    }
    // SAFETY: the metadata is not null and ours until it is destroyed below.
    let generation = unsafe { rdsys::rd_kafka_consumer_group_metadata_generation_id(metadata) };
    // SAFETY: as above; the id ends in NUL and is copied before the metadata is destroyed.
    let member = unsafe { CStr::from_ptr(rdsys::rd_kafka_consumer_group_metadata_member_id(metadata)) };
    let member = member.to_string_lossy().into_owned();
    // SAFETY: destroyed once, and not used after.
    unsafe { rdsys::rd_kafka_consumer_group_metadata_destroy(metadata) };
    Some(Membership { generation, member })
}

/// Puts a record into the producer's queue. The bytes are copied. Never blocks.
///
/// # Errors
///
/// `MessageProduction` with the reason, such as a full queue; `Nul` for a topic name with a NUL byte.
pub fn produce<C>(producer: &BaseProducer<C>, record: &Outgoing<'_>) -> Result<(), KafkaError>
where
    C: ProducerContext<DeliveryOpaque = ()>,
{
    let topic = CString::new(record.topic)?;
    let headers = Headers::new(record.headers)?;
    let (key, key_size) = raw(record.key);
    let (value, value_size) = raw(record.value);
    // SAFETY: the arguments are the tagged list that `rd_kafka_producev` documents, each tag followed by the types it
    // takes, closed by END. The bytes are copied (F_COPY) and outlive the call. The opaque is null, as rdkafka makes it
    // from `()`. The headers are ours unless the call succeeds.
    let error = unsafe {
        rdsys::rd_kafka_producev(
            producer.client().native_ptr(),
            vtype::RD_KAFKA_VTYPE_TOPIC,
            topic.as_ptr(),
            vtype::RD_KAFKA_VTYPE_PARTITION,
            record.partition.unwrap_or(PARTITION_UA),
            vtype::RD_KAFKA_VTYPE_MSGFLAGS,
            rdsys::RD_KAFKA_MSG_F_COPY,
            vtype::RD_KAFKA_VTYPE_VALUE,
            value,
            value_size,
            vtype::RD_KAFKA_VTYPE_KEY,
            key,
            key_size,
            vtype::RD_KAFKA_VTYPE_TIMESTAMP,
            record.timestamp.unwrap_or(0),
            vtype::RD_KAFKA_VTYPE_HEADERS,
            headers.0,
            vtype::RD_KAFKA_VTYPE_END,
        )
    };
    if error != NO_ERROR {
        return Err(KafkaError::MessageProduction(error.into()));
    }
    // The queue owns them now.
    std::mem::forget(headers);
    Ok(())
}

/// Sends the queue without lingering, and waits until all records are acknowledged, at most for `timeout`.
///
/// Returns whether all are. A failed delivery counts as pending until its report has been served.
pub fn flush<C: ProducerContext>(producer: &BaseProducer<C>, timeout: Duration) -> bool {
    let ms = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);
    // SAFETY: the client lives as long as `producer`. In the event mode that rdkafka uses the call only waits.
    unsafe { rdsys::rd_kafka_flush(producer.client().native_ptr(), ms) == NO_ERROR }
}

/// Returns pointer and length. A null stays a null; an empty value is none.
fn raw(bytes: Option<&[u8]>) -> (*const c_void, usize) {
    bytes.map_or((ptr::null(), 0), |bytes| (bytes.as_ptr().cast(), bytes.len()))
}

/// A list of headers that no queue owns yet, or null if there are none.
struct Headers(*mut rdsys::rd_kafka_headers_t);

impl Headers {
    fn new(headers: &[Header<'_>]) -> Result<Headers, KafkaError> {
        if headers.is_empty() {
            return Ok(Headers(ptr::null_mut()));
        }
        // SAFETY: takes a number; the list is ours, and destroyed by `drop` unless a queue takes it.
        let list = Headers(unsafe { rdsys::rd_kafka_headers_new(headers.len()) });
        for (name, value) in headers {
            let (value, size) = raw(*value);
            // SAFETY: the list is ours; name and value are given with their sizes, and copied. A size is at most
            // `isize::MAX`, as for every slice.
            let error = unsafe {
                rdsys::rd_kafka_header_add(list.0, name.as_ptr().cast(), name.len() as isize, value, size as isize)
            };
            if error != NO_ERROR {
                return Err(KafkaError::MessageProduction(error.into()));
            }
        }
        Ok(list)
    }
}

impl Drop for Headers {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: made by `rd_kafka_headers_new`, not taken by a queue (then it is forgotten), destroyed once.
            unsafe { rdsys::rd_kafka_headers_destroy(self.0) };
        }
    }
}

/// The identity and size of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDescription {
    /// Base64, as the broker's own tools print it. All zeros from a broker without topic ids.
    pub id: String,
    pub partitions: usize,
}

/// Requests the id and the partitions of a topic from the cluster, and waits for the answer, at most for `timeout`.
///
/// # Errors
///
/// The error of librdkafka or of the broker; `UnknownTopicOrPartition` if there is no such topic.
pub fn describe_topic<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    topic: &str,
    timeout: Duration,
) -> Result<TopicDescription, KafkaError> {
    let name = CString::new(topic)?;
    let ms = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);
    let native = client.client().native_ptr();
    let request = DescribeRequest::new(native, &name);
    // SAFETY: the options are ours; no text of an error is request for.
    unsafe { rdsys::rd_kafka_AdminOptions_set_request_timeout(request.options, ms, ptr::null_mut(), 0) };
    // SAFETY: client, names, options and queue are valid; librdkafka copies names and options before it returns.
    unsafe { rdsys::rd_kafka_DescribeTopics(native, request.topics, request.options, request.queue) };
    // SAFETY: the queue is ours. The request times out by itself; the second more is for its answer to get here.
    let event = unsafe { rdsys::rd_kafka_queue_poll(request.queue, ms.saturating_add(1_000)) };
    if event.is_null() {
        return Err(KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut));
    }
    // SAFETY: the event is valid and ours until it is destroyed below; what is read from it is copied before.
    let result = unsafe { read_description(event) };
    // SAFETY: destroyed once, and not used after.
    unsafe { rdsys::rd_kafka_event_destroy(event) };
    result
}

/// Reads the response to a request for one topic.
///
/// # Safety
///
/// `event` is a valid event.
unsafe fn read_description(event: *mut rdsys::rd_kafka_event_t) -> Result<TopicDescription, KafkaError> {
    // SAFETY: the event is valid.
    let error = unsafe { rdsys::rd_kafka_event_error(event) };
    if error != NO_ERROR {
        return Err(KafkaError::AdminOp(error.into()));
    }
    let (mut topics, mut partitions) = (0, 0);
    // SAFETY: the event is valid; the result is null if it is an event of another kind.
    let result = unsafe { rdsys::rd_kafka_event_DescribeTopics_result(event) };
    if result.is_null() {
        return Err(KafkaError::AdminOp(RDKafkaErrorCode::BadMessage));
    }
    // SAFETY: the result lives as long as the event, and so does the list that it lends.
    let list = unsafe { rdsys::rd_kafka_DescribeTopics_result_topics(result, &mut topics) };
    if list.is_null() || topics == 0 {
        return Err(KafkaError::AdminOp(RDKafkaErrorCode::UnknownTopicOrPartition));
    }
    // SAFETY: the list has at least one element, which lives as long as the event.
    let topic = unsafe { *list };
    // SAFETY: the topic is valid. Its error may be null, which reads as "no error".
    let error = unsafe { rdsys::rd_kafka_error_code(rdsys::rd_kafka_TopicDescription_error(topic)) };
    if error != NO_ERROR {
        return Err(KafkaError::AdminOp(error.into()));
    }
    // SAFETY: the topic is valid; only the count is used.
    unsafe { rdsys::rd_kafka_TopicDescription_partitions(topic, &mut partitions) };
    // SAFETY: the topic has an id, whose text ends in NUL and is kept with it; it is copied here.
    let id =
        unsafe { CStr::from_ptr(rdsys::rd_kafka_Uuid_base64str(rdsys::rd_kafka_TopicDescription_topic_id(topic))) };
    Ok(TopicDescription { id: id.to_string_lossy().into_owned(), partitions })
}

/// The parts of a request for a topic, freed on drop.
struct DescribeRequest {
    topics: *mut rdsys::rd_kafka_TopicCollection_t,
    options: *mut rdsys::rd_kafka_AdminOptions_t,
    queue: *mut rdsys::rd_kafka_queue_t,
}

impl DescribeRequest {
    fn new(native: *mut rdsys::rd_kafka_t, name: &CStr) -> DescribeRequest {
        let mut names = [name.as_ptr()];
        let operation = rdsys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        DescribeRequest {
            // SAFETY: the list has one name, which ends in NUL and is copied.
            topics: unsafe { rdsys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), 1) },
            // SAFETY: the client is valid while the caller holds it.
            options: unsafe { rdsys::rd_kafka_AdminOptions_new(native, operation) },
            // SAFETY: as above.
            queue: unsafe { rdsys::rd_kafka_queue_new(native) },
        }
    }
}

impl Drop for DescribeRequest {
    fn drop(&mut self) {
        // SAFETY: each was created by `new` and is destroyed once. A response that comes later finds no queue and is dropped.
        unsafe {
            rdsys::rd_kafka_queue_destroy(self.queue);
            rdsys::rd_kafka_AdminOptions_destroy(self.options);
            rdsys::rd_kafka_TopicCollection_destroy(self.topics);
        }
    }
}
