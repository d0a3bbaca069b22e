//! The outcomes of input records, in one enumeration (rule: conservation).

/// What became of an input record: every record is exactly one of these.
///
/// The core decides the first four, on a segment; the others are decided before a record gets here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Accepted,
    /// The same file with the same times is remembered: nothing changes.
    Duplicate,
    /// The same file with other times is remembered: nothing changes, and an operator should look.
    Conflict,
    /// Its end is too far behind the watermark.
    Late,
    /// Not a notification that can be read, whatever the state.
    Rejected,
    Hint,
    /// Another event, or a null value.
    Other,
}

impl Outcome {
    pub const ALL: [Outcome; 7] = [
        Outcome::Accepted,
        Outcome::Duplicate,
        Outcome::Conflict,
        Outcome::Late,
        Outcome::Rejected,
        Outcome::Hint,
        Outcome::Other,
    ];

    /// The name of each outcome, in the order of [`Outcome::ALL`].
    pub const NAMES: &'static [&'static str] = &{
        let mut names = [""; Outcome::ALL.len()];
        let mut index = 0;
        while index < names.len() {
            names[index] = Outcome::ALL[index].as_str();
            index += 1;
        }
        names
    };

    /// Returns the name that metrics count it by.
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Accepted => "accepted",
            Outcome::Duplicate => "duplicate",
            Outcome::Conflict => "conflict",
            Outcome::Late => "late",
            Outcome::Rejected => "rejected",
            Outcome::Hint => "hint",
            Outcome::Other => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_kept_by_the_place_in_the_list() {
        for (index, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, index, "{outcome:?} is out of order in ALL");
        }
    }
}
