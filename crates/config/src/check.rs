//! A section's table against its schema and its own rules: every fault found, each with its line.

use std::path::Path;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::ConfigError;
use crate::schema::{self, OptionSchema};
use crate::suggest::suggest;
use crate::tree::{BUILT_IN, Node, Place};
use crate::types::{DurationText, SecretFile, SecretFileError, Size};

/// A section of the configuration.
pub trait Section: Default + Serialize + DeserializeOwned + JsonSchema {
    /// The name of its table.
    const NAME: &'static str;

    /// Rules between the options of the section, after each was found good alone.
    fn check(&self, checks: &mut Checks<'_>);
}

/// Takes what [`Section::check`] finds.
pub struct Checks<'n> {
    name: &'n str,
    node: &'n Node,
    errors: &'n mut Vec<ConfigError>,
}

impl<'n> Checks<'n> {
    /// For the rules of a part that is read apart from its section.
    pub(crate) fn new(name: &'n str, node: &'n Node, errors: &'n mut Vec<ConfigError>) -> Self {
        Self { name, node, errors }
    }
}

impl Checks<'_> {
    /// Reports that `option` (of this section, with dots for tables in it) is wrong. The line is that of
    /// the option where it is written, else that of the section.
    pub fn add(&mut self, option: &str, message: String, suggestion: &str) {
        let written = self
            .node
            .find(option)
            .map(|node| &node.place)
            .filter(|place| place.file != Path::new(BUILT_IN));
        let place = written.unwrap_or(&self.node.place);
        self.errors.push(fault(
            place,
            &format!("{}.{option}", self.name),
            message,
            suggestion.to_owned(),
        ));
    }
}

/// Reads a section from its table. Faults are appended to `errors`; without new ones the section is good.
pub(crate) fn read_section<S: Section>(name: &str, node: &Node, errors: &mut Vec<ConfigError>) -> S {
    let before = errors.len();
    if node.entries().is_none() {
        let message = format!("{name} is a section; write [{name}] on a line of its own");
        errors.push(fault(&node.place, name, message, String::new()));
        return S::default();
    }
    let options = schema::options::<S>();
    for (path, leaf) in node.leaves() {
        check_leaf::<S>(name, &options, &path, leaf, errors);
    }
    if errors.len() > before {
        return S::default();
    }
    match S::deserialize(node.value()) {
        Ok(section) => {
            section.check(&mut Checks { name, node, errors });
            section
        }
        Err(error) => {
            errors.push(fault(
                &node.place,
                name,
                error.message().to_owned(),
                String::new(),
            ));
            S::default()
        }
    }
}

fn check_leaf<S: Section>(
    section: &str,
    options: &[OptionSchema],
    path: &[String],
    leaf: &Node,
    errors: &mut Vec<ConfigError>,
) {
    let name = path.join(".");
    let full = format!("{section}.{name}");
    let Some(option) = options.iter().find(|option| option.name == name) else {
        let message = "there is no such option".to_owned();
        errors.push(fault(
            &leaf.place,
            &full,
            message,
            suggest(&name, options.iter().map(|o| o.name.as_str())),
        ));
        return;
    };
    // Alone in an otherwise empty section, so that one bad value does not hide the next.
    let alone = path.iter().rev().fold(leaf.value(), |value, key| {
        toml::Value::Table([(key.clone(), value)].into_iter().collect())
    });
    if let Err(error) = S::deserialize(alone) {
        errors.push(fault(
            &leaf.place,
            &full,
            error.message().to_owned(),
            String::new(),
        ));
        return;
    }
    if let Some(message) = out_of_bounds(option, &leaf.value()) {
        errors.push(fault(&leaf.place, &full, message, String::new()));
    }
    if option.secret_file
        && let Some(Ok(file)) = leaf.value().as_str().map(str::parse::<SecretFile>)
        && let Err(error @ SecretFileError::Readable { .. }) = file.check()
    {
        // A file that is missing or out of reach is the trouble of the daemon that has to read it: the
        // others, and mailctl, run under accounts that may not even see it.
        errors.push(fault(&leaf.place, &full, error.to_string(), String::new()));
    }
}

/// Compares with the bounds of the schema, in the unit of the option.
fn out_of_bounds(option: &OptionSchema, value: &toml::Value) -> Option<String> {
    let (value, low, high) = match option.kind.as_str() {
        "duration" => {
            let millis = |text: &str| text.parse::<DurationText>().ok().map(|d| d.get().as_millis());
            (
                millis(value.as_str()?)?,
                bound(option.min.as_deref(), millis),
                bound(option.max.as_deref(), millis),
            )
        }
        "size" => {
            let bytes = |text: &str| text.parse::<Size>().ok().map(|size| u128::from(size.bytes()));
            let value = match value.as_integer() {
                Some(number) => u128::try_from(number).ok()?,
                None => bytes(value.as_str()?)?,
            };
            (
                value,
                bound(option.min.as_deref(), bytes),
                bound(option.max.as_deref(), bytes),
            )
        }
        "number" => {
            let number = |text: &str| text.parse::<u128>().ok();
            let value = u128::try_from(value.as_integer()?).ok()?;
            (
                value,
                bound(option.min.as_deref(), number),
                bound(option.max.as_deref(), number),
            )
        }
        _ => return None,
    };
    if low.is_some_and(|low| value < low) || high.is_some_and(|high| value > high) {
        let (min, max) = (
            option.min.as_deref().unwrap_or("-"),
            option.max.as_deref().unwrap_or("-"),
        );
        return Some(format!("the value has to lie between {min} and {max}"));
    }
    None
}

fn bound(text: Option<&str>, parse: impl Fn(&str) -> Option<u128>) -> Option<u128> {
    text.and_then(parse)
}

/// An error at a place.
pub(crate) fn fault(place: &Place, option: &str, message: String, suggestion: String) -> ConfigError {
    ConfigError {
        file: place.file.clone(),
        line: place.line,
        option: option.to_owned(),
        message,
        suggestion,
    }
}
