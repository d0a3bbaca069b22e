//! Segments: the recorded intervals that readable notifications announce.
//!
//! [`NewSegment`] borrows from the record that announced it; a [`Segment`] is what is remembered. A record that turns out
//! to be late or a duplicate never becomes a `Segment`, so refusing allocates nothing.
//!
//! The texts of a segment live in one allocation: at a million open segments, five small strings each would cost more
//! than the texts themselves.

use crate::time::Timestamp;
use alloc::boxed::Box;
use alloc::string::String;

/// The *next* offset to read, or the offset of a record in the input partition.
pub type Offset = i64;

/// An oddity of an accepted notification, in the order in which they are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Anomaly {
    /// An attribute had another type than documented, and is null.
    FieldUnreadable,
    /// The start was unusable and was rebuilt from end and duration.
    StartRebuilt,
    /// A time was not in seconds.
    TimeScaled,
    /// There was no file id; the URL serves as one.
    UrlAsId,
    /// The microsecond parts were present and not used.
    UsecIgnored,
}

impl Anomaly {
    pub const ALL: [Anomaly; 5] =
        [Anomaly::FieldUnreadable, Anomaly::StartRebuilt, Anomaly::TimeScaled, Anomaly::UrlAsId, Anomaly::UsecIgnored];

    pub const fn as_str(self) -> &'static str {
        match self {
            Anomaly::FieldUnreadable => "field_unreadable",
            Anomaly::StartRebuilt => "start_rebuilt",
            Anomaly::TimeScaled => "time_scaled",
            Anomaly::UrlAsId => "url_as_id",
            Anomaly::UsecIgnored => "usec_ignored",
        }
    }

    /// Returns the anomaly with that name.
    pub fn parse(name: &str) -> Option<Anomaly> {
        Anomaly::ALL.into_iter().find(|anomaly| anomaly.as_str() == name)
    }
}

/// A set of anomalies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Anomalies(u8);

impl Anomalies {
    pub const NONE: Anomalies = Anomalies(0);

    pub fn insert(&mut self, anomaly: Anomaly) {
        self.0 |= 1 << anomaly as u8;
    }

    pub const fn contains(self, anomaly: Anomaly) -> bool {
        self.0 & (1 << anomaly as u8) != 0
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Lists the members in the order of [`Anomaly::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Anomaly> {
        Anomaly::ALL.into_iter().filter(move |anomaly| self.contains(*anomaly))
    }
}

impl FromIterator<Anomaly> for Anomalies {
    fn from_iter<I: IntoIterator<Item = Anomaly>>(anomalies: I) -> Anomalies {
        let mut set = Anomalies::NONE;
        anomalies.into_iter().for_each(|anomaly| set.insert(anomaly));
        set
    }
}

/// A readable segment, borrowed from the record that announced it.
///
/// Empty texts do not occur: absent is `None`. Numbers are never negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewSegment<'a> {
    pub file_id: &'a str,
    pub start: Timestamp,
    /// Exclusive; never before `start`.
    pub end: Timestamp,
    pub url: Option<&'a str>,
    pub format: Option<&'a str>,
    pub task_id: Option<&'a str>,
    pub template_id: Option<&'a str>,
    /// Of the transcoded rendition; 0 is the original.
    pub bitrate_kbps: Option<i64>,
    /// The notification's `duration`, in milliseconds. An attribute: never used for gaps.
    pub media_ms: Option<i64>,
    pub size_bytes: Option<i64>,
    pub anomalies: Anomalies,
}

/// A remembered segment.
pub struct Segment {
    start: Timestamp,
    end: Timestamp,
    offset: Offset,
    bitrate_kbps: i64,
    media_ms: i64,
    size_bytes: i64,
    /// file_id, url, format, task_id, template_id, one after another.
    texts: Box<str>,
    /// The ends of all texts but the last in `texts`, in bytes.
    ends: [u32; 4],
    /// Kept, because a segment is weighed whenever a session grows, and when it is remembered and forgotten.
    text_bytes: u32,
    anomalies: Anomalies,
}

/// The stored form of an absent number: no number is negative.
const ABSENT: i64 = -1;

impl Segment {
    /// Keeps `new`, announced by the record at `offset`.
    pub fn new(offset: Offset, new: &NewSegment<'_>) -> Segment {
        let parts =
            [Some(new.file_id), new.url, new.format, new.task_id, new.template_id].map(Option::unwrap_or_default);
        let mut texts = String::with_capacity(parts.iter().map(|part| part.len()).sum());
        let mut ends = [0; 4];
        for (index, part) in parts.iter().enumerate() {
            texts.push_str(part);
            if let Some(end) = ends.get_mut(index) {
                // A record is at most 256 KiB, so its texts are.
                *end = u32::try_from(texts.len()).unwrap_or(u32::MAX);
            }
        }
        Segment {
            start: new.start,
            end: new.end,
            offset,
            bitrate_kbps: new.bitrate_kbps.unwrap_or(ABSENT),
            media_ms: new.media_ms.unwrap_or(ABSENT),
            size_bytes: new.size_bytes.unwrap_or(ABSENT),
            texts: texts.into_boxed_str(),
            ends,
            text_bytes: u32::try_from(new.text_bytes()).unwrap_or(u32::MAX),
            anomalies: new.anomalies,
        }
    }

    /// Borrows the segment in the form in which it came.
    pub fn view(&self) -> NewSegment<'_> {
        NewSegment {
            file_id: self.file_id(),
            start: self.start,
            end: self.end,
            url: self.url(),
            format: self.format(),
            task_id: self.task_id(),
            template_id: self.template_id(),
            bitrate_kbps: self.bitrate_kbps(),
            media_ms: self.media_ms(),
            size_bytes: self.size_bytes(),
            anomalies: self.anomalies,
        }
    }

    pub fn start(&self) -> Timestamp {
        self.start
    }

    pub fn end(&self) -> Timestamp {
        self.end
    }

    /// Returns the input offset of the record that announced it: the order of acceptance.
    pub fn offset(&self) -> Offset {
        self.offset
    }

    pub fn file_id(&self) -> &str {
        &self.texts[..self.ends[0] as usize]
    }

    pub fn url(&self) -> Option<&str> {
        self.text(1)
    }

    pub fn format(&self) -> Option<&str> {
        self.text(2)
    }

    pub fn task_id(&self) -> Option<&str> {
        self.text(3)
    }

    pub fn template_id(&self) -> Option<&str> {
        self.text(4)
    }

    pub fn bitrate_kbps(&self) -> Option<i64> {
        (self.bitrate_kbps >= 0).then_some(self.bitrate_kbps)
    }

    pub fn media_ms(&self) -> Option<i64> {
        (self.media_ms >= 0).then_some(self.media_ms)
    }

    pub fn size_bytes(&self) -> Option<i64> {
        (self.size_bytes >= 0).then_some(self.size_bytes)
    }

    pub fn anomalies(&self) -> Anomalies {
        self.anomalies
    }

    /// Returns what the segment counts towards `max_session_bytes`.
    pub fn text_bytes(&self) -> u64 {
        u64::from(self.text_bytes)
    }

    fn text(&self, index: usize) -> Option<&str> {
        let start = self.ends[index - 1] as usize;
        let end = self.ends.get(index).map_or(self.texts.len(), |end| *end as usize);
        (start < end).then(|| &self.texts[start..end])
    }
}

impl<'a> NewSegment<'a> {
    /// Returns a segment without any attribute.
    pub const fn new(file_id: &'a str, start: Timestamp, end: Timestamp) -> NewSegment<'a> {
        NewSegment {
            file_id,
            start,
            end,
            url: None,
            format: None,
            task_id: None,
            template_id: None,
            bitrate_kbps: None,
            media_ms: None,
            size_bytes: None,
            anomalies: Anomalies::NONE,
        }
    }

    /// Returns what the segment counts towards `max_session_bytes`: its texts as they are written in a JSON string.
    ///
    /// Escapes count as written, since a control character takes six bytes there; format and template count twice,
    /// because they are written again when they make a rendition of their own. So the sum over a session bounds the text
    /// in its record, and a session that keeps the limit fits.
    pub fn text_bytes(&self) -> u64 {
        let once = [Some(self.file_id), self.url, self.format, self.task_id, self.template_id];
        let again = [self.format, self.template_id];
        once.into_iter().chain(again).flatten().map(written_bytes).sum()
    }
}

/// Returns the length of `text` inside a JSON string.
fn written_bytes(text: &str) -> u64 {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' => 1,
        0..=0x1f => 5,
        _ => 0,
    };
    text.len() as u64 + text.bytes().map(escaped).sum::<u64>()
}

impl core::fmt::Debug for Segment {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Segment").field("offset", &self.offset).field("view", &self.view()).finish()
    }
}

impl PartialEq for Segment {
    fn eq(&self, other: &Segment) -> bool {
        self.offset == other.offset && self.view() == other.view()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn full() -> NewSegment<'static> {
        NewSegment {
            file_id: "f-1",
            start: Timestamp::from_ms(1_000).unwrap(),
            end: Timestamp::from_ms(2_000).unwrap(),
            url: Some("http://vod.example.com/1.mp4"),
            format: Some("mp4"),
            task_id: Some("7"),
            template_id: Some("te\"mp"),
            bitrate_kbps: Some(0),
            media_ms: Some(990),
            size_bytes: Some(0),
            anomalies: [Anomaly::UsecIgnored, Anomaly::StartRebuilt].into_iter().collect(),
        }
    }

    #[test]
    fn remembered_segment_gives_back_what_came() {
        let full = full();
        let bare = NewSegment::new(full.file_id, full.start, full.end);
        let mixed = NewSegment { url: None, task_id: None, ..full };
        for new in [full, bare, mixed] {
            assert_eq!(Segment::new(7, &new).view(), new);
        }
    }

    #[test]
    fn text_counts_as_it_is_written() {
        // 3 + 28 + 3 + 1 + 5, one quote escaped, format and template again.
        assert_eq!(full().text_bytes(), 3 + 28 + 3 + 1 + 6 + 3 + 6);
        assert_eq!(written_bytes("a\u{1}é\\"), 1 + 6 + 2 + 2);
    }

    #[test]
    fn anomalies_are_listed_in_their_order() {
        let names: Vec<_> = full().anomalies.iter().map(Anomaly::as_str).collect();
        assert_eq!(names, ["start_rebuilt", "usec_ignored"]);
    }

    #[test]
    fn segment_stays_small() {
        assert!(size_of::<Segment>() <= 88, "{} bytes", size_of::<Segment>());
    }
}
