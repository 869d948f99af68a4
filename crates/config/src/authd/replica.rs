//! `[authd.replica]`: the copy of the directory for the time when the database is away.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::Checks;
use crate::types::{DurationText, Size};

/// The copy of the directory that is used while the database is away.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct Replica {
    /// Whether to keep one, in `state_dir/replica.sqlite`: known users go on receiving mail and logging in
    /// while the database is away. It holds the password hashes. Only with `backend = "mysql"`.
    pub enabled: bool,
    /// How often it is brought up to date.
    #[schemars(extend("x-min" = "1s", "x-max" = "1d"))]
    pub refresh_interval: DurationText,
    /// How often at least all rows are read again, where in between only those are whose `modified` column
    /// is recent. Small tables are always read whole.
    #[schemars(extend("x-min" = "1s", "x-max" = "7d"))]
    pub full_refresh_interval: DurationText,
    /// How old it may be: an older one is not used, and everything is a temporary failure. That holds for each
    /// row too, so it is not shorter than `full_refresh_interval`, in which rows of big tables that do not change
    /// are not read again.
    #[schemars(extend("x-min" = "1s", "x-max" = "90d"))]
    pub max_age: DurationText,
    /// How long a question may wait for the database before the copy answers it, and the database counts as
    /// away.
    #[schemars(extend("x-min" = "100ms", "x-max" = "3s"))]
    pub patience: DurationText,
    /// Most rows of it together; a directory with more is not copied.
    #[schemars(range(min = 1, max = 100_000_000))]
    pub max_rows: u64,
    /// How big its file may become; a directory that needs more is not copied.
    #[schemars(extend("x-min" = "1M", "x-max" = "1024G"))]
    pub max_size: Size,
}

impl Default for Replica {
    fn default() -> Self {
        Self {
            enabled: true,
            refresh_interval: DurationText::from_secs(5 * 60),
            full_refresh_interval: DurationText::from_secs(60 * 60),
            max_age: DurationText::from_secs(7 * 24 * 60 * 60),
            patience: DurationText::from_secs(1),
            max_rows: 5_000_000,
            max_size: Size::new(4 << 30),
        }
    }
}

impl Replica {
    /// Rules between the options.
    pub(super) fn check(&self, checks: &mut Checks<'_>) {
        if self.max_age.get() < self.refresh_interval.get() {
            checks.add(
                "replica.max_age",
                "it is shorter than refresh_interval, so the copy would be too old most of the time"
                    .to_owned(),
                "make it at least some times as long",
            );
        } else if self.max_age.get() < self.full_refresh_interval.get() {
            checks.add(
                "replica.max_age",
                "it is shorter than full_refresh_interval, so rows that do not change would be too old before \
                 they are read again"
                    .to_owned(),
                "make it at least some times as long, or set replica.full_refresh_interval lower",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Config;

    #[test]
    fn a_copy_that_would_empty_itself_is_refused() {
        let read = |text: &str| Config::from_toml(&format!("[authd.replica]\n{text}"));
        let error = read("max_age = \"30m\"").unwrap_err().to_string();
        assert!(error.contains("shorter than full_refresh_interval"), "{error}");
        assert!(read("max_age = \"30m\"\nfull_refresh_interval = \"10m\"").is_ok());
        assert!(read("full_refresh_interval = \"7d\"").is_ok());
        let error = read("max_age = \"1m\"").unwrap_err().to_string();
        assert!(error.contains("shorter than refresh_interval"), "{error}");
    }
}
