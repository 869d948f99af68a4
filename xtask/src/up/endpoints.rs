//! `DIR/endpoints.json`: where the server listens and who may log in, for scripts and for the next `up`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tests::Site;

use super::accounts::Account;
use super::place;

const FILE: &str = "endpoints.json";

/// Writes the file; it holds passwords, so only its owner may read it.
pub fn write(site: &Site, accounts: &[Account]) -> Result<()> {
    let ports = site.ports;
    let accounts: Vec<Value> = accounts
        .iter()
        .map(|account| json!({"address": account.address, "password": account.password}))
        .collect();
    let endpoints = json!({
        "host": "localhost",
        "ports": {
            "smtp": ports.smtp,
            "submission": ports.submission,
            "submissions": ports.submissions,
            "imap": ports.imap,
            "imaps": ports.imaps,
            "pop3": ports.pop3,
            "pop3s": ports.pop3s,
        },
        "lmtp_socket": site.lmtp_socket,
        "ca_file": site.ca_file,
        "mail_root": site.mail_root,
        "accounts": accounts,
    });
    place::write_private(&site.directory().join(FILE), &format!("{endpoints:#}\n"))
}

/// The accounts of an earlier `up` in this directory, with their passwords.
pub fn known_accounts(directory: &Path) -> Result<Vec<Account>> {
    let text = match fs::read_to_string(directory.join(FILE)) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).context(FILE),
    };
    let endpoints: Value = serde_json::from_str(&text).context(FILE)?;
    let accounts = endpoints["accounts"].as_array().into_iter().flatten();
    let read = |account: &Value| {
        let text = |key: &str| account[key].as_str().map(str::to_owned);
        Some(Account {
            address: text("address")?,
            password: text("password")?,
        })
    };
    Ok(accounts.filter_map(read).collect())
}
