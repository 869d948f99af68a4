//! `[deliver]`: final delivery into Maildirs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Checks, Section};
use crate::types::DurationText;

/// Final delivery into Maildirs, over LMTP on `run_dir/lmtp/sock`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Deliver {
    /// Most LMTP connections at a time.
    #[schemars(range(min = 1, max = 100_000))]
    pub connection_limit: u32,
    /// How long a client may take for one command or for a pause within the message.
    #[schemars(extend("x-min" = "1s", "x-max" = "1h"))]
    pub lmtp_timeout: DurationText,
    /// Most recipients of one message.
    #[schemars(range(min = 100, max = 50_000))]
    pub lmtp_recipient_limit: u32,
}

impl Default for Deliver {
    fn default() -> Self {
        Self {
            connection_limit: 4_000,
            lmtp_timeout: DurationText::from_secs(300),
            lmtp_recipient_limit: 1_000,
        }
    }
}

impl Section for Deliver {
    const NAME: &'static str = "deliver";

    fn check(&self, _: &mut Checks<'_>) {}
}
