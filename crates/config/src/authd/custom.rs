//! `[authd.custom]`: a site's own SQL for each question, in the words of mysql_table(5).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Backend;
use super::template::{QueryTemplate, ResultFormat, SqlDialect, TemplateError};
use crate::check::{Checks, Section, fault, read_section};
use crate::error::ConfigError;
use crate::suggest::suggest;
use crate::tree::{Content, Node};
use crate::types::HostName;

/// What can be asked, by the names that Postfix has for it where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(
    missing_docs,
    reason = "the words say it; `Lookups::text` documents them for people"
)]
pub enum Lookups {
    VirtualMailboxDomains,
    VirtualAliasDomains,
    RelayDomains,
    AliasDomain,
    TransportMaps,
    VirtualAliasMaps,
    VirtualMailboxMaps,
    VirtualUidMaps,
    VirtualGidMaps,
    VirtualMailboxLimitMaps,
    SmtpdSenderLoginMaps,
    RelocatedMaps,
    CheckClientAccess,
    CheckHeloAccess,
    CheckSenderAccess,
    CheckRecipientAccess,
    AliasMaps,
    PasswordQuery,
    Vacation,
    QuotaUsage,
}

impl Lookups {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 20] = [
        Self::VirtualMailboxDomains,
        Self::VirtualAliasDomains,
        Self::RelayDomains,
        Self::AliasDomain,
        Self::TransportMaps,
        Self::VirtualAliasMaps,
        Self::VirtualMailboxMaps,
        Self::VirtualUidMaps,
        Self::VirtualGidMaps,
        Self::VirtualMailboxLimitMaps,
        Self::SmtpdSenderLoginMaps,
        Self::RelocatedMaps,
        Self::CheckClientAccess,
        Self::CheckHeloAccess,
        Self::CheckSenderAccess,
        Self::CheckRecipientAccess,
        Self::AliasMaps,
        Self::PasswordQuery,
        Self::Vacation,
        Self::QuotaUsage,
    ];

    /// The word in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VirtualMailboxDomains => "virtual_mailbox_domains",
            Self::VirtualAliasDomains => "virtual_alias_domains",
            Self::RelayDomains => "relay_domains",
            Self::AliasDomain => "alias_domain",
            Self::TransportMaps => "transport_maps",
            Self::VirtualAliasMaps => "virtual_alias_maps",
            Self::VirtualMailboxMaps => "virtual_mailbox_maps",
            Self::VirtualUidMaps => "virtual_uid_maps",
            Self::VirtualGidMaps => "virtual_gid_maps",
            Self::VirtualMailboxLimitMaps => "virtual_mailbox_limit_maps",
            Self::SmtpdSenderLoginMaps => "smtpd_sender_login_maps",
            Self::RelocatedMaps => "relocated_maps",
            Self::CheckClientAccess => "check_client_access",
            Self::CheckHeloAccess => "check_helo_access",
            Self::CheckSenderAccess => "check_sender_access",
            Self::CheckRecipientAccess => "check_recipient_access",
            Self::AliasMaps => "alias_maps",
            Self::PasswordQuery => "password_query",
            Self::Vacation => "vacation",
            Self::QuotaUsage => "quota_usage",
        }
    }

    /// With what it is asked, in words.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::VirtualMailboxDomains | Self::VirtualAliasDomains | Self::AliasDomain => "domain",
            Self::RelayDomains => "domain, then its parents",
            Self::TransportMaps => "address, domain, .parent, *",
            Self::VirtualAliasMaps | Self::SmtpdSenderLoginMaps | Self::RelocatedMaps => "address, @domain",
            Self::VirtualUidMaps | Self::VirtualGidMaps | Self::VirtualMailboxLimitMaps => "address, @domain",
            Self::VirtualMailboxMaps | Self::Vacation | Self::QuotaUsage => "address",
            Self::CheckClientAccess => "host name, address",
            Self::CheckHeloAccess => "name",
            Self::CheckSenderAccess | Self::CheckRecipientAccess => "address, domain, user@",
            Self::AliasMaps => "name without a domain",
            Self::PasswordQuery => "login",
        }
    }

    /// What it answers, in words.
    pub(crate) const fn result(self) -> &'static str {
        match self {
            Self::VirtualMailboxDomains => "anything: it has mailboxes. Has to be there",
            Self::VirtualAliasDomains => "anything: it has aliases only",
            Self::RelayDomains => "anything: accepted from everybody, relayed",
            Self::AliasDomain => "the domain that it mirrors",
            Self::TransportMaps => "transport:nexthop",
            Self::VirtualAliasMaps | Self::AliasMaps => "the targets, a comma list",
            Self::VirtualMailboxMaps => "path below virtual_mailbox_base. Has to be there",
            Self::VirtualUidMaps => "owner of the files (default: virtual_uid)",
            Self::VirtualGidMaps => "group of the files (default: virtual_gid)",
            Self::VirtualMailboxLimitMaps => "quota in bytes; 0 is unlimited",
            Self::SmtpdSenderLoginMaps => "the logins that may send as it",
            Self::RelocatedMaps => "where the user moved to",
            Self::CheckClientAccess
            | Self::CheckHeloAccess
            | Self::CheckSenderAccess
            | Self::CheckRecipientAccess => "an action of access(5)",
            Self::PasswordQuery => {
                "columns by name: password or cleartext, and where there are such active, smtp_active, \
                 password_expiry (seconds since 1970), domain_active, maildir, uid, gid, quota, username. Has to be \
                 there"
            }
            Self::Vacation => {
                "columns by name: subject, body, and where there are such active, activefrom, activeuntil \
                 (seconds since 1970), interval_time"
            }
            Self::QuotaUsage => "columns by name: bytes, messages",
        }
    }

    /// Whether the key is a domain, which has neither a local part nor an `@`.
    const fn asks_domains(self) -> bool {
        matches!(
            self,
            Self::VirtualMailboxDomains | Self::VirtualAliasDomains | Self::RelayDomains | Self::AliasDomain
        )
    }

    /// Whether the columns of the answer are read by their names, one row at most.
    pub const fn has_named_columns(self) -> bool {
        matches!(self, Self::PasswordQuery | Self::Vacation | Self::QuotaUsage)
    }
}

/// One statement, whole or in the four parts of older configurations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Lookup {
    /// The statement, with `%s` for the key, `%u` for what precedes its last `@`, `%d` for what follows, `%1` to
    /// `%9` for labels of the domain from its end, `%%` for a percent sign. Expansions are bound as values, never
    /// pasted into the statement. A statement that needs a part which the key lacks is not asked.
    pub query: Option<String>,
    /// Instead of `query`: the table. The statement is `SELECT select_field FROM table WHERE where_field = '%s'`
    /// and the additional conditions.
    pub table: Option<String>,
    /// With `table`: what is selected, any expression.
    pub select_field: Option<String>,
    /// With `table`: the column that is compared with the key.
    pub where_field: Option<String>,
    /// With `table`: what follows the comparison, as `and active = '1'`.
    pub additional_conditions: String,
    /// The form of each result: `%s`, `%u`, `%d` are of the result, `%S`, `%U`, `%D` and `%1` to `%9` of the key.
    pub result_format: String,
    /// Only addresses of these domains are looked up. Default: all keys.
    pub domain: Vec<HostName>,
    /// More results than this are a temporary failure; 0 for no limit.
    #[schemars(range(min = 0, max = 100_000))]
    pub expansion_limit: u32,
    /// Whether a statement without any result set, which a stored procedure may be, is a temporary failure;
    /// otherwise it found nothing.
    pub require_result_set: bool,
}

impl Default for Lookup {
    fn default() -> Self {
        Self {
            query: None,
            table: None,
            select_field: None,
            where_field: None,
            additional_conditions: String::new(),
            result_format: "%s".to_owned(),
            domain: Vec::new(),
            expansion_limit: 0,
            require_result_set: true,
        }
    }
}

impl Lookup {
    /// The statement as it is written, or made of its four parts.
    fn statement(&self) -> String {
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        match &self.query {
            Some(query) => query.clone(),
            None => format!(
                "SELECT {} FROM {} WHERE {} = '%s' {}",
                part(&self.select_field),
                part(&self.table),
                part(&self.where_field),
                self.additional_conditions
            ),
        }
    }

    /// The statement for a database.
    pub fn template(&self, dialect: SqlDialect) -> Result<QueryTemplate, TemplateError> {
        QueryTemplate::parse(&self.statement(), dialect)
    }

    /// The form of each result.
    pub fn format(&self) -> Result<ResultFormat, TemplateError> {
        ResultFormat::parse(&self.result_format)
    }

    fn check_for(&self, question: Lookups, dialect: SqlDialect, checks: &mut Checks<'_>) {
        let text = if self.query.is_some() {
            "query"
        } else {
            "select_field"
        };
        let template = match self.template(dialect) {
            Ok(template) => template,
            Err(error) => return checks.add(text, error.message, &error.suggestion),
        };
        if let Err(error) = self.format() {
            checks.add("result_format", error.message, &error.suggestion);
        }
        let parts: Vec<_> = template.parts().collect();
        use super::template::Part;
        let needs_address = |part: &Part| matches!(part, Part::Domain | Part::Label(_));
        if question.asks_domains() && (parts.iter().any(needs_address) || !self.domain.is_empty()) {
            checks.add(
                if self.domain.is_empty() { text } else { "domain" },
                format!(
                    "{} is asked with a domain, which has no part behind an @",
                    question.as_str()
                ),
                "write %s for the domain, and no option domain",
            );
        }
        if question == Lookups::PasswordQuery
            && self.domain.is_empty()
            && !parts.is_empty()
            && parts.iter().all(|part| *part == Part::User)
        {
            checks.add(
                text,
                "%u is the part before the @, so users of the same name in all domains would be one"
                    .to_owned(),
                "write %s for the whole login (Dovecot calls that %u), or name the one domain",
            );
        }
        if question.has_named_columns() && self.result_format != "%s" {
            checks.add(
                "result_format",
                "the columns are read by their names".to_owned(),
                "shape them in the statement",
            );
        }
    }
}

impl Section for Lookup {
    const NAME: &'static str = "authd.custom";

    fn check(&self, checks: &mut Checks<'_>) {
        let parts = [
            ("table", &self.table),
            ("select_field", &self.select_field),
            ("where_field", &self.where_field),
        ];
        match &self.query {
            Some(_) => {
                for (name, _) in parts.iter().filter(|(_, part)| part.is_some()) {
                    checks.add(name, "there is a query too".to_owned(), "write one of both");
                }
            }
            None => {
                for (name, _) in parts.iter().filter(|(_, part)| part.is_none()) {
                    let message = "there is no query, and this part of one is missing".to_owned();
                    checks.add(name, message, "write query = \"SELECT ...\"");
                }
            }
        }
    }
}

/// The statements of a site, in the order in which those of one question are asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Custom(BTreeMap<Lookups, Vec<Lookup>>);

impl Custom {
    /// The statements of a question; none where it cannot be asked.
    pub fn of(&self, question: Lookups) -> &[Lookup] {
        self.0.get(&question).map_or(&[], Vec::as_slice)
    }

    /// Whether there is no statement at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads `[authd.custom]`: each question a table, or a list of tables.
    pub(crate) fn read(node: &Node, backend: Backend, errors: &mut Vec<ConfigError>) -> Self {
        let dialect = backend.dialect();
        let Some(entries) = node.entries() else {
            let message = "write [authd.custom.QUESTION] on a line of its own".to_owned();
            errors.push(fault(&node.place, "authd.custom", message, String::new()));
            return Self::default();
        };
        let mut custom = Self::default();
        for (name, node) in entries {
            let full = format!("authd.custom.{name}");
            let Some(question) = Lookups::ALL.into_iter().find(|q| q.as_str() == name) else {
                let known = Lookups::ALL.iter().map(|question| question.as_str());
                let message = "there is no such question".to_owned();
                errors.push(fault(&node.place, &full, message, suggest(name, known)));
                continue;
            };
            let tables = match &node.content {
                Content::List(list) => list.as_slice(),
                Content::Table(_) | Content::Leaf(_) => std::slice::from_ref(node),
            };
            let lookups = tables.iter().map(|table| {
                let before = errors.len();
                let lookup: Lookup = read_section(&full, table, errors);
                if errors.len() == before {
                    lookup.check_for(question, dialect, &mut Checks::new(&full, table, errors));
                }
                lookup
            });
            let lookups = lookups.collect();
            custom.0.insert(question, lookups);
        }
        custom
    }

    /// Without these nothing could be delivered or read.
    pub(super) fn check_needed(&self, checks: &mut Checks<'_>) {
        let needed = [
            Lookups::VirtualMailboxDomains,
            Lookups::VirtualMailboxMaps,
            Lookups::PasswordQuery,
        ];
        for question in needed {
            if self.of(question).is_empty() {
                checks.add(
                    &format!("custom.{}", question.as_str()),
                    "schema = \"custom\" needs it".to_owned(),
                    &format!("write [authd.custom.{}] with a query", question.as_str()),
                );
            }
        }
    }
}
