//! All unsafe code of the crate: what librdkafka knows and rdkafka does not say.
//!
//! * the generation and member id of a group consumer, which tell whether we are still in the group;
//! * header names as bytes: rdkafka panics on a name that is not UTF-8, and any producer can write one.
//!
//! Every block has its `SAFETY:`. Nothing here decides anything.

use std::ffi::CStr;
use std::{fmt, ptr, slice};

use rdkafka::bindings as rdsys;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::message::{BorrowedMessage, Message as _};

use super::record::Header;

/// A message that librdkafka holds and lends.
pub struct Message<'a>(BorrowedMessage<'a>);

impl<'a> Message<'a> {
    pub fn new(message: BorrowedMessage<'a>) -> Message<'a> {
        Message(message)
    }

    pub fn partition(&self) -> i32 {
        self.0.partition()
    }

    pub fn offset(&self) -> i64 {
        self.0.offset()
    }

    pub fn timestamp(&self) -> Option<i64> {
        self.0.timestamp().to_millis()
    }

    pub fn key(&self) -> Option<&[u8]> {
        self.0.key()
    }

    pub fn value(&self) -> Option<&[u8]> {
        self.0.payload()
    }

    /// Returns the headers in their order.
    pub fn headers(&self) -> Vec<Header<'_>> {
        let mut headers = ptr::null_mut();
        // SAFETY: the message is valid as long as `self`; on success librdkafka gives a list that the message keeps.
        let error = unsafe { rdsys::rd_kafka_message_headers(self.0.ptr(), &mut headers) };
        if error != rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            // `NOENT`: the record has none.
            return Vec::new();
        }
        // SAFETY: the list is the message's and lives as long as it.
        let count = unsafe { rdsys::rd_kafka_header_cnt(headers) };
        (0..count).map_while(|index| self.header(headers, index)).collect()
    }

    /// Returns the header at `index` of the message's own list, or `None` beyond its end.
    fn header(&self, headers: *const rdsys::rd_kafka_headers_t, index: usize) -> Option<Header<'_>> {
        let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the list is the message's; the out pointers are valid, and set on success.
        let error = unsafe { rdsys::rd_kafka_header_get_all(headers, index, &mut name, &mut value, &mut size) };
        if error != rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        // SAFETY: a name ends in NUL and lives in the list, which lives as long as `self`.
        let name = unsafe { CStr::from_ptr(name) }.to_bytes();
        // SAFETY: a value that is not null has `size` bytes in the same list.
        let value = (!value.is_null()).then(|| unsafe { slice::from_raw_parts(value.cast::<u8>(), size) });
        Some((name, value))
    }
}

impl fmt::Debug for Message<'_> {
    /// Writes where the record is, never what it says: push URLs carry secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message({}/{})", self.partition(), self.offset())
    }
}

/// A member of the group as the coordinator knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Counts rebalances; negative outside of the group.
    pub generation: i32,
    /// Empty outside of the group.
    pub member: String,
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
