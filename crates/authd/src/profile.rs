//! Which tables a site has, and what asks them.

use std::path::PathBuf;
use std::sync::Arc;

use config::{Config, Schema as Configured, TemplateError};
use sasl::password::{Reading, Unmarked};

use crate::database::Database;
use crate::database::custom::{Custom, Statements};
use crate::database::ddl;
use crate::database::domains_users::DomainsUsers;
use crate::database::keyed::Probed;
use crate::database::postfix_tables::PostfixTables;
use crate::database::postfixadmin::PostfixAdmin;
use crate::database::schema::TableNames;
use crate::directory::backend::Backend;

/// Which tables.
#[derive(Debug, Clone)]
pub enum Profile {
    /// Those of PostfixAdmin, with these names.
    PostfixAdmin(TableNames),
    /// `domains`, `forwardings`, `transport`, `users`.
    DomainsUsers,
    /// `postfix_users` and others. Paths written in full are taken below this directory.
    PostfixTables(PathBuf),
    /// The site's own, behind its own SQL.
    Custom(Statements),
}

impl Profile {
    /// As configured. An error where a statement is not one, which the configuration finds before.
    pub fn new(config: &Config) -> Result<Self, TemplateError> {
        let names = &config.authd.postfixadmin;
        Ok(match config.authd.schema {
            Configured::Postfixadmin => {
                let renamed = names.database_tables.iter();
                Self::PostfixAdmin(TableNames {
                    prefix: names.database_prefix.as_str().to_owned(),
                    renamed: renamed
                        .map(|name| (name.usual().to_owned(), name.own().to_owned()))
                        .collect(),
                })
            }
            Configured::DomainsUsers => Self::DomainsUsers,
            Configured::PostfixTables => {
                Self::PostfixTables(config.general.virtual_mailbox_base.as_path().to_owned())
            }
            Configured::Custom => Self::Custom(Statements::new(&config.authd.custom, config.authd.backend)?),
        })
    }

    /// The word in the configuration.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::PostfixAdmin(_) => "postfixadmin",
            Self::DomainsUsers => "domains-users",
            Self::PostfixTables(_) => "postfix-tables",
            Self::Custom(_) => "custom",
        }
    }

    /// What of the configuration decides which rows these are, as a text that does not change from process to
    /// process or from build to build.
    pub fn written(&self) -> String {
        match self {
            Self::PostfixAdmin(TableNames { prefix, renamed }) => {
                let renamed = renamed.iter().map(|(usual, own)| format!("{usual} {own}\n"));
                format!("{prefix}\n{}", renamed.collect::<String>())
            }
            Self::DomainsUsers => String::new(),
            Self::PostfixTables(base) => base.display().to_string(),
            Self::Custom(statements) => statements.written().to_owned(),
        }
    }

    /// The statements that make the tables in an empty SQLite file; only PostfixAdmin's are ours to make.
    pub fn tables(&self) -> Option<String> {
        match self {
            Self::PostfixAdmin(names) => Some(ddl::postfixadmin_4(names)),
            Self::DomainsUsers | Self::PostfixTables(_) | Self::Custom(_) => None,
        }
    }

    /// What a password column without a mark holds where the site does not say so: nothing that could be
    /// guessed, or crypt(3) DES where ENCRYPT() filled it.
    pub fn unmarked_passwords(&self) -> Unmarked {
        match self {
            Self::PostfixAdmin(_) | Self::Custom(_) => Unmarked::REFUSED,
            Self::DomainsUsers | Self::PostfixTables(_) => Unmarked::REFUSED.with(Reading::Des),
        }
    }

    /// The profile over a database, and the same again where it is PostfixAdmin's.
    pub fn over(
        &self,
        database: Arc<dyn Database>,
        probed: Box<Probed>,
    ) -> (Arc<dyn Backend>, Option<Arc<PostfixAdmin>>) {
        match self {
            Self::PostfixAdmin(names) => {
                let tables = Arc::new(PostfixAdmin::new(database, names.clone(), probed));
                (tables.clone(), Some(tables))
            }
            Self::DomainsUsers => (Arc::new(DomainsUsers::new(database, probed)), None),
            Self::PostfixTables(base) => {
                let tables = PostfixTables::new(database, base.clone(), probed);
                (Arc::new(tables), None)
            }
            Self::Custom(statements) => (Arc::new(Custom::new(database, statements.clone())), None),
        }
    }
}
