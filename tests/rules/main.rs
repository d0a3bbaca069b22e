//! The rules of grouping: scenarios, drawings, random worlds. `docs/rules.md` names the tests of each rule.

mod names;
mod oracle;
mod properties;
mod scenarios;
mod timelines;
