//! Which tables the directory has, and what they are called.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::suggest::suggest;
use crate::types::text_option;

/// The schema profiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Schema {
    /// PostfixAdmin 2.1 to 4.
    Postfixadmin,
    /// domains, forwardings, transport, users.
    DomainsUsers,
    /// postfix_users, postfix_virtual, postfix_transport...
    PostfixTables,
    /// The site's own SQL.
    Custom,
}

/// What PostfixAdmin's tables are called; used with `schema = "postfixadmin"`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct PostfixadminTables {
    /// In front of the names of all tables, as `$CONF['database_prefix']` of PostfixAdmin.
    pub database_prefix: TablePrefix,
    /// The tables that have another name, as `$CONF['database_tables']` of PostfixAdmin, each as
    /// `"usual name=own name"`; the prefix comes in front of the own name.
    pub database_tables: Vec<TableName>,
}

/// What may stand in the name of a table.
fn is_name(text: &str) -> bool {
    text.len() <= 64
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_$-".contains(&b))
}

/// The common beginning of the names of tables; empty for none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TablePrefix(String);

impl TablePrefix {
    /// The prefix.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TablePrefix {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match is_name(text) {
            true => Ok(Self(text.to_owned())),
            false => Err(format!("{text:?}: letters, digits, _, $ and - only")),
        }
    }
}

impl fmt::Display for TablePrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_option!(
    TablePrefix,
    "TablePrefix",
    "text in quotes, like \"mail_\"",
    { "type": "string", "x-type": "text" }
);

/// A table with a name of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableName {
    usual: String,
    own: String,
}

/// The tables that PostfixAdmin knows.
const TABLES: [&str; 17] = [
    "admin",
    "alias",
    "alias_domain",
    "config",
    "dkim",
    "dkim_signing",
    "domain",
    "domain_admins",
    "fetchmail",
    "log",
    "mailbox",
    "mailbox_app_password",
    "quota",
    "quota2",
    "totp_exception_address",
    "vacation",
    "vacation_notification",
];

impl TableName {
    /// The name that PostfixAdmin gives it.
    pub fn usual(&self) -> &str {
        &self.usual
    }

    /// The name that it has.
    pub fn own(&self) -> &str {
        &self.own
    }
}

impl FromStr for TableName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let Some((usual, own)) = text.split_once('=') else {
            return Err(format!("{text:?}: write \"usual name=own name\""));
        };
        let (usual, own) = (usual.trim(), own.trim());
        if !TABLES.contains(&usual) {
            let near = suggest(usual, TABLES.into_iter());
            return Err(format!("PostfixAdmin has no table {usual:?} {near}")
                .trim()
                .to_owned());
        }
        if own.is_empty() || !is_name(own) {
            return Err(format!("{own:?}: letters, digits, _, $ and - only"));
        }
        Ok(Self {
            usual: usual.to_owned(),
            own: own.to_owned(),
        })
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.usual, self.own)
    }
}

text_option!(
    TableName,
    "TableName",
    "two names in quotes, like \"mailbox=mail_users\"",
    { "type": "string", "x-type": "text" }
);
