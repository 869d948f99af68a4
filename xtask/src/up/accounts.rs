//! The example accounts, made by `mailctl` as an operator would make them.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use tests::Site;

use super::endpoints;
use super::say::Say;

const DOMAIN: &str = "example.com";
const USERS: [&str; 2] = ["alice", "bob"];

/// An account that can log in.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its address, which is its login.
    pub address: String,
    /// Its password.
    pub password: String,
}

/// The example accounts, made where the database has no domains, where `demo` asks for them, or where an earlier `up` in
/// this directory made them; none otherwise.
pub fn ensure(site: &Site, say: &Say, operators_database: bool, demo: bool) -> Result<Vec<Account>> {
    let domains = names(&site.mailctl_json(&["domain", "list"])?, "domain");
    let known = endpoints::known_accounts(site.directory())?;
    if !domains.is_empty() && operators_database && !demo && known.is_empty() {
        return Ok(Vec::new());
    }
    if !domains.iter().any(|name| name == DOMAIN) {
        say.step(&format!("adding the domain {DOMAIN}"), || {
            site.mailctl(&["domain", "add", DOMAIN])
        })?;
    }
    let there = names(&site.mailctl_json(&["mailbox", "list", DOMAIN])?, "address");
    let mut accounts = Vec::new();
    for user in USERS {
        let address = format!("{user}@{DOMAIN}");
        let earlier = known.iter().find(|account| account.address == address);
        let account = match earlier {
            Some(account) => account.clone(),
            None => Account {
                address,
                password: random_password()?,
            },
        };
        let exists = there.contains(&account.address);
        if !exists {
            say.step(&format!("adding the mailbox {}", account.address), || {
                with_password(site, &["mailbox", "add", &account.address], &account.password)
            })?;
        } else if earlier.is_none() {
            say.step(&format!("giving {} a new password", account.address), || {
                with_password(
                    site,
                    &["mailbox", "password", &account.address],
                    &account.password,
                )
            })?;
        }
        accounts.push(account);
    }
    Ok(accounts)
}

/// One field of each row of a listing.
fn names(listing: &serde_json::Value, field: &str) -> Vec<String> {
    let rows = listing.as_array().into_iter().flatten();
    rows.filter_map(|row| row[field].as_str().map(str::to_owned))
        .collect()
}

/// Runs `mailctl` with a password on its standard input, where no list of processes shows it.
fn with_password(site: &Site, arguments: &[&str], password: &str) -> Result<()> {
    let mut command = Command::new(site.directory().join("bin/mailctl"));
    command
        .arg("--config")
        .arg(site.configuration_file())
        .args(arguments)
        .arg("--password-stdin");
    let (uid, gid) = site.ids();
    if nix::unistd::geteuid().is_root() {
        command.uid(uid).gid(gid);
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    child
        .stdin
        .take()
        .context("no standard input")?
        .write_all(format!("{password}\n").as_bytes())?;
    let output = child.wait_with_output()?;
    let said = [&output.stdout, &output.stderr]
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .concat();
    ensure!(output.status.success(), "mailctl {}: {said}", arguments.join(" "));
    Ok(())
}

/// Sixteen letters and digits.
fn random_password() -> Result<String> {
    const LETTERS: &[u8] = b"abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    let bytes = tests::random_bytes(16)?;
    Ok(bytes
        .iter()
        .map(|&byte| char::from(LETTERS[usize::from(byte) % LETTERS.len()]))
        .collect())
}
