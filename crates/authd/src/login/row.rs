//! What a row of the tables holds for a login: the passwords that may be tried, and what stands in for a row
//! that does not exist, so that the time does not tell.

use mail_types::Secret;
use sasl::password::{FormatError, Stored, Unmarked};

use super::revision::Means;
use crate::directory::backend::LoginRow;

/// Most passwords of programs that one login tries.
const APP_PASSWORDS: usize = 16;

/// One stored password.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Whose.
    pub means: Means,
    /// As stored.
    pub column: Secret,
    /// The same, read.
    pub stored: Stored,
}

/// The columns of the last real row: unknown users are checked against them (and never fit).
#[derive(Debug, Clone)]
pub struct Decoy {
    columns: Vec<Secret>,
    unmarked: Unmarked,
}

impl Decoy {
    /// Of a column that was made for it.
    pub fn new(column: Secret) -> Self {
        Self {
            columns: vec![column],
            unmarked: Unmarked::REFUSED,
        }
    }

    /// Of a real row, where it costs anything to check: a locked account would tell the others apart.
    pub fn learn(&mut self, candidates: &[Candidate], unmarked: Unmarked) {
        if candidates.iter().all(|candidate| !candidate.stored.is_locked()) && !candidates.is_empty() {
            self.columns = candidates
                .iter()
                .map(|candidate| candidate.column.clone())
                .collect();
            self.unmarked = unmarked;
        }
    }

    /// What costs as much as the real ones, and fits nothing.
    pub fn candidates(&self) -> Vec<Candidate> {
        let candidate = |column: &Secret| {
            let text = column.expose_str()?;
            Some(Candidate {
                means: Means::Mailbox,
                column: column.clone(),
                stored: Stored::parse(text, self.unmarked).ok()?.decoy(),
            })
        };
        self.columns.iter().filter_map(candidate).collect()
    }
}

/// The passwords of a row, the mailbox's own first. `apps`: those of programs too.
///
/// A column that is broken or over the cap is the site's trouble, not a wrong password.
pub fn candidates(row: &LoginRow, unmarked: Unmarked, apps: bool) -> Result<Vec<Candidate>, String> {
    let column = own_column(row);
    let text = column.expose_str().unwrap_or_default();
    let unmarked_here = reading(row, unmarked);
    let stored = Stored::parse(text, unmarked_here).map_err(|error| trouble(row, text, error))?;
    let mut candidates = vec![Candidate {
        means: Means::Mailbox,
        column: column.clone(),
        stored,
    }];
    if apps {
        for app in row.app_passwords.iter().take(APP_PASSWORDS) {
            match Stored::parse(app.password.expose_str().unwrap_or_default(), unmarked) {
                Ok(stored) if !stored.is_locked() => candidates.push(Candidate {
                    means: Means::App(app.id),
                    column: app.password.clone(),
                    stored,
                }),
                Ok(_) => {}
                Err(error) => tracing::warn!(
                    mailbox = row.mailbox.username,
                    id = app.id,
                    %error,
                    "this app password cannot be used"
                ),
            }
        }
    }
    Ok(candidates)
}

/// The column that decides: the hash; where there is none, the one for cleartext.
fn own_column(row: &LoginRow) -> &Secret {
    match &row.cleartext {
        Some(clear) if row.password.is_empty() => clear,
        _ => &row.password,
    }
}

/// How that column is read.
fn reading(row: &LoginRow, unmarked: Unmarked) -> Unmarked {
    if row.cleartext.is_some() && row.password.is_empty() {
        Unmarked::CLEARTEXT
    } else {
        unmarked
    }
}

/// The password in clear, where the row has it.
pub fn cleartext(row: &LoginRow, unmarked: Unmarked) -> Option<Secret> {
    if let Some(clear) = row.cleartext.as_ref().filter(|clear| !clear.is_empty()) {
        return Some(clear.clone());
    }
    let stored = Stored::parse(row.password.expose_str()?, unmarked).ok()?;
    stored.cleartext().cloned()
}

fn trouble(row: &LoginRow, column: &str, error: FormatError) -> String {
    let hint = match error {
        FormatError::Unsupported if !column.starts_with(['{', '$']) => {
            "; if it is cleartext, set [authd] unmarked_passwords = \"cleartext\""
        }
        _ => "",
    };
    let reason = format!("{}: {error}{hint}", row.mailbox.username);
    tracing::error!(reason, "this mailbox cannot log in");
    reason
}
