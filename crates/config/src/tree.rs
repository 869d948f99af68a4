//! The text of the files as one tree, each value with the file and line it came from.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::ConfigError;

/// The name that stands for the file of what is built in.
pub(crate) const BUILT_IN: &str = "(built in)";

/// Where something stands: file and line (from 1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: PathBuf,
    pub(crate) line: Option<usize>,
}

/// A value with the place of its key.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) content: Content,
}

/// Tables are merged, everything else is replaced by a later file.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    Table(BTreeMap<String, Node>),
    /// A list of tables, `[[name]]`; as a value it is replaced whole.
    List(Vec<Node>),
    Leaf(toml::Value),
}

impl Node {
    /// An empty table of a file.
    pub(crate) fn empty(file: &Path) -> Self {
        Self {
            place: Place {
                file: file.to_owned(),
                line: None,
            },
            content: Content::Table(BTreeMap::new()),
        }
    }

    /// Parses a file; all syntax errors are found, and what could be read is kept.
    pub(crate) fn parse(file: &Path, text: &str, errors: &mut Vec<ConfigError>) -> Self {
        let lines = Lines::new(file, text);
        let (table, syntax) = DeTable::parse_recoverable(text);
        for error in syntax {
            errors.push(ConfigError {
                file: file.to_owned(),
                line: error.span().map(|span| lines.line(&span)),
                option: String::new(),
                message: format!("this is not TOML: {}", error.message()),
                suggestion: String::new(),
            });
        }
        Self {
            place: Place {
                file: file.to_owned(),
                line: None,
            },
            content: convert_table(table.get_ref(), &lines),
        }
    }

    /// The entries of a table; none of a value.
    pub(crate) fn entries(&self) -> Option<&BTreeMap<String, Node>> {
        match &self.content {
            Content::Table(entries) => Some(entries),
            Content::List(_) | Content::Leaf(_) => None,
        }
    }

    /// Lays `other` over this tree.
    pub(crate) fn merge(&mut self, other: Self) {
        match (&mut self.content, other.content) {
            (Content::Table(mine), Content::Table(theirs)) => {
                if other.place.line.is_some() {
                    self.place = other.place;
                }
                for (key, node) in theirs {
                    match mine.get_mut(&key) {
                        Some(old) => old.merge(node),
                        None => {
                            mine.insert(key, node);
                        }
                    }
                }
            }
            (content, theirs) => {
                *content = theirs;
                self.place = other.place;
            }
        }
    }

    /// The value without places.
    pub(crate) fn value(&self) -> toml::Value {
        match &self.content {
            Content::Leaf(value) => value.clone(),
            Content::List(items) => toml::Value::Array(items.iter().map(Node::value).collect()),
            Content::Table(entries) => toml::Value::Table(
                entries
                    .iter()
                    .map(|(key, node)| (key.clone(), node.value()))
                    .collect(),
            ),
        }
    }

    /// The node at a dotted path below this one.
    pub(crate) fn find(&self, path: &str) -> Option<&Node> {
        path.split('.')
            .try_fold(self, |node, key| node.entries()?.get(key))
    }

    /// All values with their paths, in the order of their names.
    pub(crate) fn leaves(&self) -> Vec<(Vec<String>, &Node)> {
        fn walk<'n>(node: &'n Node, path: &mut Vec<String>, out: &mut Vec<(Vec<String>, &'n Node)>) {
            match &node.content {
                Content::List(_) | Content::Leaf(_) => out.push((path.clone(), node)),
                Content::Table(entries) => {
                    for (key, node) in entries {
                        path.push(key.clone());
                        walk(node, path, out);
                        path.pop();
                    }
                }
            }
        }
        let mut out = Vec::new();
        walk(self, &mut Vec::new(), &mut out);
        out
    }
}

fn convert_table(table: &DeTable<'_>, lines: &Lines<'_>) -> Content {
    Content::Table(
        table
            .iter()
            .map(|(key, value)| (key.get_ref().to_string(), convert(&key.span(), value, lines)))
            .collect(),
    )
}

fn convert(key: &Range<usize>, value: &Spanned<DeValue<'_>>, lines: &Lines<'_>) -> Node {
    let content = match value.get_ref() {
        DeValue::Table(table) => convert_table(table, lines),
        DeValue::Array(items)
            if !items.is_empty()
                && items
                    .iter()
                    .all(|item| matches!(item.get_ref(), DeValue::Table(_))) =>
        {
            Content::List(
                items
                    .iter()
                    .map(|item| convert(&item.span(), item, lines))
                    .collect(),
            )
        }
        other => Content::Leaf(convert_leaf(other)),
    };
    Node {
        place: Place {
            file: lines.file.to_owned(),
            line: Some(lines.line(key)),
        },
        content,
    }
}

fn convert_leaf(value: &DeValue<'_>) -> toml::Value {
    match value {
        DeValue::String(text) => toml::Value::String(text.to_string()),
        // Out of range becomes text, which no option of a number takes.
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| toml::Value::String(number.to_string()), toml::Value::Integer),
        DeValue::Float(number) => number
            .as_str()
            .parse()
            .map_or_else(|_| toml::Value::String(number.to_string()), toml::Value::Float),
        DeValue::Boolean(value) => toml::Value::Boolean(*value),
        DeValue::Datetime(value) => toml::Value::Datetime(*value),
        DeValue::Array(items) => {
            toml::Value::Array(items.iter().map(|item| convert_leaf(item.get_ref())).collect())
        }
        DeValue::Table(table) => toml::Value::Table(
            table
                .iter()
                .map(|(key, value)| (key.get_ref().to_string(), convert_leaf(value.get_ref())))
                .collect(),
        ),
    }
}

/// Where the lines of a file begin.
struct Lines<'f> {
    file: &'f Path,
    starts: Vec<usize>,
}

impl<'f> Lines<'f> {
    fn new(file: &'f Path, text: &str) -> Self {
        let starts = text
            .bytes()
            .enumerate()
            .filter(|(_, b)| *b == b'\n')
            .map(|(at, _)| at + 1)
            .collect();
        Self { file, starts }
    }

    fn line(&self, span: &Range<usize>) -> usize {
        self.starts.partition_point(|start| *start <= span.start) + 1
    }
}
