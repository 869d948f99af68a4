//! The one configuration file: checked options, their documentation, errors that name file and line.
//!
//! ```no_run
//! let config = config::Config::load("/etc/postrider/postrider.toml".as_ref())?;
//! println!("{}", config.general.myhostname);
//! # Ok::<(), config::ConfigErrors>(())
//! ```
//!
//! Each section is one struct in one file, with a doc comment, a bound and a default for each option.
//! From these structs come the checks ([`Config::load`]), the reference page and the sample file
//! ([`reference`]). Bounds stand in attributes and are enforced from there: `#[schemars(range(min = 1,
//! max = 9))]` for numbers, `#[schemars(extend("x-min" = "1s", "x-max" = "1h"))]` for durations and sizes.
//! Rules between options stand in the section's `check`.

mod authd;
mod check;
mod deliver;
mod error;
mod general;
mod imapd;
mod pop3d;
mod qmgr;
pub mod reference;
mod schema;
mod smtpd;
mod suggest;
mod tls;
mod tree;
mod types;

use std::path::{Path, PathBuf};

use serde::Serialize;

pub use authd::{
    Authd, Backend, Compat, Custom, DatabaseTls, Lookup, Lookups, MaildirLayout, Mechanism, Mysql,
    NewPasswords, Oauth, Part, PasswordExpiry, Piece, PostfixadminTables, QueryTemplate, Rehash, Replica,
    ResultFormat, Schema, SocketUids, SqlDialect, SqlPiece, TableName, TablePrefix, TemplateError,
    TokenAlgorithm, UnmarkedPasswords,
};
pub use check::{Checks, Section};
pub use deliver::Deliver;
pub use error::{ConfigError, ConfigErrors};
pub use general::General;
pub use imapd::Imapd;
pub use pop3d::Pop3d;
pub use qmgr::{OutboundTls, Qmgr};
pub use smtpd::{AccessChecks, SERVICE_PRESETS, Smtpd, SmtpdOptions, TlsLevel};
pub use tls::Tls;
pub use types::{
    AbsolutePath, DatabaseHost, DatabasePlace, Delimiter, DurationText, FileMode, FileName, HostName,
    ListenAddr, MailAddress, Network, Networks, SecretFile, SecretFileError, Size,
};

use check::{fault, read_section};
use suggest::suggest;
use tree::Node;

/// Where the configuration lies unless `--config` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/postrider/postrider.toml";

/// The whole configuration, every value checked.
#[derive(Debug, Clone, Serialize)]
pub struct Config {
    /// `[general]`.
    pub general: General,
    /// `[tls]`.
    pub tls: Tls,
    /// `[authd]`.
    pub authd: Authd,
    /// `[smtpd]`.
    pub smtpd: Smtpd,
    /// `[qmgr]`.
    pub qmgr: Qmgr,
    /// `[deliver]`.
    pub deliver: Deliver,
    /// `[imapd]`.
    pub imapd: Imapd,
    /// `[pop3d]`.
    pub pop3d: Pop3d,
}

/// The names of the sections, in the order of the documentation.
const SECTIONS: [&str; 8] = [
    "general", "tls", "authd", "smtpd", "qmgr", "deliver", "imapd", "pop3d",
];

impl Config {
    /// Reads one file.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        Self::load_layered(&[path])
    }

    /// Reads several files as one: tables are merged, and the later file wins option by option (lists are
    /// replaced whole).
    pub fn load_layered<P: AsRef<Path>>(paths: &[P]) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        let mut texts = Vec::new();
        for path in paths {
            let path = path.as_ref();
            match std::fs::read_to_string(path) {
                Ok(text) => texts.push((path.to_owned(), text)),
                Err(error) => errors.push(ConfigError {
                    file: path.to_owned(),
                    line: None,
                    option: String::new(),
                    message: format!("cannot read the file: {error}"),
                    suggestion: "name the configuration file with --config".to_owned(),
                }),
            }
        }
        Self::assemble(&texts, errors)
    }

    /// Reads a text; for tests and tools. Errors name the file `<text>`.
    pub fn from_toml(text: &str) -> Result<Self, ConfigErrors> {
        Self::assemble(&[(PathBuf::from("<text>"), text.to_owned())], Vec::new())
    }

    /// What is in force, as it could stand in a file; secrets are shown as the files that hold them.
    pub fn to_json(&self) -> serde_json::Value {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        let smtpd = &mut value["smtpd"];
        // Each service listens for itself, and what belongs to the process is not repeated for each.
        if let Some(options) = smtpd.as_object_mut() {
            options.remove("listen");
        }
        let process_wide = schema::options::<SmtpdOptions>()
            .into_iter()
            .filter(|option| option.process_wide);
        for option in process_wide {
            for service in smtpd["service"]
                .as_object_mut()
                .into_iter()
                .flat_map(|map| map.values_mut())
            {
                if let Some(options) = service.as_object_mut() {
                    options.remove(&option.name);
                }
            }
        }
        value
    }

    /// The same as TOML.
    pub fn to_toml(&self) -> String {
        fn convert(value: serde_json::Value) -> Option<toml::Value> {
            match value {
                serde_json::Value::Null => None,
                serde_json::Value::Object(map) => {
                    let entries = map
                        .into_iter()
                        .filter_map(|(key, value)| Some((key, convert(value)?)));
                    Some(toml::Value::Table(entries.collect()))
                }
                serde_json::Value::Array(items) => Some(toml::Value::Array(
                    items.into_iter().filter_map(convert).collect(),
                )),
                other => toml::Value::try_from(other).ok(),
            }
        }
        convert(self.to_json())
            .and_then(|value| toml::to_string(&value).ok())
            .unwrap_or_default()
    }

    /// What speaks against starting `daemon` without a certificate: listeners of it that do nothing without
    /// TLS while `[tls]` names none. None where all is well.
    pub fn missing_certificate(&self, daemon: &str) -> Option<String> {
        if self.tls.certificate_file.is_some() {
            return None;
        }
        let (listeners, remedy): (Vec<String>, &str) = match daemon {
            "smtpd" => {
                let services = self.smtpd.services.iter().filter(|(_, service)| {
                    let demands = service.smtpd_tls_wrappermode
                        || service.smtpd_tls_security_level == TlsLevel::Encrypt;
                    demands && !service.listen.is_empty()
                });
                (
                    services
                        .map(|(name, _)| format!("smtpd.service.{name}"))
                        .collect(),
                    "listen",
                )
            }
            "imapd" if !self.imapd.listen_tls.is_empty() => (vec!["imapd".to_owned()], "listen_tls"),
            "pop3d" if !self.pop3d.listen_tls.is_empty() => (vec!["pop3d".to_owned()], "listen_tls"),
            _ => return None,
        };
        (!listeners.is_empty()).then(|| {
            format!(
                "tls.certificate_file: not set, but needed by {} (set it, or give them {remedy} = [])",
                listeners.join(", ")
            )
        })
    }

    fn assemble(texts: &[(PathBuf, String)], mut errors: Vec<ConfigError>) -> Result<Self, ConfigErrors> {
        let first = texts
            .first()
            .map_or(Path::new("<none>"), |(path, _)| path.as_path());
        let mut root = Node::empty(first);
        for (path, text) in texts {
            root.merge(Node::parse(path, text, &mut errors));
        }
        let empty = Node::empty(first);
        let entries = root.entries();
        for (key, node) in entries.into_iter().flatten() {
            if !SECTIONS.contains(&key.as_str()) {
                let message = match node.entries() {
                    Some(_) => "there is no such section".to_owned(),
                    None => "this option stands in no section".to_owned(),
                };
                errors.push(fault(&node.place, key, message, suggest_section(key)));
            }
        }
        let table = |name: &str| entries.and_then(|entries| entries.get(name)).unwrap_or(&empty);
        let config = Self {
            general: read_section(General::NAME, table(General::NAME), &mut errors),
            tls: read_section(Tls::NAME, table(Tls::NAME), &mut errors),
            authd: Authd::read(table(Authd::NAME), &mut errors),
            smtpd: Smtpd::read(table(SmtpdOptions::NAME), &mut errors),
            qmgr: read_section(Qmgr::NAME, table(Qmgr::NAME), &mut errors),
            deliver: read_section(Deliver::NAME, table(Deliver::NAME), &mut errors),
            imapd: read_section(Imapd::NAME, table(Imapd::NAME), &mut errors),
            pop3d: read_section(Pop3d::NAME, table(Pop3d::NAME), &mut errors),
        };
        if errors.is_empty() {
            return Ok(config);
        }
        errors.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        errors.dedup();
        Err(ConfigErrors(errors))
    }
}

/// Where an option that stands outside of its section belongs, or which section was meant.
fn suggest_section(key: &str) -> String {
    let owner = reference::sections()
        .into_iter()
        .find(|section| section.options.iter().any(|option| option.name == key));
    match owner {
        Some(section) => format!("put it below [{}]", section.name),
        None => suggest(key, SECTIONS.into_iter()),
    }
}

/// The configuration of an empty file.
impl Default for Config {
    fn default() -> Self {
        Self {
            general: General::default(),
            tls: Tls::default(),
            authd: Authd::default(),
            smtpd: Smtpd::default(),
            qmgr: Qmgr::default(),
            deliver: Deliver::default(),
            imapd: Imapd::default(),
            pop3d: Pop3d::default(),
        }
    }
}

/// The same port on both wildcard addresses.
pub(crate) fn both(port: u16) -> Vec<ListenAddr> {
    use std::net::{Ipv4Addr, Ipv6Addr};
    vec![
        ListenAddr::Tcp((Ipv4Addr::UNSPECIFIED, port).into()),
        ListenAddr::Tcp((Ipv6Addr::UNSPECIFIED, port).into()),
    ]
}

#[cfg(test)]
mod tests;
