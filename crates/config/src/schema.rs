//! The options of a section as a flat list, taken from its JSON schema.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

/// One option: its name with dots for tables, and what is known of it.
#[derive(Debug, Clone)]
pub(crate) struct OptionSchema {
    pub(crate) name: String,
    /// The doc comment.
    pub(crate) description: String,
    /// `duration`, `size`, `number`, `yes or no`, `text`, `path`..., or `one of "a", "b"`.
    pub(crate) kind: String,
    /// Lower bound as written in the configuration.
    pub(crate) min: Option<String>,
    /// Upper bound as written in the configuration.
    pub(crate) max: Option<String>,
    /// The default as TOML; None where there is none.
    pub(crate) default: Option<String>,
    /// A default that is not a value, such as `the system's host name`.
    pub(crate) default_text: Option<String>,
    /// Whether it names a file with a secret.
    pub(crate) secret_file: bool,
    /// Whether it holds for the whole process and cannot be set for one service.
    pub(crate) process_wide: bool,
}

/// The JSON schema of a type, with every part in place.
pub(crate) fn json_schema<S: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<S>().to_value()
}

/// All options of a section, in the order of its struct.
pub(crate) fn options<S: JsonSchema>() -> Vec<OptionSchema> {
    let mut out = Vec::new();
    collect("", &json_schema::<S>(), &Value::Null, &mut out);
    out
}

fn collect(prefix: &str, schema: &Value, defaults: &Value, out: &mut Vec<OptionSchema>) {
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    for (key, property) in properties {
        let name = if prefix.is_empty() {
            key.clone()
        } else {
            format!("{prefix}.{key}")
        };
        let default = match &property["default"] {
            Value::Null => &defaults[key],
            given => given,
        };
        if property["properties"].is_object() {
            collect(&name, property, default, out);
        } else {
            out.push(option(name, property, default));
        }
    }
}

fn option(name: String, property: &Value, default: &Value) -> OptionSchema {
    let text = |key: &str| property[key].as_str().map(str::to_owned);
    let number = |key: &str| property[key].as_u64().map(|number| number.to_string());
    OptionSchema {
        name,
        description: text("description").unwrap_or_default(),
        kind: kind(property),
        min: text("x-min").or_else(|| number("minimum")),
        max: text("x-max").or_else(|| number("maximum")),
        default: toml_text(default),
        default_text: text("x-default"),
        secret_file: property["x-secret-file"].as_bool().unwrap_or(false),
        process_wide: property["x-process"].as_bool().unwrap_or(false),
    }
}

/// The type in words.
fn kind(property: &Value) -> String {
    if let Some(kind) = property["x-type"].as_str() {
        return kind.to_owned();
    }
    let choices: Vec<String> = match (&property["enum"], &property["oneOf"]) {
        (Value::Array(values), _) => values
            .iter()
            .filter(|v| !v.is_null())
            .map(Value::to_string)
            .collect(),
        (_, Value::Array(variants)) => variants
            .iter()
            .map(|variant| variant["const"].to_string())
            .collect(),
        _ => Vec::new(),
    };
    if !choices.is_empty() {
        return format!("one of {}", choices.join(", "));
    }
    if let Value::Array(branches) = &property["anyOf"] {
        return branches.first().map(kind).unwrap_or_default();
    }
    let name = match &property["type"] {
        Value::Array(types) => types.first().and_then(Value::as_str).unwrap_or_default(),
        other => other.as_str().unwrap_or_default(),
    };
    match name {
        "array" => format!("list of {}", kind(&property["items"])),
        "integer" => "number".to_owned(),
        "boolean" => "true or false".to_owned(),
        "string" => "text".to_owned(),
        other => other.to_owned(),
    }
}

/// A default as it would stand in the file.
fn toml_text(value: &Value) -> Option<String> {
    match value {
        Value::Null | Value::Object(_) => None,
        // JSON and TOML write these alike.
        other => Some(other.to_string().replace("\",\"", "\", \"")),
    }
}
