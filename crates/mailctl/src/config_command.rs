//! `mailctl config`: what is wrong with the configuration, what is in force, what there is.

use clap::Subcommand;
use config::{Config, reference};
use serde_json::json;

use crate::error::Failure;
use crate::session::Session;

/// The configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Say what is wrong with the configuration, with file and line; exit status 78 where something is
    Check,
    /// Print what is in force, every option, as TOML
    Show {
        /// Only this section or option, e.g. smtpd or general.myhostname
        option: Option<String>,
    },
    /// Print the reference of all options
    Reference {
        /// Print a sample file in place of it
        #[arg(long)]
        sample: bool,
    },
}

/// Runs one of them.
pub(crate) fn run(command: &Command, session: &Session) -> Result<(), Failure> {
    match command {
        Command::Check => check(session),
        Command::Show { option } => show(option.as_deref(), session),
        Command::Reference { sample } => {
            if session.output.json {
                session.output.value(&reference::json());
                return Ok(());
            }
            let text = if *sample {
                reference::sample()
            } else {
                reference::markdown()
            };
            session.output.line(text.trim_end());
            Ok(())
        }
    }
}

fn check(session: &Session) -> Result<(), Failure> {
    let mut faults = Vec::new();
    match Config::load_layered(session.config_paths()) {
        Ok(config) => {
            faults.extend(
                ["smtpd", "imapd", "pop3d"]
                    .iter()
                    .filter_map(|name| config.missing_certificate(name)),
            );
        }
        Err(errors) => faults.extend(errors.0.iter().map(ToString::to_string)),
    }
    if session.output.json {
        session
            .output
            .value(&json!({ "good": faults.is_empty(), "faults": faults }));
        return if faults.is_empty() {
            Ok(())
        } else {
            Err(Failure::config(""))
        };
    }
    if !faults.is_empty() {
        return Err(Failure::config(faults.join("\n")));
    }
    let names: Vec<String> = session
        .config_paths()
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    session.output.line(&format!("{}: good", names.join(", ")));
    Ok(())
}

fn show(option: Option<&str>, session: &Session) -> Result<(), Failure> {
    let config = session.config()?;
    let Some(option) = option else {
        if session.output.json {
            session.output.value(&config.to_json());
        } else {
            session.output.line(config.to_toml().trim_end());
        }
        return Ok(());
    };
    let whole = config.to_json();
    let found = option
        .split('.')
        .try_fold(&whole, |value, key| value.get(key))
        .ok_or_else(|| {
            let hint = "write SECTION or SECTION.OPTION; mailctl config reference has them all";
            Failure::not_found(format!("there is no section or option {option}"), hint)
        })?;
    match found.as_str() {
        Some(text) if !session.output.json => session.output.line(text),
        _ => session.output.value(found),
    }
    Ok(())
}
