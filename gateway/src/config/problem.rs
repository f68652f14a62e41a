//! [`Problem`]: one thing wrong with a configuration, and where; [`Problems`]: all of them, as people read them.
//!
//! Problems name keys, variables and files. They never repeat the value of a secret.

use std::fmt;

/// One thing that is wrong with a configuration, or a warning about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, as the operator named it.
    pub file: String,
    /// Line, from 1; zero when the problem is the whole file.
    pub line: u64,
    /// Column in characters, from 1; zero when the problem is the whole file.
    pub column: u64,
    /// The key, such as `pools[0].failover.attempts_max`; empty when there is none.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Problem {
    /// A problem of the whole file.
    pub(super) fn of_file(file: &str, message: String) -> Self {
        Self { file: file.to_owned(), line: 0, column: 0, path: String::new(), message, help: None }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.message)?;
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong with a configuration, in the order of the file; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            writeln!(f, "{problem}")?;
        }
        let noun = if self.0.len() == 1 { "problem" } else { "problems" };
        write!(f, "{} {noun}; configuration not loaded", self.0.len())
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_read_as_documented() {
        let unknown = Problem {
            file: "conf/full.yaml".to_owned(),
            line: 27,
            column: 7,
            path: "pools[0].failover.attemps_max".to_owned(),
            message: "unknown key".to_owned(),
            help: Some("did you mean `attempts_max`?".to_owned()),
        };
        let whole = Problem::of_file("conf/full.yaml", "cannot be read: no".to_owned());
        assert_eq!(
            Problems(vec![unknown.clone(), whole]).to_string(),
            "conf/full.yaml:27:7: pools[0].failover.attemps_max: unknown key\n  help: did you mean `attempts_max`?\n\
             conf/full.yaml: cannot be read: no\n2 problems; configuration not loaded"
        );
        assert!(Problems(vec![unknown]).to_string().ends_with("\n1 problem; configuration not loaded"));
    }
}
