//! Problems of a configuration: all of them at once, each with its origin and its repair.
//!
//! Problems quote values only of settings that hold no secret, and never a line of a file.

use std::fmt;
use std::path::PathBuf;

use crate::exit::{Exit, Failure};
use crate::text;

/// The origin of a setting's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    File {
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// The name of the environment variable.
    Environment(String),
    /// The name of the flag, without its dashes.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Environment(name) => write!(f, "environment {name}"),
            Origin::Flag(name) => write!(f, "flag --{name}"),
        }
    }
}

/// One problem of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The setting to look at first, by its full name; or what stands where a setting should.
    pub setting: String,
    pub origin: Option<Origin>,
    /// Settings that it was compared with, except those at their defaults.
    pub others: Vec<(String, Origin)>,
    pub text: String,
    /// What to do; empty if the text says it.
    pub repair: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.setting)?;
        if let Some(origin) = &self.origin {
            write!(f, " ({origin}")?;
            for (setting, other) in &self.others {
                write!(f, "; {setting}: {other}")?;
            }
            f.write_str(")")?;
        }
        write!(f, ": {}", self.text)?;
        if !self.repair.is_empty() {
            write!(f, "; {}", self.repair)?;
        }
        Ok(())
    }
}

/// All problems of a configuration, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Returns whether flags alone are wrong, so that correcting the command line is enough.
    pub fn only_flags(&self) -> bool {
        self.0.iter().all(|problem| {
            let mut set = problem.origin.iter().chain(problem.others.iter().map(|(_, origin)| origin));
            let is_flag = |origin: &Origin| matches!(origin, Origin::Flag(_));
            set.clone().any(is_flag) && set.all(|origin| is_flag(origin) || *origin == Origin::Default)
        })
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in the configuration", text::count(self.0.len(), "problem"))?;
        for problem in &self.0 {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl From<Problems> for Failure {
    /// Wrong flags alone are a wrong command line; anything else is a wrong configuration.
    fn from(problems: Problems) -> Failure {
        let exit = if problems.only_flags() { Exit::Usage } else { Exit::Config };
        Failure::new(exit, problems.to_string())
    }
}

/// Returns the known name that was probably meant.
///
/// A name is near if at most a third of its letters are wrong: farther ones puzzle more than they help.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |candidate: &str| strsim::damerau_levenshtein(name, candidate);
    let best = known.into_iter().min_by_key(|candidate| distance(candidate))?;
    let letters = name.chars().count().max(best.chars().count());
    (distance(best) * 3 <= letters).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_near_up_to_a_third_of_its_letters() {
        assert_eq!(nearest("brokres", ["brokers", "username"]), Some("brokers"));
        assert_eq!(nearest("gpa", ["gap"]), Some("gap"));
        assert_eq!(nearest("abc", ["abx"]), Some("abx"));
        assert_eq!(nearest("abc", ["axx"]), None);
        assert_eq!(nearest("abcdef", ["abcdxx"]), Some("abcdxx"));
        assert_eq!(nearest("abcde", ["abcxx"]), None);
        assert_eq!(nearest("anything", []), None);
    }

    #[test]
    fn every_problem_is_one_line_with_origin_and_repair() {
        let problem = |setting: &str, origin| Problem {
            setting: setting.to_owned(),
            origin,
            others: Vec::new(),
            text: "is wrong".to_owned(),
            repair: "mend it".to_owned(),
        };
        let flag = problem("grouping.gap", Some(Origin::Flag("gap".to_owned())));
        let file = problem("workers", Some(Origin::File { path: PathBuf::from("a.toml"), line: 3 }));
        let both = Problems(vec![flag.clone(), file]);
        assert!(!both.only_flags());
        assert_eq!(
            both.to_string(),
            "2 problems in the configuration\n  grouping.gap (flag --gap): is wrong; mend it\n  workers (a.toml:3): is wrong; mend it"
        );
        assert!(Problems(vec![flag]).only_flags());
    }
}
