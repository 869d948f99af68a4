//! `mailctl admin`: who may administer in PostfixAdmin, and what.

use auth_api::admin::{AdministratorRecord, AdministratorUpdate, NewAdministrator};
use clap::{Args, Subcommand};
use mail_types::{Address, Domain};
use serde::Serialize;
use serde_json::json;

use crate::error::Failure;
use crate::output::{clean, yes_no};
use crate::password::NewPasswordArgs;
use crate::session::Session;

/// Administrators.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Add an administrator; asks for the password unless an option says where it is
    #[command(after_help = ADD)]
    Add(Add),
    /// List all administrators
    List,
    /// Show one administrator with his domains
    Show {
        /// The login
        username: String,
    },
    /// Change an administrator; what is not named stays
    #[command(after_help = SET)]
    Set(Set),
    /// Delete an administrator; his domains stay
    Delete {
        /// The login
        username: String,
    },
    /// Give an administrator a new password; asks for it unless an option says where it is
    Password {
        /// The login
        username: String,
        #[command(flatten)]
        password: NewPasswordArgs,
    },
}

const ADD: &str = "\
Examples:
  mailctl admin add root@example.com --super --generate
  mailctl admin add helpdesk@example.com --domain example.com --domain example.net

They log in to PostfixAdmin. mailctl itself asks for no login: who may open authd's admin socket may
do everything.";

const SET: &str = "\
Examples:
  mailctl admin set helpdesk@example.com --add-domain example.org --remove-domain example.net
  mailctl admin set root@example.com --super false";

/// A new administrator.
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The login: a mail address
    username: Address,
    /// May do everything, in all domains
    #[arg(long = "super")]
    superadmin: bool,
    /// A domain that is his; may be given more than once
    #[arg(long = "domain", value_name = "DOMAIN")]
    domains: Vec<Domain>,
    /// Add him switched off
    #[arg(long)]
    inactive: bool,
    #[command(flatten)]
    password: NewPasswordArgs,
}

/// A change.
#[derive(Debug, Args)]
pub(crate) struct Set {
    /// The login
    username: String,
    /// true or false: may do everything, in all domains
    #[arg(long = "super", value_name = "BOOL")]
    superadmin: Option<bool>,
    /// true or false: may log in
    #[arg(long, value_name = "BOOL")]
    active: Option<bool>,
    /// One more domain; may be given more than once
    #[arg(long, value_name = "DOMAIN")]
    add_domain: Vec<Domain>,
    /// A domain less; may be given more than once
    #[arg(long, value_name = "DOMAIN")]
    remove_domain: Vec<Domain>,
}

/// An administrator as he is shown.
#[derive(Debug, Serialize)]
struct Row {
    username: String,
    #[serde(rename = "super")]
    superadmin: bool,
    active: bool,
    domains: Vec<String>,
}

impl From<AdministratorRecord> for Row {
    fn from(record: AdministratorRecord) -> Self {
        Self {
            username: record.username,
            superadmin: record.superadmin,
            active: record.active,
            domains: record.domains.iter().map(ToString::to_string).collect(),
        }
    }
}

impl Row {
    fn domains(&self) -> String {
        if self.superadmin {
            "all".to_owned()
        } else {
            self.domains.join(", ")
        }
    }
}

/// Runs one of them.
pub(crate) async fn run(command: Command, session: &Session) -> Result<(), Failure> {
    match command {
        Command::Add(add) => add_administrator(add, session).await,
        Command::List => list(session).await,
        Command::Show { username } => show(&username, session).await,
        Command::Set(set) => change(set, session).await,
        Command::Delete { username } => {
            session.authd()?.delete_administrator(&username).await?;
            let text = format!("deleted {}", clean(&username));
            session.output.done(&json!({ "username": username }), &text);
            Ok(())
        }
        Command::Password { username, password } => {
            let authd = session.authd()?;
            let password = password.read()?;
            authd
                .set_administrator_password(&username, password.secret.clone())
                .await?;
            let value = json!({ "username": username, "password": password.generated });
            let text = password.tell(&format!("{} has a new password", clean(&username)));
            session.output.done(&value, &text);
            Ok(())
        }
    }
}

async fn add_administrator(add: Add, session: &Session) -> Result<(), Failure> {
    let authd = session.authd()?;
    let password = add.password.read()?;
    let new = NewAdministrator {
        username: add.username.clone(),
        password: password.secret.clone(),
        superadmin: add.superadmin,
        active: !add.inactive,
        domains: add.domains,
    };
    authd.create_administrator(new).await?;
    let value = json!({ "username": add.username.to_string(), "password": password.generated });
    let text = password.tell(&format!("added {}", add.username));
    session.output.done(&value, &text);
    Ok(())
}

async fn list(session: &Session) -> Result<(), Failure> {
    let rows = session.authd()?.administrators(None);
    let header = ["USERNAME", "SUPER", "ACTIVE", "DOMAINS"];
    let none = "no administrators; mailctl admin add root@example.com --super";
    let read = |record| Some(Row::from(record));
    let cells = |row: &Row| {
        vec![
            clean(&row.username),
            yes_no(row.superadmin),
            yes_no(row.active),
            row.domains(),
        ]
    };
    session.output.list(rows, read, &header, none, cells).await
}

async fn show(username: &str, session: &Session) -> Result<(), Failure> {
    let only = username.to_lowercase();
    let found = session.authd()?.administrators(Some(&only)).next().await?;
    let row = found.map(Row::from).ok_or_else(|| {
        Failure::not_found(
            format!("there is no administrator {}", clean(username)),
            "mailctl admin list shows all",
        )
    })?;
    session.output.fields(
        &row,
        &[
            ("username", clean(&row.username)),
            ("super", yes_no(row.superadmin)),
            ("active", yes_no(row.active)),
            ("domains", row.domains()),
        ],
    );
    Ok(())
}

async fn change(set: Set, session: &Session) -> Result<(), Failure> {
    let update = AdministratorUpdate {
        superadmin: set.superadmin,
        active: set.active,
        add_domains: set.add_domain,
        remove_domains: set.remove_domain,
    };
    if update == AdministratorUpdate::default() {
        return Err(Failure::bad_request(
            "nothing to change",
            "mailctl admin set --help shows what can be set; mailctl admin password sets the password",
        ));
    }
    session
        .authd()?
        .update_administrator(&set.username, update)
        .await?;
    let text = format!("changed {}", clean(&set.username));
    session.output.done(&json!({ "username": set.username }), &text);
    Ok(())
}
