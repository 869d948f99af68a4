//! `mailctl check`: is what lies on the disk consistent? Reads only, needs no daemon, changes nothing.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use auth_api::Trace;
use auth_api::directory::MailboxAnswer;
use clap::Subcommand;
use durable::Disk;
use mail_types::{Address, MailId};
use maildir_store::check::{self as maildir_check, Severity};
use serde::Serialize;
use serde_json::json;
use spool::{ReadError, Spool};

use crate::error::Failure;
use crate::output::{clean, count as counted};
use crate::session::Session;

/// Offline checks.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check the mail queue: every file's checksums and journal
    Spool,
    /// Check Maildirs: message files, UID logs, account files
    Maildir {
        /// Addresses or directories; without any, everything below virtual_mailbox_base
        which: Vec<String>,
    },
}

/// One thing that is not as it should be.
#[derive(Debug, Serialize)]
struct Finding {
    severity: &'static str,
    path: String,
    text: String,
}

impl Finding {
    fn error(path: &dyn Display, text: &dyn Display) -> Self {
        Self {
            severity: "error",
            path: path.to_string(),
            text: text.to_string(),
        }
    }

    fn note(path: &dyn Display, text: &dyn Display) -> Self {
        Self {
            severity: "note",
            ..Self::error(path, text)
        }
    }
}

/// Runs one of them. Findings worse than a note are exit status 1.
pub(crate) async fn run(command: &Command, session: &Session) -> Result<(), Failure> {
    match command {
        Command::Spool => {
            let root = session.config()?.general.spool_dir.as_path();
            let (messages, findings) = check_spool(root)?;
            let summary = json!({ "spool": root.display().to_string(), "messages": messages });
            report(
                session,
                summary,
                &format!("{} in {}", counted(messages, "message"), root.display()),
                &findings,
            )
        }
        Command::Maildir { which } => {
            let paths = maildirs(which, session).await?;
            let (mut folders, mut messages, mut findings) = (0, 0, Vec::new());
            for path in &paths {
                let report = check_maildir(path, &mut findings);
                folders += report.folders;
                messages += report.messages;
            }
            let count = paths.len();
            let summary = json!({ "maildirs": count, "folders": folders, "messages": messages });
            let text = format!(
                "{} with {} and {}",
                counted(count, "Maildir"),
                counted(folders, "folder"),
                counted(messages, "message")
            );
            report(session, summary, &text, &findings)
        }
    }
}

fn report(
    session: &Session,
    mut summary: serde_json::Value,
    text: &str,
    findings: &[Finding],
) -> Result<(), Failure> {
    let errors = findings
        .iter()
        .filter(|finding| finding.severity == "error")
        .count();
    if session.output.json {
        summary["sound"] = (errors == 0).into();
        summary["findings"] = json!(findings);
        session.output.value(&summary);
    } else {
        for finding in findings {
            let severity = if finding.severity == "error" {
                session.output.red("error")
            } else {
                "note".to_owned()
            };
            session.output.line(&format!(
                "{severity}: {}: {}",
                clean(&finding.path),
                clean(&finding.text)
            ));
        }
        let verdict = if errors == 0 {
            "sound".to_owned()
        } else {
            counted(errors, "error")
        };
        session.output.line(&format!("{text}: {verdict}"));
    }
    if errors == 0 {
        Ok(())
    } else {
        Err(Failure::findings())
    }
}

fn unreadable(what: &Path, error: &dyn std::error::Error) -> Failure {
    let cause = error
        .source()
        .map(|cause| format!(": {cause}"))
        .unwrap_or_default();
    Failure::unreachable(
        format!("cannot check {}: {error}{cause}", what.display()),
        "run it as root, or as the account that owns these files; check the directory in the configuration",
    )
}

fn check_spool(root: &Path) -> Result<(usize, Vec<Finding>), Failure> {
    let spool = Spool::open_offline(&Disk::new(), root).map_err(|error| unreadable(root, &error))?;
    let scan = spool.scan().map_err(|error| unreadable(root, &error))?;
    let mut findings = Vec::new();
    for id in &scan.messages {
        match check_message(&spool, *id) {
            // Delivered and removed while we looked: the daemons may be running.
            Ok(()) | Err(ReadError::Missing(_)) => {}
            Err(error) => findings.push(Finding::error(id, &with_cause(&error))),
        }
    }
    findings.extend(scan.orphans.iter().map(|id| {
        Finding::note(
            id,
            &"a journal whose message is done; qmgr removes it at its next start",
        )
    }));
    findings.extend(
        scan.strangers
            .iter()
            .map(|stranger| Finding::error(stranger, &"this is no message and no journal")),
    );
    let quarantine = root.join("quarantine");
    for entry in std::fs::read_dir(&quarantine)
        .map_err(|error| unreadable(&quarantine, &error))?
        .flatten()
    {
        let text = "damaged and set aside by qmgr; look at it, then delete it";
        findings.push(Finding::note(&entry.path().display(), &text));
    }
    Ok((scan.messages.len(), findings))
}

fn check_message(spool: &Spool, id: MailId) -> Result<(), ReadError> {
    spool.open_message(id)?.verify()?;
    spool.read_journal(id).map(drop)
}

fn with_cause(error: &dyn std::error::Error) -> String {
    error
        .source()
        .map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

/// The Maildirs to check: named by path, by address (through authd), or all.
async fn maildirs(which: &[String], session: &Session) -> Result<Vec<PathBuf>, Failure> {
    let base = &session.config()?.general.virtual_mailbox_base;
    if which.is_empty() {
        let base = base.as_path();
        return maildir_check::maildirs_below(base).map_err(|error| unreadable(base, &error));
    }
    let mut paths = Vec::new();
    for name in which {
        if name.contains('/') {
            paths.push(PathBuf::from(name));
            continue;
        }
        let hint = "name addresses, or directories with a / in them";
        let address =
            Address::parse(name).map_err(|error| Failure::bad_request(format!("{name}: {error}"), hint))?;
        match session
            .authd()?
            .lookup_mailbox(&address, Trace::default())
            .await?
        {
            MailboxAnswer::Found(mailbox) => paths.push(base.join(mailbox.maildir)),
            MailboxAnswer::Unknown(refusal) => {
                return Err(Failure::not_found(
                    format!("{address}: {}", refusal.text),
                    "mailctl mailbox list",
                ));
            }
            MailboxAnswer::Misconfigured(reason) => {
                return Err(Failure::bad_request(
                    format!("{address}: {reason}"),
                    "mailctl mailbox show",
                ));
            }
        }
    }
    Ok(paths)
}

fn check_maildir(path: &Path, findings: &mut Vec<Finding>) -> maildir_check::Report {
    match maildir_check::run(&Disk::new(), path) {
        Ok(report) => {
            findings.extend(report.problems.iter().map(|problem| {
                let path = problem.path.display();
                match problem.severity {
                    Severity::Error => Finding::error(&path, &problem.text),
                    Severity::Note => Finding::note(&path, &problem.text),
                }
            }));
            report
        }
        Err(error) => {
            findings.push(Finding::error(&path.display(), &with_cause(&error)));
            maildir_check::Report::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spool_without_faults_a_stranger_and_a_missing_spool() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("spool");
        assert!(check_spool(&root).is_err());
        drop(Spool::open(&Disk::new(), &root, spool::Owner::Qmgr).unwrap());
        let (messages, findings) = check_spool(&root).unwrap();
        assert_eq!((messages, findings.len()), (0, 0));
        std::fs::write(root.join("incoming/notes.txt"), "x").unwrap();
        std::fs::write(root.join("quarantine/ABCDEFGHIJKLMNOPQRST"), "x").unwrap();
        let (_, findings) = check_spool(&root).unwrap();
        let severities: Vec<&str> = findings.iter().map(|finding| finding.severity).collect();
        assert_eq!(severities, ["error", "note"]);
    }

    #[test]
    fn a_directory_that_is_no_maildir_is_a_finding() {
        let dir = tempfile::tempdir().unwrap();
        let mut findings = Vec::new();
        check_maildir(&dir.path().join("none"), &mut findings);
        assert_eq!(findings[0].severity, "error");
    }
}
