//! Plans as the tools take them: ffconcat, a VOD edit request, a playlist, JSON.
//!
//! serde_json is used here because text leaves here.
//!
//! # Limits of the tools
//!
//! | form | takes | does not take |
//! | --- | --- | --- |
//! | ffconcat | addresses, cuts, gaps kept or closed | files that differ in codecs |
//! | edit-request | VOD file ids, cuts | gaps kept; files that have no VOD file id |
//! | m3u8 | addresses of ts, aac and mp3 files | cuts, gaps kept, mp4, flv, files that are playlists themselves |
//!
//! A file whose address cannot be named is left out, and the plan says so; what an address may be is in [`super::address`].

use serde::Serialize;

use super::address::{self, Address, Fault};
use super::form::{Error, Form, Gaps, PROTOCOLS, is_in_playlist, seconds, title, vod_file_id};
use super::notes::{notes, notes_for};
use super::{Item, Plan, Seam, Why};
use livesession_formats::session::record::Segment;
use livesession_grouping::time::Millis;

impl Form {
    /// Writes the plan of the files that this form can name.
    ///
    /// # Errors
    ///
    /// [`Error`] if the tool could not do what the plan says.
    pub fn write(self, plan: &Plan<'_>, gaps: Gaps) -> Result<String, Error> {
        if plan.items.is_empty() {
            return Err(Error::Nothing { rendition: plan.rendition });
        }
        if self == Form::M3u8 {
            is_in_playlist(plan)?;
        }
        let plan = self.narrow(plan);
        if plan.items.is_empty() {
            return Err(self.nothing(&plan));
        }
        if gaps == Gaps::Keep && self != Form::Ffconcat && plan.has_gaps() {
            return Err(Error::CannotKeepGaps { form: self.as_str() });
        }
        match self {
            Form::Ffconcat => Ok(super::ffconcat::script(&plan, gaps, &self.addresses(&plan)?)),
            Form::EditRequest => edit_request(&plan),
            Form::M3u8 => Ok(m3u8(&plan, &self.addresses(&plan)?)),
        }
    }

    /// Returns the address of each file of the plan.
    fn addresses(self, plan: &Plan<'_>) -> Result<Vec<Address>, Error> {
        let address = |item: &Item<'_>| {
            address::read(item.segment.url.as_deref(), plan.addresses)
                .map_err(|fault| self.no_address(plan, item.segment, fault))
        };
        plan.items.iter().map(address).collect()
    }

    fn nothing(self, plan: &Plan<'_>) -> Error {
        let refused = plan.left_out.iter().find_map(|(segment, why)| match why {
            Why::Address(fault) => Some((segment, *fault)),
            Why::Covered | Why::Empty => None,
        });
        match refused {
            None => Error::Nothing { rendition: plan.rendition },
            Some((segment, fault)) => self.no_address(plan, segment, fault),
        }
    }

    fn no_address(self, plan: &Plan<'_>, segment: &Segment, fault: Fault) -> Error {
        let file_id = segment.file_id.escape_debug().to_string();
        Error::NoAddress { form: self.as_str(), rendition: plan.rendition, file_id, fault }
    }
}

/// The body of VOD `EditMedia`. Source: VOD API, `EditMedia`; an end of 0 is the end of the file.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct EditMedia<'a> {
    input_type: &'static str,
    file_infos: Vec<FileInfo<'a>>,
    session_id: String,
    session_context: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct FileInfo<'a> {
    file_id: &'a str,
    start_time_offset: f64,
    end_time_offset: f64,
}

fn edit_request(plan: &Plan<'_>) -> Result<String, Error> {
    let mut file_infos = Vec::with_capacity(plan.items.len());
    for item in &plan.items {
        file_infos.push(FileInfo {
            file_id: vod_file_id(item)?,
            start_time_offset: 0.0,
            end_time_offset: item.outpoint.map_or(0.0, |outpoint| outpoint.as_ms() as f64 / 1_000.0),
        });
    }
    let session = plan.session;
    let request = EditMedia {
        input_type: "File",
        file_infos,
        session_id: plan.request_id(),
        session_context: format!("{} revision {} rendition {}", session.session_id, session.revision, plan.rendition),
    };
    Ok(to_json(&request))
}

/// Writes a playlist whose entries are whole files.
///
/// A player shows where it is by `EXT-X-PROGRAM-DATE-TIME`, which keeps the gaps although playing does not. Paths are as the
/// file system knows them: what opens a playlist of paths is ffmpeg, or a player built on it, and it decodes nothing.
fn m3u8(plan: &Plan<'_>, addresses: &[Address]) -> String {
    let longest = plan.items.iter().map(Item::length).max().unwrap_or_default();
    let mut text = String::from("#EXTM3U\n#EXT-X-VERSION:3\n");
    text.push_str(&format!("## {}\n", title(plan)));
    text.push_str(&format!(
        "## ffmpeg -protocol_whitelist {PROTOCOLS} -allowed_extensions ALL -i PLAN.m3u8 -c copy OUT.mkv\n"
    ));
    for note in notes_for(plan, Form::M3u8) {
        text.push_str(&format!("## note: {note}\n"));
    }
    text.push_str("#EXT-X-PLAYLIST-TYPE:VOD\n");
    text.push_str(&format!("#EXT-X-TARGETDURATION:{}\n", (longest.as_ms() + 999) / 1_000));
    for (index, (item, address)) in plan.items.iter().zip(addresses).enumerate() {
        if index > 0 {
            text.push_str("#EXT-X-DISCONTINUITY\n");
        }
        if let Seam::Overlap(length) = item.before {
            text.push_str(&format!("## overlap of {} s, shown twice\n", seconds(length)));
        }
        text.push_str(&format!("#EXT-X-PROGRAM-DATE-TIME:{}\n", item.from));
        text.push_str(&format!("#EXTINF:{},\n{}\n", seconds(item.length()), address.as_str()));
    }
    text.push_str("#EXT-X-ENDLIST\n");
    text
}

/// A plan as JSON, for programs that splice in their own way.
#[derive(Debug, Serialize)]
pub struct PlanJson<'a> {
    session_id: String,
    revision: u32,
    rendition: usize,
    format: Option<&'a str>,
    template_id: Option<&'a str>,
    bitrate_kbps: Option<i64>,
    request_id: String,
    items: Vec<ItemJson<'a>>,
    left_out: Vec<LeftOutJson<'a>>,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ItemJson<'a> {
    file_id: &'a str,
    url: Option<&'a str>,
    start: String,
    end: String,
    /// How long the film shows the file.
    duration_ms: i64,
    media_ms: Option<i64>,
    before: &'static str,
    before_ms: i64,
    /// Always 0: a beginning is never cut. Readers that take both ends find both.
    inpoint_ms: i64,
    outpoint_ms: Option<i64>,
}

#[derive(Debug, Serialize)]
struct LeftOutJson<'a> {
    file_id: &'a str,
    reason: &'static str,
}

/// Writes the plan as one line of JSON.
pub fn json(plan: &Plan<'_>) -> String {
    to_json(&plan_json(plan))
}

/// Returns the plan in the form that is written as JSON.
pub fn plan_json<'a>(plan: &Plan<'a>) -> PlanJson<'a> {
    PlanJson {
        session_id: plan.session.session_id.to_string(),
        revision: plan.session.revision,
        rendition: plan.rendition,
        format: plan.kind.format.as_deref(),
        template_id: plan.kind.template_id.as_deref(),
        bitrate_kbps: plan.kind.bitrate_kbps,
        request_id: plan.request_id(),
        items: plan.items.iter().map(item_json).collect(),
        left_out: plan
            .left_out
            .iter()
            .map(|(segment, why)| LeftOutJson { file_id: &segment.file_id, reason: why.as_str() })
            .collect(),
        notes: notes(plan),
    }
}

fn item_json<'a>(item: &Item<'a>) -> ItemJson<'a> {
    let segment = item.segment;
    ItemJson {
        file_id: &segment.file_id,
        url: segment.url.as_deref(),
        start: segment.start.to_string(),
        end: segment.end.to_string(),
        duration_ms: item.until().since(item.from).as_ms(),
        media_ms: segment.media_ms,
        before: item.before.as_str(),
        before_ms: item.before.length().as_ms(),
        inpoint_ms: 0,
        outpoint_ms: item.outpoint.map(Millis::as_ms),
    }
}

fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("plain structs with text keys can always be written")
}
