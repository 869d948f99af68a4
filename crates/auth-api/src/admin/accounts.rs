//! Administrators of the panel, and app passwords.

use mail_types::{Address, Domain, Secret};

/// A row of `admin` with those of `domain_admins`, without its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdministratorRecord {
    /// The login, by custom a mail address.
    pub username: String,
    /// May do everything, in all domains.
    pub superadmin: bool,
    /// False: cannot log in.
    pub active: bool,
    /// The domains that are his, by name.
    pub domains: Vec<Domain>,
}

/// An administrator to be made.
#[derive(Debug, Clone)]
pub struct NewAdministrator {
    /// See [`AdministratorRecord::username`].
    pub username: Address,
    /// In clear.
    pub password: Secret,
    /// See [`AdministratorRecord::superadmin`].
    pub superadmin: bool,
    /// See [`AdministratorRecord::active`].
    pub active: bool,
    /// See [`AdministratorRecord::domains`].
    pub domains: Vec<Domain>,
}

/// What to change; `None` leaves a column alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AdministratorUpdate {
    /// See [`AdministratorRecord::superadmin`].
    pub superadmin: Option<bool>,
    /// See [`AdministratorRecord::active`].
    pub active: Option<bool>,
    /// Domains to give.
    pub add_domains: Vec<Domain>,
    /// Domains to take.
    pub remove_domains: Vec<Domain>,
}

/// A row of `mailbox_app_password`, without its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppPasswordRecord {
    /// Its number.
    pub id: i64,
    /// What it is for.
    pub description: String,
}

/// An app password to be made.
#[derive(Debug, Clone)]
pub struct NewAppPassword {
    /// The mailbox.
    pub address: Address,
    /// What it is for.
    pub description: String,
    /// In clear.
    pub password: Secret,
}
