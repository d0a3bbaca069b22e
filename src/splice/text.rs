//! Plans as the tools take them: ffconcat, a VOD edit request, a playlist, JSON.
//!
//! serde_json is used here because text leaves here.
//!
//! # Limits of the tools
//!
//! | form | takes | does not take |
//! | --- | --- | --- |
//! | ffconcat | `http` and `https` URLs, cuts, gaps kept or closed | files that differ in codecs |
//! | edit-request | VOD file ids, cuts | gaps kept; files that have no VOD file id |
//! | m3u8 | `http` and `https` URLs | cuts, gaps kept, files that are playlists themselves |
//!
//! # Trust
//!
//! URLs come from notifications, and ffmpeg opens what a plan names, local files and devices included. So a URL goes into a
//! plan only if it is `http` or `https` and has no character that could end its line or its quotes.

use serde::Serialize;

use super::{Item, Plan, Seam};
use livesession_grouping::Status;
use livesession_grouping::time::Millis;

/// Why a plan cannot be written in the form asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("file {file_id} has no URL: use edit-request, which takes file ids")]
    NoUrl { file_id: String },

    #[error("the URL of file {file_id} is not a plain http or https URL")]
    UnusableUrl { file_id: String },

    #[error("file {file_id} has no VOD file id ({why}): use ffconcat, or a service that takes URLs")]
    NoVodFileId { file_id: String, why: &'static str },

    #[error("the files of an hls rendition are playlists, which a playlist cannot list: use ffconcat")]
    PlaylistOfPlaylists,

    #[error("{form} cannot keep gaps: use ffconcat, or ComposeMedia with empty track items")]
    CannotKeepGaps { form: &'static str },

    #[error("rendition {rendition} has no file to splice")]
    Nothing { rendition: usize },
}

/// What to do with silences between files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gaps {
    /// The next file follows at once.
    Close,
    /// The next file begins as much later as it did.
    Keep,
}

/// A form that a plan can be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Ffconcat,
    EditRequest,
    M3u8,
}

impl Form {
    pub const ALL: [Form; 3] = [Form::Ffconcat, Form::EditRequest, Form::M3u8];

    pub const fn as_str(self) -> &'static str {
        match self {
            Form::Ffconcat => "ffconcat",
            Form::EditRequest => "edit-request",
            Form::M3u8 => "m3u8",
        }
    }

    /// Reads the name of a form.
    pub fn parse(name: &str) -> Option<Form> {
        Form::ALL.into_iter().find(|form| form.as_str() == name)
    }

    /// Returns the media type of a plan in this form.
    pub const fn media_type(self) -> &'static str {
        match self {
            Form::Ffconcat => "text/plain; charset=utf-8",
            Form::EditRequest => "application/json",
            Form::M3u8 => "application/vnd.apple.mpegurl",
        }
    }

    /// Writes the plan.
    ///
    /// # Errors
    ///
    /// [`Error`] if the tool could not do what the plan says; nothing is left out silently.
    pub fn write(self, plan: &Plan<'_>, gaps: Gaps) -> Result<String, Error> {
        if plan.items.is_empty() {
            return Err(Error::Nothing { rendition: plan.rendition });
        }
        if gaps == Gaps::Keep && self != Form::Ffconcat && plan.has_gaps() {
            return Err(Error::CannotKeepGaps { form: self.as_str() });
        }
        match self {
            Form::Ffconcat => ffconcat(plan, gaps),
            Form::EditRequest => edit_request(plan),
            Form::M3u8 => m3u8(plan),
        }
    }
}

/// Writes a script for ffmpeg's concat demuxer.
///
/// To keep gaps every file but the last is given the time until the next one as its duration, so that also a file with less media
/// than its interval leaves the next one in its place.
fn ffconcat(plan: &Plan<'_>, gaps: Gaps) -> Result<String, Error> {
    let mut text = String::from("ffconcat version 1.0\n");
    text.push_str(&format!("# {}\n", title(plan)));
    text.push_str(
        "# ffmpeg -f concat -safe 0 -protocol_whitelist file,http,https,tcp,tls,crypto -i PLAN -c copy OUT\n",
    );
    for (item, next) in plan.items.iter().zip(plan.items.iter().skip(1).map(Some).chain([None])) {
        let url = plain_url(item)?;
        match item.before {
            Seam::First | Seam::Joined => {}
            Seam::Gap(length) => text.push_str(&format!("# gap of {} s\n", seconds(length))),
            Seam::Overlap(length) => text.push_str(&format!("# overlap of {} s, cut off\n", seconds(length))),
        }
        // plain_url lets no quote through; were one in it, this is how ffconcat takes it.
        text.push_str(&format!("file '{}'\n", url.replace('\'', r"'\''")));
        if item.inpoint() > Millis::ZERO {
            text.push_str(&format!("inpoint {}\n", seconds(item.inpoint())));
        }
        if let (Gaps::Keep, Some(next)) = (gaps, next) {
            let until_next = next.shown_from().since(item.shown_from());
            text.push_str(&format!("duration {}\n", seconds(until_next)));
        }
    }
    Ok(text)
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
            start_time_offset: item.inpoint().as_ms() as f64 / 1_000.0,
            end_time_offset: 0.0,
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
/// A player shows where it is by `EXT-X-PROGRAM-DATE-TIME`, which keeps the gaps although playing does not.
fn m3u8(plan: &Plan<'_>) -> Result<String, Error> {
    if plan.kind.format.as_deref() == Some("hls") {
        return Err(Error::PlaylistOfPlaylists);
    }
    let media = |item: &Item<'_>| {
        item.segment.media_ms.and_then(Millis::from_ms).unwrap_or(item.segment.end.since(item.segment.start))
    };
    let longest = plan.items.iter().map(media).max().unwrap_or_default();
    let mut text = String::from("#EXTM3U\n#EXT-X-VERSION:3\n");
    text.push_str(&format!("## {}\n", title(plan)));
    text.push_str("#EXT-X-PLAYLIST-TYPE:VOD\n");
    text.push_str(&format!("#EXT-X-TARGETDURATION:{}\n", (longest.as_ms() + 999) / 1_000));
    for (index, item) in plan.items.iter().enumerate() {
        let url = plain_url(item)?;
        if index > 0 {
            text.push_str("#EXT-X-DISCONTINUITY\n");
        }
        if let Seam::Overlap(length) = item.before {
            text.push_str(&format!("## overlap of {} s, shown twice\n", seconds(length)));
        }
        text.push_str(&format!("#EXT-X-PROGRAM-DATE-TIME:{}\n", item.segment.start));
        text.push_str(&format!("#EXTINF:{},\n{url}\n", seconds(media(item))));
    }
    text.push_str("#EXT-X-ENDLIST\n");
    Ok(text)
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
    duration_ms: i64,
    media_ms: Option<i64>,
    before: &'static str,
    before_ms: i64,
    inpoint_ms: i64,
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
        duration_ms: segment.duration_ms,
        media_ms: segment.media_ms,
        before: item.before.as_str(),
        before_ms: item.before.length().as_ms(),
        inpoint_ms: item.inpoint().as_ms(),
    }
}

/// Returns what a person should know before carrying out the plan.
pub fn notes(plan: &Plan<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    let count = plan.items.len();
    if plan.has_cuts() {
        notes.push(
            "overlaps are cut by wall-clock time; a file with less media than its interval may lose too much"
                .to_owned(),
        );
        notes.push("m3u8 cannot cut: overlaps are shown twice there".to_owned());
    }
    if plan.items.iter().any(|item| vod_file_id(item).is_err()) {
        notes.push("VOD EditMedia and FastEditMedia need VOD file ids, which not all files have".to_owned());
    }
    for (limit, tool) in [(100, "VOD FastEditMedia"), (500, "VOD ComposeMedia")] {
        if count > limit {
            notes.push(format!("{count} files are more than the {limit} that {tool} takes"));
        }
    }
    if plan.session.status == Status::Open {
        notes.push("the session is still open: a later plan will have more files".to_owned());
    }
    notes
}

/// Returns the line that names the plan.
///
/// Formats and templates are free text from notifications: written with their control characters escaped, they cannot
/// begin a line of their own.
fn title(plan: &Plan<'_>) -> String {
    let session = plan.session;
    let name =
        |text: &Option<String>| text.as_ref().map_or("unknown".to_owned(), |text| text.escape_debug().to_string());
    let bitrate = match plan.kind.bitrate_kbps {
        None => "unknown".to_owned(),
        Some(0) => "original".to_owned(),
        Some(kbps) => format!("{kbps} kbps"),
    };
    format!(
        "session {} revision {}, rendition {} (format {}, template {}, bitrate {bitrate})",
        session.session_id,
        session.revision,
        plan.rendition,
        name(&plan.kind.format),
        name(&plan.kind.template_id),
    )
}

/// Returns the URL of a file if nothing but a file can be meant by it.
fn plain_url<'a>(item: &Item<'a>) -> Result<&'a str, Error> {
    let segment = item.segment;
    let Some(url) = segment.url.as_deref() else {
        return Err(Error::NoUrl { file_id: segment.file_id.clone() });
    };
    let lower = url.get(..8).unwrap_or(url).to_ascii_lowercase();
    let is_http = lower.starts_with("http://") || lower.starts_with("https://");
    let is_plain = !url.contains(|c: char| c.is_control() || c.is_whitespace() || matches!(c, '\'' | '"' | '\\'));
    if is_http && is_plain { Ok(url) } else { Err(Error::UnusableUrl { file_id: segment.file_id.clone() }) }
}

/// Returns the file id if VOD would know it.
fn vod_file_id<'a>(item: &Item<'a>) -> Result<&'a str, Error> {
    let segment = item.segment;
    let refuse = |why| Err(Error::NoVodFileId { file_id: segment.file_id.clone(), why });
    if segment.anomalies.iter().any(|name| name == "url_as_id") {
        return refuse("its URL stands for it");
    }
    if let Some((account, hash)) = segment.file_id.split_once('_') {
        let is_cos = !account.is_empty()
            && account.bytes().all(|byte| byte.is_ascii_digit())
            && hash.len() == 32
            && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_cos {
            return refuse("it is stored in COS");
        }
    }
    Ok(&segment.file_id)
}

/// Writes seconds with three decimals, exactly.
fn seconds(span: Millis) -> String {
    format!("{}.{:03}", span.as_ms() / 1_000, span.as_ms() % 1_000)
}

fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("plain structs with text keys can always be written")
}
