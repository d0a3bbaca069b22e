//! The forms of a plan, and what each can hold.

use super::address::Fault;
use super::{Item, Plan};
use livesession_grouping::time::Millis;

/// What a plan may open besides itself; `data` for a script within a script.
pub const PROTOCOLS: &str = "file,http,https,tcp,tls,crypto,data";

/// Why a plan cannot be written in the form asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(
        "{form} can name no file of rendition {rendition}, as of file {file_id}: {fault}; edit-request takes file ids"
    )]
    NoAddress { form: &'static str, rendition: usize, file_id: String, fault: Fault },

    #[error("file {file_id} has no VOD file id ({why}): use ffconcat, or a service that takes URLs")]
    NoVodFileId { file_id: String, why: &'static str },

    #[error("the files of an hls rendition are playlists, which a playlist cannot list: use ffconcat")]
    PlaylistOfPlaylists,

    #[error(
        "a playlist takes MP4 files only if they are fragmented, which no notification says: use ffconcat or edit-request"
    )]
    Mp4InPlaylist,

    #[error("a playlist takes ts, aac and mp3 files, and these are {format}: use ffconcat or edit-request")]
    NotInPlaylist { format: String },

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

    /// Returns the plan of the files that this form can name.
    pub fn narrow<'a>(self, plan: &Plan<'a>) -> Plan<'a> {
        match self {
            Form::Ffconcat | Form::M3u8 => plan.addressable(),
            Form::EditRequest => plan.clone(),
        }
    }
}

/// Says whether a media playlist can hold the files of the rendition. Source: RFC 8216 section 3.
///
/// # Errors
///
/// [`Error`] that names the form to use instead.
pub fn is_in_playlist(plan: &Plan<'_>) -> Result<(), Error> {
    if plan.is_format("ts") || is_packed_audio(plan) {
        Ok(())
    } else if plan.is_format("hls") {
        Err(Error::PlaylistOfPlaylists)
    } else if plan.is_format("mp4") {
        Err(Error::Mp4InPlaylist)
    } else {
        let format = plan.kind.format.as_ref().map(|format| format.escape_debug().to_string());
        Err(Error::NotInPlaylist { format: format.unwrap_or_else(|| "of unknown format".to_owned()) })
    }
}

/// Returns whether the files are bare packets of sound, without times and without a length.
pub fn is_packed_audio(plan: &Plan<'_>) -> bool {
    plan.is_format("aac") || plan.is_format("mp3")
}

/// Returns the line that names the plan.
///
/// Formats and templates are free text from notifications: written with their control characters escaped, they cannot
/// begin a line of their own.
pub fn title(plan: &Plan<'_>) -> String {
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

/// Returns the file id if VOD would know it.
pub fn vod_file_id<'a>(item: &Item<'a>) -> Result<&'a str, Error> {
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
pub fn seconds(span: Millis) -> String {
    format!("{}.{:03}", span.as_ms() / 1_000, span.as_ms() % 1_000)
}
