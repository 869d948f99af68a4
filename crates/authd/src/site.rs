//! The site in force: settings, database and directory, replaced as a whole by a reload.

use std::sync::{Arc, PoisonError, RwLock};

use ::daemon::Clock;
use events::{About, Log};
use sasl::password::{Reading, Unmarked};
use sha2::{Digest as _, Sha256};

use crate::config::{Backend as Kind, Settings};
use crate::database::mysql::{self, Change, Changed, Mysql};
use crate::database::postfixadmin::PostfixAdmin;
use crate::database::schema::Schema;
use crate::database::sqlite::{OpenError, Sqlite};
use crate::database::{Database, DbError};
use crate::directory::Directory;
use crate::directory::backend::{Backend, BackendError};
use crate::directory::cached::Cached;
use crate::directory::pages::Kind as Rows;
use crate::profile::Profile;
use crate::replica::{Origin, WithReplica};

/// One state of the site.
pub struct Site {
    /// The settings.
    pub settings: Settings,
    /// What answers the questions, all layers: where the rules and logins ask.
    pub backend: Arc<dyn Backend>,
    /// The database below.
    pub database: Arc<dyn Database>,
    /// The copy for the time when it is away, where there is one.
    pub replica: Option<Arc<WithReplica>>,
    /// The tables below, where they are PostfixAdmin's.
    pub tables: Option<Arc<PostfixAdmin>>,
    /// The same for the Admin service, which may have an account of its own.
    admin: Option<Arc<PostfixAdmin>>,
    /// The rules over them.
    pub directory: Directory,
    /// The rows that are remembered, where any are.
    cache: Option<Arc<Cached>>,
}

impl Site {
    /// Opens the database. A MySQL server need not be there yet. Blocks; has to be called in a runtime.
    pub fn open(settings: Settings, events: &Log, clock: &Clock) -> Result<Self, OpenError> {
        let database: Arc<dyn Database> = match &settings.backend {
            Kind::Sqlite(path) => Arc::new(Sqlite::open(path, settings.profile.tables().as_deref())?),
            Kind::Mysql(mysql) => {
                let changed: Changed = Arc::new(on_change(events.clone()));
                Arc::new(Mysql::new(mysql, &changed))
            }
        };
        let probed = on_probe(events.clone(), settings.profile.as_str());
        let (profile, tables) = settings.profile.over(database.clone(), Box::new(probed));
        // The layers, inside out: the profile of the schema, the replica, the cache.
        let mut backend = profile;
        let mut replica = None;
        if let (Some(kept), Kind::Mysql(mysql)) = (&settings.replica, &settings.backend) {
            let origin = origin(&settings.profile, mysql);
            let layer = WithReplica::open(backend, kept.clone(), origin, clock.clone(), events.clone());
            let layer = Arc::new(layer);
            backend = layer.clone();
            replica = Some(layer);
        }
        let time = settings.address_cache_time;
        let cache = (!time.is_zero()).then(|| Arc::new(Cached::new(backend.clone(), time)));
        if let Some(cache) = &cache {
            backend = cache.clone();
        }
        let directory = Directory::new(backend.clone(), settings.rules.clone());
        let admin = match &settings.admin_mysql {
            Some(mysql) => {
                let quiet: Changed = Arc::new(|_, _| ());
                let database = Arc::new(Mysql::new(mysql, &quiet));
                settings.profile.over(database, Box::new(|_| ())).1
            }
            None => tables.clone(),
        };
        Ok(Self {
            settings,
            backend,
            admin,
            tables,
            database,
            replica,
            directory,
            cache,
        })
    }

    /// To be called after a change of the tables, in the words of its event: what is remembered is forgotten,
    /// and the replica brought up to date, so that the change holds at once.
    pub async fn changed(&self, object: &str, action: &str, key: &str) {
        if let Some(cache) = &self.cache {
            cache.clear();
        }
        let Some(replica) = &self.replica else {
            return;
        };
        let rows: &[Rows] = match object {
            "domain" => &[Rows::Domain],
            "alias_domain" => &[Rows::AliasDomain],
            "alias" | "vacation" => &[Rows::Alias],
            "mailbox" => &[Rows::Mailbox, Rows::Alias],
            "password" | "app_password" => &[Rows::Mailbox],
            // Administrators are not in it.
            _ => return,
        };
        let rows: Vec<(Rows, &str)> = rows.iter().map(|kind| (*kind, key)).collect();
        let written = replica.changed(&rows).await;
        // What was in a domain goes with it, which no row says. A mailbox is taken out of lists, which are
        // marked as changed.
        let whole = object == "domain" && action == "delete";
        if whole || !written || (object == "mailbox" && action == "delete") {
            replica.request_refresh(whole);
        }
    }

    /// The tables of PostfixAdmin, for changes; an error where the site has others.
    pub fn panel(&self) -> Result<&PostfixAdmin, DbError> {
        self.admin
            .as_deref()
            .ok_or_else(|| DbError::Foreign(self.settings.profile.as_str().to_owned()))
    }

    /// Whether passwords may be stored in clear: in an unmarked column, or in one for them. An error as in
    /// [`Site::unmarked_passwords`].
    pub async fn may_have_cleartext(&self) -> Result<bool, BackendError> {
        let unmarked = self.unmarked_passwords().await?;
        Ok(unmarked.allows(Reading::Cleartext) || self.backend.questions().await?.clear_column)
    }

    /// What a password column without a mark of its scheme holds: as configured, or cleartext where the
    /// tables are those of PostfixAdmin 2.x, which has such columns (robustness.md 5.4), or what the schema
    /// suggests. An error where the tables have to be looked at first and are away: nobody knows then.
    pub async fn unmarked_passwords(&self) -> Result<Unmarked, BackendError> {
        if let Some(configured) = self.settings.unmarked_passwords {
            return Ok(configured);
        }
        let questions = self.backend.questions().await?;
        Ok(match questions.unmarked_cleartext {
            true => Unmarked::CLEARTEXT,
            false => self.settings.profile.unmarked_passwords(),
        })
    }
}

/// Names the tables of a replica, the same in each process: other queries and other databases have other rows.
fn origin(profile: &Profile, mysql: &mysql::Settings) -> Origin {
    let digest = Sha256::digest(profile.written());
    let digest: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let mut servers: Vec<String> = mysql.hosts.iter().map(ToString::to_string).collect();
    // In which order they are asked does not matter.
    servers.sort_unstable();
    Origin {
        tables: format!("{} in {}, {digest}", profile.as_str(), mysql.database),
        servers: servers.join(" "),
    }
}

fn on_change(events: Log) -> impl Fn(&str, Change) + Send + Sync {
    move |host, change| {
        let host = host.to_owned();
        let kind = match change {
            Change::Lost(reason) => {
                tracing::error!(host, reason, "the database does not answer");
                events::authd::Kind::DatabaseLost { server: host, reason }
            }
            Change::Back(after) => {
                tracing::info!(host, ?after, "the database is back");
                events::authd::Kind::DatabaseBack {
                    server: host,
                    after_ms: u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
                }
            }
        };
        events.emit(About::process(), kind);
    }
}

fn on_probe(events: Log, profile: &'static str) -> impl Fn(&Schema) + Send + Sync {
    move |schema| {
        let version = match profile {
            "postfixadmin" => schema.form().as_str().to_owned(),
            _ => String::new(),
        };
        tracing::info!(profile, version, "found the tables");
        let profile = profile.to_owned();
        events.emit(
            About::process(),
            events::authd::Kind::SchemaProbed { profile, version },
        );
    }
}

/// The site in force.
pub struct Sites(RwLock<Arc<Site>>);

impl Sites {
    /// Begins with a site.
    pub fn new(site: Site) -> Self {
        Self(RwLock::new(Arc::new(site)))
    }

    /// What a question takes at its beginning and keeps.
    pub fn current(&self) -> Arc<Site> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts a new one in force. Questions in progress end with the old one.
    pub fn replace(&self, site: Site) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(site);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The origin of the configuration with these lines, in `[authd.mysql]` where they begin.
    fn of(lines: &str) -> Origin {
        let text = format!("[authd]\nbackend = \"mysql\"\n{lines}");
        let config = config::Config::from_toml(&text).unwrap();
        let settings = Settings::new(&config).unwrap();
        let Kind::Mysql(mysql) = &settings.backend else {
            panic!("another database");
        };
        origin(&settings.profile, mysql)
    }

    #[test]
    fn one_configuration_has_one_origin() {
        let custom = |query: &str| {
            let questions = [
                "virtual_mailbox_domains",
                "virtual_mailbox_maps",
                "virtual_alias_maps",
                "transport_maps",
                "relocated_maps",
                "alias_maps",
                "alias_domain",
                "check_client_access",
            ];
            let mut text = "schema = \"custom\"\n".to_owned();
            for name in questions {
                text.push_str(&format!(
                    "[authd.custom.{name}]\nquery = \"SELECT a FROM t WHERE k = '%s'\"\n"
                ));
            }
            text.push_str(&format!("[authd.custom.password_query]\nquery = \"{query}\"\n"));
            of(&text)
        };
        let query = "SELECT password FROM u WHERE k = '%s'";
        let first = custom(query);
        for _ in 0..20 {
            assert_eq!(custom(query), first);
        }
        assert_ne!(
            custom("SELECT password FROM v WHERE k = '%s'").tables,
            first.tables
        );
    }

    #[test]
    fn other_tables_have_another_origin() {
        let usual = of("");
        // A build of tomorrow has to find the file of today its own.
        assert_eq!(
            usual.tables,
            "postfixadmin in postfix, 01ba4719c80b6fe911b091a7c05124b6"
        );
        assert_ne!(of("[authd.mysql]\ndatabase = \"other\"").tables, usual.tables);
        assert_ne!(of("schema = \"domains-users\"").tables, usual.tables);
        let prefixed = of("[authd.postfixadmin]\ndatabase_prefix = \"pa_\"");
        assert_ne!(prefixed.tables, usual.tables);
        // Other servers should have the same tables, in whatever order they are asked.
        let hosts = |hosts: &str| of(&format!("[authd.mysql]\nhosts = {hosts}"));
        let two = hosts("[\"db1.test:3306\", \"db2.test:3306\"]");
        assert_eq!(two.tables, usual.tables);
        assert_ne!(two.servers, usual.servers);
        assert_eq!(two, hosts("[\"db2.test:3306\", \"db1.test:3306\"]"));
    }
}
