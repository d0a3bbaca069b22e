//! Forged responses: errors to the requests of a transaction and of a group member.
//!
//! Of each kind only the versions that librdkafka speaks. The *flexible* ones write lengths as varints, one more than
//! they are, and end every structure with a count of tagged fields.
//!
//! Source: Kafka's protocol guide, and `clients/src/main/resources/common/message` of its source.

use super::{Api, Request};

/// Returns the frame that answers `request` with `code`.
pub fn refuse(request: Request<'_>, code: i16) -> Vec<u8> {
    let correlation = request.correlation.to_be_bytes();
    const NO_THROTTLE: [u8; 4] = [0; 4];
    let code = code.to_be_bytes();
    match (request.api, request.version) {
        (Api::END_TXN | Api::ADD_OFFSETS_TO_TXN, 0..=2) | (Api::HEARTBEAT, 1..=3) => {
            [&correlation[..], &NO_THROTTLE, &code].concat()
        }
        (Api::TXN_OFFSET_COMMIT, 3..=5) => {
            let mut frame = [&correlation[..], &[0], &NO_THROTTLE].concat();
            refuse_offsets(request.rest, code, &mut frame).expect("the request of a client is whole");
            frame
        }
        (api, version) => panic!("no answer to {api:?} version {version}: add it here"),
    }
}

/// Returns the error code in the broker's answer to a kept request; of offsets that of the first partition.
pub fn code(request: Request<'_>, response: &[u8]) -> i16 {
    let mut answer = Reader(response);
    let code = match (request.api, request.version) {
        // Correlation id, throttle time.
        (Api::END_TXN, 0..=2) => answer.take(4 + 4).and_then(|_| answer.short()),
        (Api::INIT_PRODUCER_ID, 2..=5) => answer.flexible_head().and_then(|()| answer.short()),
        (Api::TXN_OFFSET_COMMIT, 3..=5) => answer.first_offset(),
        (api, version) => panic!("no code in the answer to {api:?} version {version}: add it here"),
    };
    code.expect("the answer of a broker is whole")
}

/// Answers every partition of a commit of offsets with the same error.
fn refuse_offsets(rest: &[u8], code: [u8; 2], out: &mut Vec<u8>) -> Option<()> {
    let mut request = Reader(rest);
    let client_id = request.short()?;
    request.take(usize::try_from(client_id).unwrap_or(0))?;
    request.tags()?;
    request.text()?; // transactional id
    request.text()?; // group
    request.take(8 + 2 + 4)?; // producer id, epoch, generation
    request.text()?; // member id
    request.text()?; // group instance id
    let topics = request.count(out)?;
    for _ in 0..topics {
        let name = request.text()?;
        out.extend_from_slice(name);
        let partitions = request.count(out)?;
        for _ in 0..partitions {
            out.extend_from_slice(request.take(4)?);
            request.take(8 + 4)?; // offset, leader epoch
            request.text()?; // metadata
            request.tags()?;
            out.extend_from_slice(&code);
            out.push(0);
        }
        request.tags()?;
        out.push(0);
    }
    out.push(0);
    Some(())
}

/// What is left of a request. Returns `None` where it ends too soon.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn short(&mut self) -> Option<i16> {
        Some(i16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    /// Skips the correlation id and the throttle time of an answer in a flexible version.
    fn flexible_head(&mut self) -> Option<()> {
        self.take(4)?;
        self.tags()?;
        self.take(4)?;
        Some(())
    }

    /// Reads the error code of the first partition in an answer to a commit of offsets.
    fn first_offset(&mut self) -> Option<i16> {
        self.flexible_head()?;
        self.varint()?; // topics
        self.text()?;
        self.varint()?; // partitions
        self.take(4)?;
        self.short()
    }

    /// Reads a varint without sign.
    fn varint(&mut self) -> Option<usize> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.take(1)?[0];
            value |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// Reads a text or null; returns it as it stands, with its length.
    fn text(&mut self) -> Option<&'a [u8]> {
        let start = self.0;
        let length = self.varint()?.saturating_sub(1);
        self.take(length)?;
        Some(&start[..start.len() - self.0.len()])
    }

    /// Reads the length of a list, and writes it as it stands.
    fn count(&mut self, out: &mut Vec<u8>) -> Option<usize> {
        let start = self.0;
        let count = self.varint()?.saturating_sub(1);
        out.extend_from_slice(&start[..start.len() - self.0.len()]);
        Some(count)
    }

    /// Skips tagged fields.
    fn tags(&mut self) -> Option<()> {
        for _ in 0..self.varint()? {
            self.varint()?;
            let length = self.varint()?;
            self.take(length)?;
        }
        Some(())
    }
}
