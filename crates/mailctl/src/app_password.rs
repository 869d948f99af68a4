//! `mailctl mailbox app-password`: passwords for single programs.

use auth_api::admin::{AppPasswordRecord, NewAppPassword};
use clap::Subcommand;
use mail_types::Address;
use serde::Serialize;
use serde_json::json;

use crate::error::Failure;
use crate::output::clean;
use crate::password::NewPasswordArgs;
use crate::session::Session;

/// App passwords.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Add an app password; asks for it unless an option says where it is
    #[command(after_help = ADD)]
    Add {
        /// The mailbox
        address: Address,
        /// What it is for
        description: String,
        #[command(flatten)]
        password: NewPasswordArgs,
    },
    /// List the app passwords of a mailbox
    List {
        /// The mailbox
        address: Address,
    },
    /// Delete an app password
    Delete {
        /// The mailbox
        address: Address,
        /// Its number, as the list shows it
        id: i64,
    },
}

const ADD: &str = "\
Examples:
  mailctl mailbox app-password add alice@example.com 'phone' --generate

An app password opens mail like the mailbox's own (IMAP, POP3, SMTP), but not the panel; it can be
taken back alone. It needs the tables of PostfixAdmin 4.";

/// An app password as it is shown.
#[derive(Debug, Serialize)]
struct Row {
    id: i64,
    description: String,
}

impl From<AppPasswordRecord> for Row {
    fn from(record: AppPasswordRecord) -> Self {
        Self {
            id: record.id,
            description: record.description,
        }
    }
}

/// Runs one of them.
pub(crate) async fn run(command: Command, session: &Session) -> Result<(), Failure> {
    let authd = session.authd()?;
    match command {
        Command::Add {
            address,
            description,
            password,
        } => {
            let password = password.read()?;
            let new = NewAppPassword {
                address: address.clone(),
                description: description.clone(),
                password: password.secret.clone(),
            };
            authd.create_app_password(new).await?;
            let value = json!({
                "address": address.to_string(), "description": description, "password": password.generated,
            });
            let text = password.tell(&format!(
                "{address} has an app password for {}",
                clean(&description)
            ));
            session.output.done(&value, &text);
        }
        Command::List { address } => {
            let records = authd.app_passwords(&address).await?;
            let rows: Vec<Row> = records.into_iter().map(Row::from).collect();
            let none =
                "no app passwords; mailctl mailbox app-password add alice@example.com phone --generate";
            session.output.rows(&rows, &["ID", "FOR"], none, |row| {
                vec![row.id.to_string(), clean(&row.description)]
            });
        }
        Command::Delete { address, id } => {
            authd.delete_app_password(&address, id).await?;
            let value = json!({ "address": address.to_string(), "id": id });
            let text = format!("deleted app password {id} of {address}");
            session.output.done(&value, &text);
        }
    }
    Ok(())
}
