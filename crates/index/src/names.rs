//! A list of names as a JSON array, for the column `anomalies`.
//!
//! By hand, because serde stops in `wire`: the only escapes are those that JSON asks for, and the only texts that are read
//! are those that were written here.

/// Writes names as a JSON array of strings.
pub(super) fn write(names: &[String]) -> String {
    let mut text = String::from("[");
    for (index, name) in names.iter().enumerate() {
        text.push_str(if index == 0 { "\"" } else { ",\"" });
        for character in name.chars() {
            match character {
                '"' | '\\' => text.extend(['\\', character]),
                '\0'..='\x1f' => text.push_str(&format!("\\u{:04x}", u32::from(character))),
                _ => text.push(character),
            }
        }
        text.push('"');
    }
    text.push(']');
    text
}

/// Reads back what [`write()`] wrote.
pub(super) fn read(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut name: Option<String> = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, &mut name) {
            ('"', None) => name = Some(String::new()),
            ('"', Some(_)) => names.extend(name.take()),
            ('\\', Some(open)) => open.extend(unescape(&mut characters)),
            (_, Some(open)) => open.push(character),
            // Brackets and commas.
            (_, None) => {}
        }
    }
    names
}

/// Reads what follows a backslash.
fn unescape(characters: &mut std::str::Chars<'_>) -> Option<char> {
    match characters.next()? {
        'u' => {
            let digits: String = characters.take(4).collect();
            u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32)
        }
        other => Some(other),
    }
}
