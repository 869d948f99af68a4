//! The service that answers nothing: for a role that lacks one, and for tests that fake only another.

use mail_types::{Address, Domain, Secret};

use super::{Admin, Directory, Exchange, Logins};
use crate::access;
use crate::admin::{
    AdminError, AdministratorRecord, AdministratorUpdate, AliasDomainRecord, AliasDomainUpdate, AliasRecord,
    AliasUpdate, AppPasswordRecord, DirectoryState, DomainCounts, DomainRecord, DomainUpdate,
    FetchmailRecord, LogEntry, MailboxRecord, MailboxUpdate, NewAdministrator, NewAppPassword, NewMailbox,
    Page, VacationRecord, Which,
};
use crate::directory::{
    Explanation, MailboxAnswer, Question, Recipient, Resolution, Route, SenderLogin, Usage, Vacation,
};
use crate::sasl::{LoginContext, LoginStep};
use crate::{Trace, Unavailable};

/// Every question is [`Unavailable`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Unserved;

pub(super) fn not_served() -> Unavailable {
    Unavailable::new("not served")
}

impl Directory for Unserved {
    async fn resolve(&self, _: Recipient, _: Trace) -> Result<Resolution, Unavailable> {
        Err(not_served())
    }
    async fn route(&self, _: Address, _: Trace) -> Result<Route, Unavailable> {
        Err(not_served())
    }
    async fn lookup_mailbox(&self, _: Address, _: Trace) -> Result<MailboxAnswer, Unavailable> {
        Err(not_served())
    }
    async fn check_sender_login(&self, _: Address, _: Address, _: Trace) -> Result<SenderLogin, Unavailable> {
        Err(not_served())
    }
    async fn check_access(&self, _: access::Question, _: Trace) -> Result<access::Answer, Unavailable> {
        Err(not_served())
    }
    async fn vacation(&self, _: Address, _: Trace) -> Result<Option<Vacation>, Unavailable> {
        Err(not_served())
    }
    async fn usage(&self, _: Address, _: Trace) -> Result<Usage, Unavailable> {
        Err(not_served())
    }
    async fn explain(&self, _: Question) -> Explanation {
        Explanation {
            answer: Err(not_served().reason),
            steps: Vec::new(),
        }
    }
}

impl Logins for Unserved {
    type Exchange = Self;
    async fn mechanisms(&self, _: LoginContext) -> Result<Vec<String>, Unavailable> {
        Err(not_served())
    }
    fn begin(&self, _: LoginContext, _: &str) -> Self {
        Self
    }
}

impl Exchange for Unserved {
    async fn step(&mut self, _: Option<Secret>) -> LoginStep {
        LoginStep::TemporaryFailure {
            reason: not_served().reason,
        }
    }
}

impl Admin for Unserved {
    async fn domains(&self, _: Option<Domain>, _: Option<String>) -> Result<Page<DomainRecord>, AdminError> {
        Err(not_served().into())
    }
    async fn create_domain(&self, _: DomainRecord) -> Result<(), AdminError> {
        Err(not_served().into())
    }
    async fn update_domain(&self, _: Domain, _: DomainUpdate) -> Result<(), AdminError> {
        Err(not_served().into())
    }
    async fn count_domain(&self, _: Domain) -> Result<DomainCounts, AdminError> {
        Err(not_served().into())
    }
    async fn delete_domain(&self, _: Domain) -> Result<(), AdminError> {
        Err(not_served().into())
    }
    async fn alias_domains(
        &self,
        _: Which,
        _: Option<String>,
    ) -> Result<Page<AliasDomainRecord>, AdminError> {
        Err(not_served().into())
    }
    async fn create_alias_domain(&self, _: AliasDomainRecord) -> Result<(), AdminError> {
        Err(not_served().into())
    }
    async fn update_alias_domain(&self, _: Domain, _: AliasDomainUpdate) -> Result<(), AdminError> {
        Err(not_served().into())
    }
    async fn delete_alias_domain(&self, _: Domain) -> Result<(), AdminError> {
        Err(not_served().into())
    }
    async fn mailboxes(&self, _: Which, _: Option<String>) -> Result<Page<MailboxRecord>, AdminError> {
        Err(not_served().into())
    }
    async fn create_mailbox(&self, _: NewMailbox) -> Result<(), AdminError> {
        Err(not_served().into())
    }
    async fn update_mailbox(&self, _: Address, _: MailboxUpdate) -> Result<(), AdminError> {
        Err(not_served().into())
    }
    async fn delete_mailbox(&self, _: Address) -> Result<(), AdminError> {
        Err(not_served().into())
    }
    async fn set_password(&self, _: Address, _: Secret) -> Result<(), AdminError> {
        Err(not_served().into())
    }
    async fn app_passwords(&self, _: Address) -> Result<Vec<AppPasswordRecord>, AdminError> {
        Err(not_served().into())
    }
    async fn create_app_password(&self, _: NewAppPassword) -> Result<(), AdminError> {
        Err(not_served().into())
    }
    async fn delete_app_password(&self, _: Address, _: i64) -> Result<(), AdminError> {
        Err(not_served().into())
    }
    async fn aliases(&self, _: Which, _: Option<String>) -> Result<Page<AliasRecord>, AdminError> {
        Err(not_served().into())
    }
    async fn create_alias(&self, _: AliasRecord) -> Result<(), AdminError> {
        Err(not_served().into())
    }
    async fn update_alias(&self, _: String, _: AliasUpdate) -> Result<(), AdminError> {
        Err(not_served().into())
    }
    async fn delete_alias(&self, _: String) -> Result<(), AdminError> {
        Err(not_served().into())
    }
    async fn administrators(
        &self,
        _: Option<String>,
        _: Option<String>,
    ) -> Result<Page<AdministratorRecord>, AdminError> {
        Err(not_served().into())
    }
    async fn create_administrator(&self, _: NewAdministrator) -> Result<(), AdminError> {
        Err(not_served().into())
    }
    async fn update_administrator(&self, _: String, _: AdministratorUpdate) -> Result<(), AdminError> {
        Err(not_served().into())
    }
    async fn delete_administrator(&self, _: String) -> Result<(), AdminError> {
        Err(not_served().into())
    }
    async fn set_administrator_password(&self, _: String, _: Secret) -> Result<(), AdminError> {
        Err(not_served().into())
    }
    async fn vacations(&self, _: Which, _: Option<String>) -> Result<Page<VacationRecord>, AdminError> {
        Err(not_served().into())
    }
    async fn set_vacation(&self, _: VacationRecord) -> Result<(), AdminError> {
        Err(not_served().into())
    }
    async fn clear_vacation(&self, _: Address) -> Result<(), AdminError> {
        Err(not_served().into())
    }
    async fn fetchmail(&self, _: Which, _: Option<String>) -> Result<Page<FetchmailRecord>, AdminError> {
        Err(not_served().into())
    }
    async fn log(&self, _: Option<Domain>, _: u32) -> Result<Vec<LogEntry>, AdminError> {
        Err(not_served().into())
    }
    async fn directory_state(&self) -> Result<DirectoryState, Unavailable> {
        Err(not_served())
    }
    async fn refresh_directory(&self) -> Result<DirectoryState, Unavailable> {
        Err(not_served())
    }
}
