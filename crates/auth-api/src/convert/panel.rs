//! `postrider.admin.v1`: administrators, app passwords, automatic replies, fetchmail and the log.

use mail_types::{Domain, Secret};

use super::{Malformed, address, domain};
use crate::admin::{
    AdministratorRecord, AdministratorUpdate, AppPasswordRecord, FetchmailRecord, LogEntry, NewAdministrator,
    NewAppPassword, VacationRecord,
};
use crate::pb::admin as pb;

fn domains(names: &[String]) -> Result<Vec<Domain>, Malformed> {
    names.iter().map(|name| domain(name)).collect()
}

fn names(domains: &[Domain]) -> Vec<String> {
    domains.iter().map(ToString::to_string).collect()
}

impl From<AdministratorRecord> for pb::Administrator {
    fn from(record: AdministratorRecord) -> Self {
        Self {
            domains: names(&record.domains),
            username: record.username,
            superadmin: record.superadmin,
            active: record.active,
        }
    }
}

impl TryFrom<pb::Administrator> for AdministratorRecord {
    type Error = Malformed;
    fn try_from(row: pb::Administrator) -> Result<Self, Malformed> {
        Ok(Self {
            domains: domains(&row.domains)?,
            username: row.username,
            superadmin: row.superadmin,
            active: row.active,
        })
    }
}

impl From<NewAdministrator> for pb::NewAdministrator {
    fn from(new: NewAdministrator) -> Self {
        Self {
            username: new.username.to_string(),
            password: new.password.expose().to_vec(),
            superadmin: new.superadmin,
            active: new.active,
            domains: names(&new.domains),
        }
    }
}

impl TryFrom<pb::NewAdministrator> for NewAdministrator {
    type Error = Malformed;
    fn try_from(row: pb::NewAdministrator) -> Result<Self, Malformed> {
        Ok(Self {
            username: address(&row.username)?,
            password: Secret::new(row.password),
            superadmin: row.superadmin,
            active: row.active,
            domains: domains(&row.domains)?,
        })
    }
}

/// The wire form of a change.
pub fn administrator_update(username: &str, update: &AdministratorUpdate) -> pb::AdministratorUpdate {
    pb::AdministratorUpdate {
        username: username.to_owned(),
        superadmin: update.superadmin,
        active: update.active,
        add_domains: names(&update.add_domains),
        remove_domains: names(&update.remove_domains),
    }
}

impl TryFrom<pb::AdministratorUpdate> for (String, AdministratorUpdate) {
    type Error = Malformed;
    fn try_from(row: pb::AdministratorUpdate) -> Result<Self, Malformed> {
        let update = AdministratorUpdate {
            superadmin: row.superadmin,
            active: row.active,
            add_domains: domains(&row.add_domains)?,
            remove_domains: domains(&row.remove_domains)?,
        };
        Ok((row.username, update))
    }
}

impl From<AppPasswordRecord> for pb::AppPassword {
    fn from(record: AppPasswordRecord) -> Self {
        Self {
            id: record.id,
            description: record.description,
        }
    }
}

impl From<pb::AppPassword> for AppPasswordRecord {
    fn from(row: pb::AppPassword) -> Self {
        Self {
            id: row.id,
            description: row.description,
        }
    }
}

impl From<NewAppPassword> for pb::NewAppPassword {
    fn from(new: NewAppPassword) -> Self {
        Self {
            address: new.address.to_string(),
            description: new.description,
            password: new.password.expose().to_vec(),
        }
    }
}

impl TryFrom<pb::NewAppPassword> for NewAppPassword {
    type Error = Malformed;
    fn try_from(row: pb::NewAppPassword) -> Result<Self, Malformed> {
        Ok(Self {
            address: address(&row.address)?,
            description: row.description,
            password: Secret::new(row.password),
        })
    }
}

impl From<VacationRecord> for pb::Vacation {
    fn from(record: VacationRecord) -> Self {
        Self {
            address: record.address.to_string(),
            subject: record.subject,
            body: record.body,
            active_from: record.active_from,
            active_until: record.active_until,
            interval_time: record.interval_time,
            active: record.active,
        }
    }
}

impl TryFrom<pb::Vacation> for VacationRecord {
    type Error = Malformed;
    fn try_from(row: pb::Vacation) -> Result<Self, Malformed> {
        Ok(Self {
            address: address(&row.address)?,
            subject: row.subject,
            body: row.body,
            active_from: row.active_from,
            active_until: row.active_until,
            interval_time: row.interval_time,
            active: row.active,
        })
    }
}

impl From<FetchmailRecord> for pb::Fetchmail {
    fn from(record: FetchmailRecord) -> Self {
        Self {
            id: record.id,
            mailbox: record.mailbox,
            src_server: record.src_server,
            src_user: record.src_user,
            protocol: record.protocol,
            poll_time: record.poll_time,
            active: record.active,
            date: record.date,
            returned_text: record.returned_text,
        }
    }
}

impl From<pb::Fetchmail> for FetchmailRecord {
    fn from(row: pb::Fetchmail) -> Self {
        Self {
            id: row.id,
            mailbox: row.mailbox,
            src_server: row.src_server,
            src_user: row.src_user,
            protocol: row.protocol,
            poll_time: row.poll_time,
            active: row.active,
            date: row.date,
            returned_text: row.returned_text,
        }
    }
}

impl From<LogEntry> for pb::LogEntry {
    fn from(entry: LogEntry) -> Self {
        Self {
            timestamp: entry.timestamp,
            username: entry.username,
            domain: entry.domain,
            action: entry.action,
            data: entry.data,
        }
    }
}

impl From<pb::LogEntry> for LogEntry {
    fn from(row: pb::LogEntry) -> Self {
        Self {
            timestamp: row.timestamp,
            username: row.username,
            domain: row.domain,
            action: row.action,
            data: row.data,
        }
    }
}
