//! What operators ask: who fails, who uses which mechanism; and that failures be forgotten.

use auth_api::Unavailable;
use auth_api::sasl::{FailureRecord, MOST_USAGE_ROWS, MechanismUsage};
use events::About;

use super::Shared;
use crate::state;

/// Most failures of a list.
const MOST: usize = 20_000;

impl Shared {
    /// The failures that are remembered, the latest first.
    pub(super) fn failures(&self, limit: usize) -> Vec<FailureRecord> {
        let delays = self.sites.current().settings.auth_failure_delay;
        self.throttle.list(self.now(), limit.min(MOST), delays)
    }

    /// Forgets failures.
    pub(super) fn unban(&self, target: String) -> u32 {
        let count = self.throttle.unban(&target);
        self.events.emit(
            About::process(),
            events::authd::Kind::FailuresForgotten { target, count },
        );
        count
    }

    /// Who logs in how: those first whose mechanism is to go away.
    pub(super) async fn usage(&self) -> Result<Vec<MechanismUsage>, Unavailable> {
        let rows = self
            .state
            .read(|db| state::usage(db, MOST_USAGE_ROWS))
            .await
            .map_err(|error| Unavailable::new(daemon::describe(&error)))?;
        let record = |row: state::UsageRow| MechanismUsage {
            account: row.account,
            mechanism: row.mechanism,
            service: row.service,
            count: row.count,
            last: row.last,
            scram_keys: row.scram_keys,
        };
        Ok(rows.into_iter().map(record).collect())
    }
}
