//! `mailctl mailbox`: logins with an address and a Maildir each.

use auth_api::admin::{MailboxRecord, MailboxUpdate, NewMailbox, Which};
use clap::{Args, Subcommand};
use config::Size;
use mail_types::{Address, Domain};
use serde::Serialize;
use serde_json::json;

use crate::app_password;
use crate::error::Failure;
use crate::output::{clean, size, yes_no};
use crate::password::NewPasswordArgs;
use crate::session::Session;

/// Mailboxes.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Add a mailbox; asks for the password unless an option says where it is
    #[command(after_help = ADD)]
    Add(Add),
    /// List all mailboxes, or those of one domain
    List {
        /// Only this domain
        domain: Option<Domain>,
    },
    /// Show one mailbox and where it lies
    Show {
        /// The address
        address: Address,
    },
    /// Change a mailbox; what is not named stays
    Set(Set),
    /// Delete a mailbox; its Maildir stays on disk
    Delete {
        /// The address
        address: Address,
    },
    /// Give a mailbox a new password; asks for it unless an option says where it is
    Password {
        /// The address
        address: Address,
        #[command(flatten)]
        password: NewPasswordArgs,
    },
    /// Passwords of their own for single programs, beside that of the mailbox
    #[command(subcommand)]
    AppPassword(app_password::Command),
}

const ADD: &str = "\
Examples:
  mailctl mailbox add alice@example.com --name 'Alice Adams' --quota 2G
  mailctl mailbox add alice@example.com --generate     makes a password and shows it once
  pass show mail/alice | mailctl mailbox add alice@example.com --password-stdin";

/// A new mailbox.
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The address, which is also the login
    address: Address,
    /// The person's name
    #[arg(long, value_name = "TEXT", default_value = "")]
    name: String,
    /// Quota, e.g. 2G; 0 is unlimited
    #[arg(long, value_name = "SIZE", default_value = "0")]
    quota: Size,
    /// Add it switched off
    #[arg(long)]
    inactive: bool,
    /// Let it receive and read mail, but not send
    #[arg(long)]
    no_smtp: bool,
    /// A phone number
    #[arg(long, value_name = "TEXT", default_value = "")]
    phone: String,
    /// Another address of the person
    #[arg(long, value_name = "ADDRESS", default_value = "")]
    other_email: String,
    #[command(flatten)]
    password: NewPasswordArgs,
}

/// A change.
#[derive(Debug, Args)]
pub(crate) struct Set {
    /// The address
    address: Address,
    /// The person's name
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Quota, e.g. 2G; 0 is unlimited
    #[arg(long, value_name = "SIZE")]
    quota: Option<Size>,
    /// true or false: whether it exists
    #[arg(long, value_name = "BOOL")]
    active: Option<bool>,
    /// true or false: whether it may send mail
    #[arg(long, value_name = "BOOL")]
    smtp: Option<bool>,
    /// A phone number
    #[arg(long, value_name = "TEXT")]
    phone: Option<String>,
    /// Another address of the person; "" for none
    #[arg(long, value_name = "ADDRESS")]
    other_email: Option<String>,
}

/// A mailbox as it is shown.
#[derive(Debug, Serialize)]
struct Row {
    address: String,
    name: String,
    maildir: String,
    quota: u64,
    used: Option<u64>,
    active: bool,
    smtp: bool,
    phone: String,
    other_email: String,
    password_expiry: String,
}

impl From<MailboxRecord> for Row {
    fn from(record: MailboxRecord) -> Self {
        Self {
            address: record.address.to_string(),
            name: record.name,
            maildir: record.maildir,
            quota: record.quota,
            used: record.used,
            active: record.active,
            smtp: record.smtp_active,
            phone: record.phone,
            other_email: record.email_other,
            password_expiry: record.password_expiry,
        }
    }
}

/// Runs one of them.
pub(crate) async fn run(command: Command, session: &Session) -> Result<(), Failure> {
    match command {
        Command::Add(add) => add_mailbox(add, session).await,
        Command::List { domain } => list(domain.as_ref(), session).await,
        Command::Show { address } => show(&address, session).await,
        Command::Set(set) => change(set, session).await,
        Command::Delete { address } => {
            session.authd()?.delete_mailbox(&address).await?;
            let text = format!("deleted {address}; its Maildir stays on disk");
            session
                .output
                .done(&json!({ "address": address.to_string() }), &text);
            Ok(())
        }
        Command::Password { address, password } => {
            let authd = session.authd()?;
            let password = password.read()?;
            authd.set_password(&address, password.secret.clone()).await?;
            let value = json!({ "address": address.to_string(), "password": password.generated });
            let text = password.tell(&format!("{address} has a new password"));
            session.output.done(&value, &text);
            Ok(())
        }
        Command::AppPassword(command) => app_password::run(command, session).await,
    }
}

async fn add_mailbox(add: Add, session: &Session) -> Result<(), Failure> {
    let authd = session.authd()?;
    let password = add.password.read()?;
    let mailbox = NewMailbox {
        address: add.address.clone(),
        name: add.name,
        password: password.secret.clone(),
        quota: add.quota.bytes(),
        active: !add.inactive,
        smtp_active: !add.no_smtp,
        phone: add.phone,
        email_other: add.other_email,
    };
    authd.create_mailbox(mailbox).await?;
    let value = json!({ "address": add.address.to_string(), "password": password.generated });
    let text = password.tell(&format!("added {}", add.address));
    session.output.done(&value, &text);
    Ok(())
}

fn quota(bytes: u64) -> String {
    if bytes == 0 {
        "unlimited".to_owned()
    } else {
        size(bytes)
    }
}

async fn list(domain: Option<&Domain>, session: &Session) -> Result<(), Failure> {
    let rows = session.authd()?.mailboxes(Which::of(domain));
    let header = ["ADDRESS", "NAME", "QUOTA", "ACTIVE"];
    let none = "no mailboxes; mailctl mailbox add alice@example.com";
    let read = |record| Some(Row::from(record));
    let cells = |row: &Row| {
        vec![
            clean(&row.address),
            clean(&row.name),
            quota(row.quota),
            yes_no(row.active),
        ]
    };
    session.output.list(rows, read, &header, none, cells).await
}

async fn show(address: &Address, session: &Session) -> Result<(), Failure> {
    let one = Which::One(address.lookup_key());
    let record = session.authd()?.mailboxes(one).next().await?.ok_or_else(|| {
        let hint = format!(
            "mailctl mailbox list {} shows those of its domain",
            address.domain()
        );
        Failure::not_found(format!("there is no mailbox {address}"), hint)
    })?;
    let row = Row::from(record);
    let path = session.config()?.general.virtual_mailbox_base.join(&row.maildir);
    let mut value = json!(row);
    value["path"] = path.display().to_string().into();
    session.output.fields(
        &value,
        &[
            ("address", clean(&row.address)),
            ("name", clean(&row.name)),
            ("quota", quota(row.quota)),
            ("used", row.used.map(size).unwrap_or_default()),
            ("active", yes_no(row.active)),
            ("may send", yes_no(row.smtp)),
            ("phone", clean(&row.phone)),
            ("other address", clean(&row.other_email)),
            ("password expires", clean(&row.password_expiry)),
            ("Maildir", clean(&path.display().to_string())),
        ],
    );
    Ok(())
}

async fn change(set: Set, session: &Session) -> Result<(), Failure> {
    let update = MailboxUpdate {
        name: set.name,
        quota: set.quota.map(Size::bytes),
        active: set.active,
        smtp_active: set.smtp,
        phone: set.phone,
        email_other: set.other_email,
    };
    if update == MailboxUpdate::default() {
        return Err(Failure::bad_request(
            "nothing to change",
            "mailctl mailbox set --help shows what can be set; mailctl mailbox password sets the password",
        ));
    }
    session.authd()?.update_mailbox(&set.address, update).await?;
    session.output.done(
        &json!({ "address": set.address.to_string() }),
        &format!("changed {}", set.address),
    );
    Ok(())
}
