//! The closed lists of label values.
//!
//! A label that a stream, a session, a file or an error text could reach would make one series per value, and no alert
//! sums over what does not exist yet. So a value is an enum here, or one of a list given at construction, and every
//! series is there at 0 from the start.
//!
//! These enums repeat what other modules know by richer types, because metrics is a leaf. The outcomes of records are the
//! core's own: a variant that is counted under two names would be hard to find.

/// Declares a list of label values: an enum, its members in order, and the text of each.
macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ })+) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant),+];
            /// The text of each member, in the same order.
            pub const NAMES: &'static [&'static str] = &[$($text),+];
        }
    )+ };
}

pub use livesession_grouping::Outcome;

labels! {
    /// The change that a publication makes to its session.
    Change {
        /// The first revision.
        Closed = "closed",
        Amended = "amended",
        Withdrawn = "withdrawn",
    }

    /// The cause of a watermark advance.
    Advance {
        Segment = "segment",
        Hint = "hint",
        Punctuation = "punctuation",
    }

    /// The outcome of a Kafka transaction.
    Transaction {
        Committed = "committed",
        Aborted = "aborted",
        /// Another producer with the same transactional id has taken over.
        Fenced = "fenced",
        /// It is not known whether it was committed.
        Unknown = "unknown",
    }

    /// A phase of a worker's loop.
    Phase {
        Poll = "poll",
        Decode = "decode",
        Group = "group",
        Encode = "encode",
        Commit = "commit",
        Restore = "restore",
    }

    /// The kind of an assignment change.
    Rebalance {
        Assign = "assign",
        Revoke = "revoke",
        /// Taken away without a chance to commit.
        Lost = "lost",
    }

    /// The kind of an error that the Kafka client reported.
    KafkaError {
        Transport = "transport",
        Auth = "auth",
        Timeout = "timeout",
        Other = "other",
    }

    /// The outcome of an index transaction.
    IndexTransaction {
        Committed = "committed",
        Failed = "failed",
    }

    /// Why the server closed an HTTP connection that the client had not closed.
    HttpClose {
        /// All were in use, and a newer one came.
        Room = "room",
        /// No whole head of a request in time.
        Head = "head",
        /// An answer was not made, or not taken, in time.
        Answer = "answer",
    }

    /// A file of the index.
    IndexFile {
        Db = "db",
        Wal = "wal",
    }
}

/// The lists that other modules own: dead letter reasons, anomalies of accepted notifications, causes of a close.
///
/// Names come in as text, because metrics knows no other module.
#[derive(Clone, Copy, Debug, Default)]
pub struct Labels {
    pub reasons: &'static [&'static str],
    pub anomalies: &'static [&'static str],
    pub causes: &'static [&'static str],
}

/// Returns where `name` stands in `list`.
///
/// # Panics
///
/// In debug builds if it is not there: the list given at construction was incomplete. In release builds the caller counts
/// nothing, since a worker must not stop for a counter.
pub(super) fn place(list: &[&str], name: &str) -> Option<usize> {
    let found = list.iter().position(|known| *known == name);
    debug_assert!(found.is_some(), "unknown label value {name:?}, not in {list:?}");
    found
}
