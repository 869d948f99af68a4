//! The chain of rows that led to an answer, bounded, and how fresh they are.

use auth_api::directory::{Source as Told, Step};

use super::backend::Source;

impl From<Source> for Told {
    fn from(source: Source) -> Self {
        match source {
            Source::Database => Self::Database,
            Source::Cache => Self::Cache,
            Source::Replica => Self::Replica,
        }
    }
}

/// The steps of one question, in the order in which they were taken.
#[derive(Debug)]
pub struct Steps {
    list: Vec<Step>,
    most: usize,
    of: String,
    depth: u32,
    source: Option<Source>,
}

impl Steps {
    /// Most steps that an event keeps: a large alias explains itself by its beginning.
    const BRIEF: usize = 64;
    /// Most steps of an explanation (`proto/postrider/directory/v1`).
    const FULL: usize = 2_000;

    /// For the decision log.
    pub fn brief() -> Self {
        Self::with(Self::BRIEF)
    }

    /// For an explanation.
    pub fn full() -> Self {
        Self::with(Self::FULL)
    }

    fn with(most: usize) -> Self {
        Self {
            list: Vec::new(),
            most,
            of: String::new(),
            depth: 0,
            source: None,
        }
    }

    /// What follows is about this address, which so many aliases led to.
    pub(super) fn at(&mut self, of: &str, depth: usize) {
        of.clone_into(&mut self.of);
        self.depth = u32::try_from(depth).unwrap_or(u32::MAX);
    }

    /// What the tables said.
    pub(super) fn row(&mut self, question: &str, key: &str, answer: &str, source: Source) {
        // The least fresh one counts.
        self.source = self.source.max(Some(source));
        self.push(question, key, answer, source.into());
    }

    /// What a rule or an option says.
    pub(super) fn rule(&mut self, rule: &str, key: &str, answer: &str) {
        self.push(rule, key, answer, Told::Rule);
    }

    fn push(&mut self, question: &str, key: &str, answer: &str, source: Told) {
        if self.list.len() >= self.most {
            return;
        }
        let last = self.list.len() + 1 == self.most;
        self.list.push(Step {
            of: self.of.clone(),
            depth: self.depth,
            question: if last { "..." } else { question }.to_owned(),
            key: if last { String::new() } else { truncated(key, 320) },
            answer: if last {
                "further steps are not kept".to_owned()
            } else {
                truncated(answer, 256)
            },
            source,
        });
    }

    /// The least fresh source of all rows; `None` where no row was asked for.
    pub fn source(&self) -> Option<Source> {
        self.source
    }

    /// Whether something came from the replica: then that a row is missing says nothing.
    pub fn from_replica(&self) -> bool {
        self.source == Some(Source::Replica)
    }

    /// The steps.
    pub fn into_list(self) -> Vec<Step> {
        self.list
    }
}

/// At most `max` characters.
fn truncated(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    text.chars().take(max).chain("...".chars()).collect()
}
