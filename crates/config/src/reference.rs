//! The reference page and the sample file, generated from the code that reads the options.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::check::Section;
use crate::schema::{self, OptionSchema};
use crate::smtpd::{SERVICE_PRESETS, SmtpdOptions};
use crate::{Authd, Deliver, General, Imapd, Lookup, Lookups, Pop3d, Qmgr, Tls};

/// A section with its options.
pub(crate) struct SectionSchema {
    pub(crate) name: &'static str,
    pub(crate) description: String,
    pub(crate) options: Vec<OptionSchema>,
}

/// All sections, in the order of the documentation.
pub(crate) fn sections() -> Vec<SectionSchema> {
    fn of<S: Section>() -> SectionSchema {
        SectionSchema {
            name: S::NAME,
            description: schema::json_schema::<S>()["description"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            options: schema::options::<S>(),
        }
    }
    vec![
        of::<General>(),
        of::<Tls>(),
        of::<Authd>(),
        of::<SmtpdOptions>(),
        of::<Qmgr>(),
        of::<Deliver>(),
        of::<Imapd>(),
        of::<Pop3d>(),
    ]
}

/// The reference page `docs/configuration.md`.
pub fn markdown() -> String {
    let mut out = String::from(MARKDOWN_HEAD);
    for section in sections() {
        let _ = writeln!(out, "\n## [{}]\n\n{}", section.name, section.description);
        for option in &section.options {
            let _ = write!(
                out,
                "\n### {}\n\n{}\n\n{}\n",
                option.name,
                option.description,
                facts(option)
            );
        }
        if section.name == Authd::NAME {
            out.push_str(&custom_markdown());
        }
        if section.name == SmtpdOptions::NAME {
            let _ = write!(
                out,
                "\n### Built-in services\n\n{PRESET_TEXT}\n\n```toml\n{}```\n",
                preset_tables()
            );
        }
    }
    out
}

/// `[authd.custom]`: the questions, and the options of each.
fn custom_markdown() -> String {
    let mut out = format!(
        "\n### custom\n\n{CUSTOM_TEXT}\n\n```toml\n{CUSTOM_EXAMPLE}```\n\n\
         | question | asked with | answer |\n|---|---|---|\n"
    );
    for question in Lookups::ALL {
        let _ = writeln!(
            out,
            "| `{}` | {} | {} |",
            question.as_str(),
            question.key(),
            question.result()
        );
    }
    out.push_str("\nOptions of each question:\n");
    for option in schema::options::<Lookup>() {
        let _ = write!(
            out,
            "\n- `{}`: {} {}\n",
            option.name,
            option.description.replace('\n', " "),
            facts(&option)
        );
    }
    out
}

/// The same for programs: the sections, each with its options.
pub fn json() -> Value {
    let option = |option: &OptionSchema| {
        json!({
            "name": option.name, "description": option.description, "type": option.kind,
            "min": option.min, "max": option.max, "default": option.default_text.as_ref().or(option.default.as_ref()),
            "process_wide": option.process_wide,
        })
    };
    let section = |section: SectionSchema| {
        let options: Vec<Value> = section.options.iter().map(option).collect();
        json!({ "name": section.name, "description": section.description, "options": options })
    };
    let lookups = schema::options::<Lookup>();
    let custom = Lookups::ALL.into_iter().map(|question| {
        let options: Vec<Value> = lookups.iter().map(option).collect();
        json!({
            "name": format!("{}.{}", Lookup::NAME, question.as_str()),
            "description": format!("Asked with: {}. Answer: {}.", question.key(), question.result()),
            "options": options,
        })
    });
    sections().into_iter().map(section).chain(custom).collect()
}

/// Type, bounds and default on one line.
fn facts(option: &OptionSchema) -> String {
    let mut facts = format!("Type: {}", option.kind);
    if let (Some(min), Some(max)) = (&option.min, &option.max) {
        let _ = write!(facts, ", {min} to {max}");
    }
    match (&option.default_text, &option.default) {
        (Some(text), _) => facts.push_str(&format!(". Default: {text}.")),
        (None, Some(value)) => facts.push_str(&format!(". Default: `{value}`.")),
        (None, None) => facts.push_str(". Default: not set."),
    }
    if option.process_wide {
        facts.push_str(" For the whole process, not for one service.");
    }
    facts
}

/// The sample file `deploy/postrider.toml`: every option as a comment with its default.
pub fn sample() -> String {
    let mut out = String::from(SAMPLE_HEAD);
    for section in sections() {
        let _ = write!(out, "\n{}[{}]\n", comment(&section.description), section.name);
        let mut table = "";
        // In TOML what belongs to the section itself comes before its tables.
        let (own, nested): (Vec<_>, Vec<_>) = section
            .options
            .iter()
            .partition(|option| !option.name.contains('.'));
        for option in own.into_iter().chain(nested) {
            let (parent, name) = option.name.rsplit_once('.').unwrap_or(("", &option.name));
            if parent != table {
                let _ = write!(out, "\n[{}.{parent}]\n", section.name);
                table = parent;
            }
            let default = match (&option.default_text, &option.default) {
                (None, Some(value)) => value.as_str(),
                _ => "",
            };
            let _ = write!(
                out,
                "\n{}#{name} ={}{default}\n",
                comment(&option.description),
                if default.is_empty() { "" } else { " " }
            );
        }
        if section.name == Authd::NAME {
            let _ = write!(out, "\n{}", comment(CUSTOM_TEXT));
            for line in CUSTOM_EXAMPLE.lines() {
                let _ = writeln!(out, "{}", format!("# {line}").trim_end());
            }
        }
        if section.name == SmtpdOptions::NAME {
            let _ = write!(out, "\n{}", comment(PRESET_TEXT));
            for line in preset_tables().lines() {
                let _ = writeln!(out, "{}", format!("# {line}").trim_end());
            }
        }
    }
    out
}

/// The presets under the names that they have in the file.
fn preset_tables() -> String {
    SERVICE_PRESETS
        .trim_start()
        .replace("\n[", "\n[smtpd.service.")
        .replacen('[', "[smtpd.service.", 1)
}

/// `text` as comment lines of at most 100 columns.
fn comment(text: &str) -> String {
    let mut out = String::new();
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.len() + 1 + word.len() > 100 {
            let _ = writeln!(out, "{line}");
            line = String::from("#");
        }
        let _ = write!(line, " {word}");
    }
    let _ = writeln!(out, "{line}");
    out
}

const MARKDOWN_HEAD: &str = "\
<!-- Generated from crates/config: run `cargo xtask codegen` after a change there. -->
# Configuration

All processes read one TOML file, `/etc/postrider/postrider.toml` unless `--config` names another. `--config` may be
given more than once; a later file wins option by option. `mailctl config check` finds what is wrong with a file,
`mailctl config show` prints what is in force. A process reads the file again on SIGHUP (`systemctl reload`); where the
new file is wrong, it goes on with the old configuration and says so in its log. What a process cannot change while it
runs (addresses, directories, the kind of database) takes effect at its next start.

A duration is text with a unit: `\"90s\"`, `\"5m\"`, `\"4h\"`, `\"5d\"`. A size is a number of bytes or text with a unit that is a
power of 1024: `\"50M\"`. Networks are written like `\"192.0.2.0/24\"` and `\"2001:db8::/32\"`. Secrets are never values: an
option names a file that only its owner can read.
";

const SAMPLE_HEAD: &str = "\
# Postrider: the configuration of all processes. Every option is shown with its default; remove the # to
# change one. docs/configuration.md has types and bounds; `mailctl config check` checks this file.
# Generated from crates/config.
";

const CUSTOM_TEXT: &str = "With `schema = \"custom\"` each question has SQL of your own, below [authd.custom] by the name \
that Postfix has for it. The statements are those of mysql_table(5). A question may be a list of tables, \
which are asked in their order until one has an answer. docs/schemas.md has complete examples.";

const CUSTOM_EXAMPLE: &str = "\
[authd.custom.virtual_mailbox_domains]
query = \"SELECT domain FROM domain WHERE domain = '%s' AND active = 1\"

[[authd.custom.virtual_alias_maps]]
query = \"SELECT goto FROM alias WHERE address = '%s' AND active = 1\"

[[authd.custom.virtual_alias_maps]]
query = \"SELECT email FROM users WHERE email = '%s'\"

[authd.custom.password_query]
query = \"SELECT password, active FROM mailbox WHERE username = '%s'\"
";

const PRESET_TEXT: &str = "These services exist without being written down; a table of the same name changes \
them option by option, and `listen = []` turns one off.";
