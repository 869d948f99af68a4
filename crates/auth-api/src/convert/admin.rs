//! `postrider.admin.v1`.

use mail_types::{Address, Domain, Secret};

use super::{Malformed, address, domain};
use crate::Unavailable;
use crate::admin::{
    AdminError, AliasDomainRecord, AliasDomainUpdate, AliasRecord, AliasUpdate, DomainCounts, DomainRecord,
    DomainUpdate, MailboxRecord, MailboxUpdate, NewMailbox, Which,
};
use crate::pb::admin as pb;

impl From<Which> for pb::ListRequest {
    fn from(which: Which) -> Self {
        let (domain, key) = match which {
            Which::All => (String::new(), String::new()),
            Which::Domain(domain) => (domain.to_string(), String::new()),
            Which::One(key) => (String::new(), key),
        };
        Self { domain, key }
    }
}

impl TryFrom<pb::ListRequest> for Which {
    type Error = Malformed;
    fn try_from(request: pb::ListRequest) -> Result<Self, Malformed> {
        match (request.key.is_empty(), request.domain.is_empty()) {
            (false, _) => Ok(Self::One(request.key)),
            (true, false) => Ok(Self::Domain(domain(&request.domain)?)),
            (true, true) => Ok(Self::All),
        }
    }
}

impl From<DomainCounts> for pb::DomainCounts {
    fn from(counts: DomainCounts) -> Self {
        Self {
            mailboxes: counts.mailboxes,
            aliases: counts.aliases,
            alias_domains: counts.alias_domains,
        }
    }
}

impl From<pb::DomainCounts> for DomainCounts {
    fn from(counts: pb::DomainCounts) -> Self {
        Self {
            mailboxes: counts.mailboxes,
            aliases: counts.aliases,
            alias_domains: counts.alias_domains,
        }
    }
}

impl From<DomainRecord> for pb::Domain {
    fn from(record: DomainRecord) -> Self {
        Self {
            domain: record.domain.to_string(),
            description: record.description,
            transport: record.transport,
            backupmx: record.backupmx,
            active: record.active,
            aliases: record.aliases,
            mailboxes: record.mailboxes,
            maxquota: record.maxquota,
            quota: record.quota,
            password_expiry: record.password_expiry,
            alias_of: record.alias_of.map(|domain| domain.to_string()),
        }
    }
}

impl TryFrom<pb::Domain> for DomainRecord {
    type Error = Malformed;
    fn try_from(row: pb::Domain) -> Result<Self, Malformed> {
        Ok(Self {
            domain: domain(&row.domain)?,
            description: row.description,
            transport: row.transport,
            backupmx: row.backupmx,
            active: row.active,
            aliases: row.aliases,
            mailboxes: row.mailboxes,
            maxquota: row.maxquota,
            quota: row.quota,
            password_expiry: row.password_expiry,
            alias_of: row.alias_of.map(|name| domain(&name)).transpose()?,
        })
    }
}

/// The wire form of a change.
pub fn domain_update(name: &Domain, update: DomainUpdate) -> pb::DomainUpdate {
    pb::DomainUpdate {
        domain: name.to_string(),
        description: update.description,
        transport: update.transport,
        backupmx: update.backupmx,
        active: update.active,
        aliases: update.aliases,
        mailboxes: update.mailboxes,
        maxquota: update.maxquota,
        quota: update.quota,
        password_expiry: update.password_expiry,
    }
}

impl TryFrom<pb::DomainUpdate> for (Domain, DomainUpdate) {
    type Error = Malformed;
    fn try_from(row: pb::DomainUpdate) -> Result<Self, Malformed> {
        let update = DomainUpdate {
            description: row.description,
            transport: row.transport,
            backupmx: row.backupmx,
            active: row.active,
            aliases: row.aliases,
            mailboxes: row.mailboxes,
            maxquota: row.maxquota,
            quota: row.quota,
            password_expiry: row.password_expiry,
        };
        Ok((domain(&row.domain)?, update))
    }
}

impl From<AliasDomainRecord> for pb::AliasDomain {
    fn from(record: AliasDomainRecord) -> Self {
        Self {
            alias_domain: record.alias_domain.to_string(),
            target_domain: record.target_domain.to_string(),
            active: record.active,
        }
    }
}

impl TryFrom<pb::AliasDomain> for AliasDomainRecord {
    type Error = Malformed;
    fn try_from(row: pb::AliasDomain) -> Result<Self, Malformed> {
        Ok(Self {
            alias_domain: domain(&row.alias_domain)?,
            target_domain: domain(&row.target_domain)?,
            active: row.active,
        })
    }
}

/// The wire form of a change.
pub fn alias_domain_update(name: &Domain, update: AliasDomainUpdate) -> pb::AliasDomainUpdate {
    pb::AliasDomainUpdate {
        alias_domain: name.to_string(),
        target_domain: update.target_domain.map(|domain| domain.to_string()),
        active: update.active,
    }
}

impl TryFrom<pb::AliasDomainUpdate> for (Domain, AliasDomainUpdate) {
    type Error = Malformed;
    fn try_from(row: pb::AliasDomainUpdate) -> Result<Self, Malformed> {
        let update = AliasDomainUpdate {
            target_domain: row.target_domain.map(|name| domain(&name)).transpose()?,
            active: row.active,
        };
        Ok((domain(&row.alias_domain)?, update))
    }
}

impl From<MailboxRecord> for pb::Mailbox {
    fn from(record: MailboxRecord) -> Self {
        Self {
            address: record.address.to_string(),
            name: record.name,
            maildir: record.maildir,
            quota: record.quota,
            active: record.active,
            smtp_active: record.smtp_active,
            phone: record.phone,
            email_other: record.email_other,
            password_expiry: record.password_expiry,
            used: record.used,
        }
    }
}

impl TryFrom<pb::Mailbox> for MailboxRecord {
    type Error = Malformed;
    fn try_from(row: pb::Mailbox) -> Result<Self, Malformed> {
        Ok(Self {
            address: address(&row.address)?,
            name: row.name,
            maildir: row.maildir,
            quota: row.quota,
            active: row.active,
            smtp_active: row.smtp_active,
            phone: row.phone,
            email_other: row.email_other,
            password_expiry: row.password_expiry,
            used: row.used,
        })
    }
}

impl From<NewMailbox> for pb::NewMailbox {
    fn from(mailbox: NewMailbox) -> Self {
        Self {
            address: mailbox.address.to_string(),
            name: mailbox.name,
            password: mailbox.password.expose().to_vec(),
            quota: mailbox.quota,
            active: mailbox.active,
            smtp_active: mailbox.smtp_active,
            phone: mailbox.phone,
            email_other: mailbox.email_other,
        }
    }
}

impl TryFrom<pb::NewMailbox> for NewMailbox {
    type Error = Malformed;
    fn try_from(row: pb::NewMailbox) -> Result<Self, Malformed> {
        Ok(Self {
            address: address(&row.address)?,
            name: row.name,
            password: Secret::new(row.password),
            quota: row.quota,
            active: row.active,
            smtp_active: row.smtp_active,
            phone: row.phone,
            email_other: row.email_other,
        })
    }
}

/// The wire form of a change.
pub fn mailbox_update(name: &Address, update: MailboxUpdate) -> pb::MailboxUpdate {
    pb::MailboxUpdate {
        address: name.to_string(),
        name: update.name,
        quota: update.quota,
        active: update.active,
        smtp_active: update.smtp_active,
        phone: update.phone,
        email_other: update.email_other,
    }
}

impl TryFrom<pb::MailboxUpdate> for (Address, MailboxUpdate) {
    type Error = Malformed;
    fn try_from(row: pb::MailboxUpdate) -> Result<Self, Malformed> {
        let update = MailboxUpdate {
            name: row.name,
            quota: row.quota,
            active: row.active,
            smtp_active: row.smtp_active,
            phone: row.phone,
            email_other: row.email_other,
        };
        Ok((address(&row.address)?, update))
    }
}

impl From<AliasRecord> for pb::Alias {
    fn from(record: AliasRecord) -> Self {
        Self {
            address: record.address,
            goto: record.goto,
            active: record.active,
            mirrors_mailbox: record.mirrors_mailbox,
            vacation: record.vacation,
        }
    }
}

impl From<pb::Alias> for AliasRecord {
    fn from(row: pb::Alias) -> Self {
        Self {
            address: row.address,
            goto: row.goto,
            active: row.active,
            mirrors_mailbox: row.mirrors_mailbox,
            vacation: row.vacation,
        }
    }
}

/// The wire form of a change.
pub fn alias_update(name: &str, update: AliasUpdate) -> pb::AliasUpdate {
    pb::AliasUpdate {
        address: name.to_owned(),
        goto: update.goto.unwrap_or_default(),
        active: update.active,
        keep_copy: update.keep_copy,
        add: update.add,
        remove: update.remove,
    }
}

impl From<pb::AliasUpdate> for (String, AliasUpdate) {
    fn from(row: pb::AliasUpdate) -> Self {
        let update = AliasUpdate {
            goto: (!row.goto.is_empty()).then_some(row.goto),
            active: row.active,
            keep_copy: row.keep_copy,
            add: row.add,
            remove: row.remove,
        };
        (row.address, update)
    }
}

/// How a list ends whose rows cannot be read.
pub fn list_status(error: AdminError) -> tonic::Status {
    match error {
        AdminError::Unavailable(error) => tonic::Status::unavailable(error.reason),
        AdminError::NotFound(text) => tonic::Status::not_found(text),
        AdminError::Exists(text) | AdminError::Invalid(text) => tonic::Status::failed_precondition(text),
        AdminError::Denied(text) => tonic::Status::permission_denied(text),
    }
}

/// The inverse of [`list_status`], for a status that the other side made.
pub fn list_error(status: &tonic::Status, otherwise: Unavailable) -> AdminError {
    let text = || status.message().to_owned();
    match status.code() {
        tonic::Code::NotFound => AdminError::NotFound(text()),
        tonic::Code::FailedPrecondition => AdminError::Invalid(text()),
        tonic::Code::PermissionDenied => AdminError::Denied(text()),
        _ => otherwise.into(),
    }
}

/// The answer to a change; trouble that is not the operator's becomes a status.
pub fn change_response(result: Result<(), AdminError>) -> Result<pb::ChangeResponse, tonic::Status> {
    use pb::change_response::Result as R;
    use pb::failure::Kind;
    let failure = |kind: Kind, text: String| {
        R::Failure(pb::Failure {
            kind: kind.into(),
            text,
        })
    };
    let result = match result {
        Ok(()) => R::Done(pb::Done {}),
        Err(AdminError::NotFound(text)) => failure(Kind::NotFound, text),
        Err(AdminError::Exists(text)) => failure(Kind::Exists, text),
        Err(AdminError::Invalid(text)) => failure(Kind::Invalid, text),
        Err(AdminError::Denied(text)) => failure(Kind::Denied, text),
        Err(AdminError::Unavailable(error)) => return Err(tonic::Status::unavailable(error.reason)),
    };
    Ok(pb::ChangeResponse { result: Some(result) })
}

/// The inverse of [`change_response`].
pub fn change_result(response: pb::ChangeResponse) -> Result<(), AdminError> {
    use pb::change_response::Result as R;
    use pb::failure::Kind;
    match response.result {
        Some(R::Done(_)) => Ok(()),
        Some(R::Failure(failure)) => Err(match failure.kind() {
            Kind::NotFound => AdminError::NotFound(failure.text),
            Kind::Exists => AdminError::Exists(failure.text),
            Kind::Denied => AdminError::Denied(failure.text),
            Kind::Invalid | Kind::Unspecified => AdminError::Invalid(failure.text),
        }),
        None => Err(AdminError::Unavailable(Malformed("change response").into())),
    }
}
