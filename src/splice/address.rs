//! Addresses of files, as a tool may open them.
//!
//! # Trust
//!
//! Addresses come from notifications, and ffmpeg opens what a plan names: local files, devices and a dozen protocols. So a
//! plan names `http` and `https` addresses, and paths only where its user says so. Whatever could end a line is refused.

use std::fmt::Write as _;

/// Which addresses a plan may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// `http` and `https`.
    Web,
    /// Paths and `file:` addresses too.
    WebAndLocal,
}

/// Why a file's address cannot be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("it has no URL")]
    None,

    #[error("its URL is not an http or https address but a path, which --local-files allows")]
    Local,

    #[error("its URL is neither an http or https address nor a path")]
    Scheme,

    #[error("its URL names no host")]
    NoHost,

    #[error("its URL has a control character")]
    Control,
}

/// An address that a tool opens, not yet quoted for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// With blanks, quotes and backslashes percent-encoded, as HTTP needs it; apostrophes stay.
    Web(String),
    /// A path as the file system knows it; one that could be taken for something else begins with `./`.
    Path(String),
}

impl Address {
    pub fn as_str(&self) -> &str {
        match self {
            Address::Web(text) | Address::Path(text) => text,
        }
    }

    /// Returns whether it means the same wherever the plan lies.
    pub fn is_absolute(&self) -> bool {
        match self {
            Address::Web(_) => true,
            Address::Path(path) => path.starts_with('/'),
        }
    }
}

/// Reads the URL of a file.
///
/// # Errors
///
/// [`Fault`] if a plan cannot name the file.
pub fn read(url: Option<&str>, allowed: Addresses) -> Result<Address, Fault> {
    let url = url.map(str::trim).filter(|url| !url.is_empty()).ok_or(Fault::None)?;
    if url.contains(char::is_control) {
        return Err(Fault::Control);
    }
    let path = match url.split_once(':') {
        Some((scheme, rest)) if is_scheme(scheme) => match scheme.to_ascii_lowercase().as_str() {
            "http" | "https" => return web(url, rest),
            "file" => path_of(rest)?,
            _ => return Err(Fault::Scheme),
        },
        _ => url.to_owned(),
    };
    match allowed {
        Addresses::Web => Err(Fault::Local),
        Addresses::WebAndLocal => Ok(Address::Path(plain(path))),
    }
}

/// Returns whether that is the scheme of an address. A single letter is a drive.
fn is_scheme(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    text.len() > 1 && text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(is_part)
}

fn web(url: &str, rest: &str) -> Result<Address, Fault> {
    match rest.strip_prefix("//") {
        Some(host) if !host.is_empty() && !host.starts_with(['/', '?', '#', ':']) => {}
        _ => return Err(Fault::NoHost),
    }
    let mut text = String::with_capacity(url.len());
    for c in url.chars() {
        if c.is_whitespace() || matches!(c, '"' | '\\') {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                let _ = write!(text, "%{byte:02X}");
            }
        } else {
            text.push(c);
        }
    }
    Ok(Address::Web(text))
}

/// Returns the path of a `file:` address. Source: RFC 8089.
fn path_of(rest: &str) -> Result<String, Fault> {
    let path = match rest.strip_prefix("//") {
        None => rest,
        Some(rest) => match rest.find('/') {
            Some(slash) if slash == 0 || rest[..slash].eq_ignore_ascii_case("localhost") => &rest[slash..],
            _ => return Err(Fault::Scheme),
        },
    };
    let path = decoded(path);
    if path.is_empty() {
        Err(Fault::None)
    } else if path.contains(char::is_control) {
        Err(Fault::Control)
    } else {
        Ok(path)
    }
}

/// Decodes percent escapes; a text in which they make no UTF-8 stays as it is.
fn decoded(text: &str) -> String {
    let hex = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], hex(bytes.get(at + 1)), hex(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, _, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

/// Returns a path that nothing takes for an option, a comment or an address.
fn plain(path: String) -> String {
    let has_drive = path.as_bytes().get(1) == Some(&b':') && path.starts_with(|c: char| c.is_ascii_alphabetic());
    if path.starts_with('/') || has_drive { path } else { format!("./{path}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn web(url: &str) -> Result<String, Fault> {
        read(Some(url), Addresses::Web).map(|address| address.as_str().to_owned())
    }

    fn local(url: &str) -> Result<Address, Fault> {
        read(Some(url), Addresses::WebAndLocal)
    }

    #[test]
    fn web_addresses_are_encoded_only_where_http_needs_it() {
        for (url, expected) in [
            ("https://a/b.mp4", "https://a/b.mp4"),
            ("HTTPS://a/b.mp4?x=1&y=#é", "HTTPS://a/b.mp4?x=1&y=#é"),
            ("http://a/it's%20live/b.mp4", "http://a/it's%20live/b.mp4"),
            ("http://a/my show/b.mp4", "http://a/my%20show/b.mp4"),
            (" http://a/b.mp4 ", "http://a/b.mp4"),
            ("http://a/\u{a0}\u{2028}\"\\b", "http://a/%C2%A0%E2%80%A8%22%5Cb"),
            ("http://a:8443/直播间/q?(1),[2];$3", "http://a:8443/直播间/q?(1),[2];$3"),
        ] {
            assert_eq!(web(url).as_deref(), Ok(expected), "{url:?}");
        }
    }

    #[test]
    fn address_that_could_mean_more_than_a_file_is_refused() {
        for (url, expected) in [
            ("/etc/passwd", Fault::Local),
            ("file:///etc/passwd", Fault::Local),
            ("rec/a.mp4", Fault::Local),
            ("concat:https://a|/etc/passwd", Fault::Scheme),
            ("rtmp://a/b", Fault::Scheme),
            ("https://a/b.mp4\nfile '/etc/passwd'", Fault::Control),
            ("https://a/\u{85}b.mp4", Fault::Control),
            ("https:/", Fault::NoHost),
            ("https://", Fault::NoHost),
            ("https:///b", Fault::NoHost),
            ("", Fault::None),
            (" ", Fault::None),
        ] {
            assert_eq!(web(url), Err(expected), "{url:?}");
        }
        assert_eq!(read(None, Addresses::WebAndLocal), Err(Fault::None));
    }

    #[test]
    fn paths_are_those_of_the_file_system() {
        for (url, expected) in [
            ("/rec/it's my show.mp4", "/rec/it's my show.mp4"),
            ("/rec/100%25.mp4", "/rec/100%25.mp4"),
            ("file:///rec/it's%20my%20show.mp4", "/rec/it's my show.mp4"),
            ("FILE://localhost/rec/a.mp4", "/rec/a.mp4"),
            ("file:/rec/100%.mp4", "/rec/100%.mp4"),
            ("file:///rec/%ff.mp4", "/rec/%ff.mp4"),
            ("file:rec/a.mp4", "./rec/a.mp4"),
            ("rec/a.mp4", "./rec/a.mp4"),
            ("#1.ts", "./#1.ts"),
            ("-y", "./-y"),
            ("D:\\rec\\a.mp4", "D:\\rec\\a.mp4"),
        ] {
            assert_eq!(local(url), Ok(Address::Path(expected.to_owned())), "{url:?}");
        }
        for (url, expected) in [
            ("file://host/a.mp4", Fault::Scheme),
            ("file:///a%0ab.mp4", Fault::Control),
            ("file:", Fault::None),
            ("concat:/a|/b", Fault::Scheme),
            ("/a\nb", Fault::Control),
        ] {
            assert_eq!(local(url), Err(expected), "{url:?}");
        }
        assert_eq!(local("https://a/b c"), Ok(Address::Web("https://a/b%20c".to_owned())));
    }
}
