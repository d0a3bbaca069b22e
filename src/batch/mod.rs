//! Notifications in files to sessions, without Kafka.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `source`, `split`, `input` | files → records |
//! | `replay` | records → what the core makes of them, one state for each partition |
//! | `finals` | which of the publications are final |
//! | `limits` | sessions of a set that are beyond a limit |
//! | `index_file` | sessions → an index |
//! | `explain`, `what_if` | answers about the grouping instead of sessions |
//! | `dead_letters`, `tally` | dead letters, the summary |

pub mod dead_letters;
pub mod explain;
pub mod finals;
pub mod index_file;
pub mod input;
pub mod limits;
pub mod replay;
pub mod source;
pub mod split;
pub mod tally;
pub mod what_if;
