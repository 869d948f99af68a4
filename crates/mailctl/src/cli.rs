//! The arguments that all commands share, and the list of commands.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::{
    administrator, alias, alias_domain, auth, check, config_command, directory, domain, explain, fetchmail,
    mailbox, panel_log, queue, trace, vacation,
};

/// Administer Postrider: domains, mailboxes and aliases, the queue, the life of a message
#[derive(Debug, Parser)]
#[command(name = "mailctl", version, propagate_version = true, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// Configuration file; may be given more than once, a later file wins option by option
    #[arg(long, value_name = "FILE", global = true, default_value = config::DEFAULT_PATH)]
    pub(crate) config: Vec<PathBuf>,
    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands, in the order of the help.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Domains for which this host takes mail
    #[command(subcommand)]
    Domain(domain::Command),
    /// Mailboxes: a login, an address and a Maildir each
    #[command(subcommand)]
    Mailbox(mailbox::Command),
    /// Aliases: addresses whose mail goes to others
    #[command(subcommand)]
    Alias(alias::Command),
    /// Domains in which every address is the same as in another
    #[command(subcommand)]
    AliasDomain(alias_domain::Command),
    /// Automatic replies
    #[command(subcommand)]
    Vacation(vacation::Command),
    /// Administrators of PostfixAdmin
    #[command(subcommand)]
    Admin(administrator::Command),
    /// Mailboxes elsewhere whose mail is fetched
    #[command(subcommand)]
    Fetchmail(fetchmail::Command),
    /// What administrators did, here and in PostfixAdmin
    Log(panel_log::Args),
    /// Where the rows come from: the database, or the copy for the time without it
    #[command(subcommand)]
    Directory(directory::Command),
    /// Mail that waits
    #[command(subcommand)]
    Queue(queue::Command),
    /// Everything that happened to a message, in all daemons
    Trace(trace::Args),
    /// Why an address gets mail, and where it goes
    #[command(subcommand)]
    Explain(explain::Command),
    /// Logins
    #[command(subcommand)]
    Auth(auth::Command),
    /// Offline consistency checks; they change nothing
    #[command(subcommand)]
    Check(check::Command),
    /// The configuration
    #[command(subcommand)]
    Config(config_command::Command),
}

const EXAMPLES: &str = "\
Examples:
  mailctl domain add example.com
  mailctl mailbox add alice@example.com            asks for the password
  mailctl alias add sales@example.com alice@example.com bob@example.net
  mailctl trace alice@example.com                  what became of her mail
  mailctl explain rcpt sales@example.com           where her mail would go, and why
  mailctl queue list
  mailctl config check

Every command has its own help: mailctl mailbox add --help";
