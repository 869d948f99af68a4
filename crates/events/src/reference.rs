//! The page `docs/formats/events.md`, generated from the types.

use std::fmt::Write as _;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::{Delivery, Reply, Step, Tls, access, authd, deliver, process, qmgr, smtpd};

/// The page.
pub fn markdown() -> String {
    let mut out = String::from(HEAD);
    kinds::<process::Kind>(&mut out, "Every daemon, about itself");
    kinds::<smtpd::Kind>(&mut out, "smtpd");
    kinds::<authd::Kind>(&mut out, "authd");
    kinds::<qmgr::Kind>(&mut out, "qmgr");
    kinds::<deliver::Kind>(&mut out, "deliver");
    kinds::<access::Kind>(&mut out, "imapd and pop3d");
    out.push_str("\n## Values within events\n");
    value::<Reply>(&mut out, "reply");
    value::<Step>(&mut out, "step");
    value::<Delivery>(&mut out, "delivery");
    value::<Tls>(&mut out, "tls");
    out
}

fn schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// All kinds of a daemon.
fn kinds<T: JsonSchema>(out: &mut String, title: &str) {
    let schema = schema::<T>();
    let _ = write!(out, "\n## {title}\n\n{}\n", text(&schema));
    for variant in schema["oneOf"].as_array().into_iter().flatten() {
        let name = variant["properties"]["event"]["const"]
            .as_str()
            .unwrap_or_default();
        let _ = write!(out, "\n### `{name}`\n\n{}\n", text(variant));
        fields(out, variant);
    }
}

/// One of the values that several kinds have.
fn value<T: JsonSchema>(out: &mut String, name: &str) {
    let schema = schema::<T>();
    let _ = write!(out, "\n### {name}\n\n{}\n", text(&schema));
    fields(out, &schema);
}

fn fields(out: &mut String, schema: &Value) {
    let properties = schema["properties"].as_object().into_iter().flatten();
    let required: Vec<&str> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut first = true;
    for (name, property) in properties.filter(|(name, _)| *name != "event") {
        if first {
            out.push('\n');
            first = false;
        }
        let optional = if required.contains(&name.as_str()) {
            ""
        } else {
            ", may be missing"
        };
        let _ = writeln!(
            out,
            "- `{name}` ({}{optional}): {}",
            kind(name, property),
            text(property)
        );
    }
}

/// The type in words.
fn kind(name: &str, property: &Value) -> String {
    let of = match &property["type"] {
        Value::Array(types) => types.first().and_then(Value::as_str).unwrap_or_default(),
        other => other.as_str().unwrap_or_default(),
    };
    match (of, name) {
        ("array", "steps") => "list of steps".to_owned(),
        ("array", "deliveries") => "list of deliveries".to_owned(),
        ("array", _) => format!("list of {}s", kind("", &property["items"])),
        ("object", "reply" | "tls") => format!("a {name}"),
        ("integer", _) => "number".to_owned(),
        ("string", _) => "text".to_owned(),
        ("boolean", _) => "true or false".to_owned(),
        (other, _) => other.to_owned(),
    }
}

fn text(schema: &Value) -> String {
    schema["description"]
        .as_str()
        .unwrap_or_default()
        .replace("[`crate::Event::recipient`]", "`recipient`")
}

const HEAD: &str = "\
<!-- Generated from crates/events: run `cargo xtask codegen` after a change there. -->
# The decision log

Each daemon writes each of its decisions as one line of JSON to `events_dir/DAEMON.jsonl` (mode 0640). `mailctl trace`
reads these files; so may you. The files are only ever appended to. To rotate one, rename it and send the daemon
SIGHUP; it opens a new one, and `mailctl trace` goes on reading `DAEMON.jsonl.1` and the like as long as they are not
compressed. Lines are not synced to the disk one by one, and mail never waits for them: where the disk is full or too
slow they are dropped, and `events_dropped` says how many. There are never passwords, keys, bodies or subjects in them.

Schema version 1. Fields are added without notice; one whose meaning changes raises the version. A reader passes over
what it does not know.

## Every line

- `v` (number): the version of the schema, 1.
- `host` (text): the host, `myhostname`.
- `daemon` (text): who decided.
- `seq` (number): counts the events of one process, from 1; what `events_dropped` reports is missing in it.
- `time` (text): wall time, RFC 3339 in UTC with microseconds.
- `session` (text, may be missing): the session, 20 characters.
- `id` (text, may be missing): the message, 20 characters; the same in all daemons, in replies and in file names.
- `recipient` (number, may be missing): the recipient's index in the message, given when it was expanded.
- `parent` (text, may be missing): the message that caused this one, of a bounce or another report.
- `event` (text): what was decided; the kinds and their further fields are below.
";
