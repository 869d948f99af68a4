//! When a deferred recipient is tried again, and when it is too old. Pure: no clock, no randomness.

use std::time::Duration;

use mail_types::MailId;

/// The retry schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    /// The first gap; doubled with each further attempt.
    pub min: Duration,
    /// The longest gap.
    pub max: Duration,
    /// At this age a recipient fails for good, if it was tried at least twice.
    pub lifetime: Duration,
}

/// What the schedule knows of a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Attempts so far.
    pub attempts: u32,
    /// The sum of the gaps between them, each counted at most twice its planned length, so that no jump of
    /// a clock and no long stop ages a message.
    pub age: Duration,
    /// The planned length of the gap that runs now.
    pub gap: Duration,
}

impl Progress {
    /// After one more failed attempt, `elapsed` after the one before.
    pub fn after_attempt(self, elapsed: Duration, backoff: &Backoff, id: MailId) -> Self {
        let attempts = self.attempts.saturating_add(1);
        let counted = if self.attempts == 0 {
            Duration::ZERO
        } else {
            elapsed.min(self.gap.saturating_mul(2))
        };
        Self {
            attempts,
            age: self.age.saturating_add(counted),
            gap: backoff.gap(attempts, id),
        }
    }

    /// Whether it is too old to be tried again.
    pub fn is_expired(&self, backoff: &Backoff) -> bool {
        self.attempts >= 2 && self.age >= backoff.lifetime
    }
}

impl Backoff {
    /// The gap after attempt number `attempts`: doubling, capped, moved by up to a tenth either way. The
    /// shift depends on the message, so that messages that failed together are not tried together.
    pub fn gap(&self, attempts: u32, id: MailId) -> Duration {
        let doubled = self
            .min
            .saturating_mul(1u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX));
        let plain = doubled.min(self.max);
        let permille = 900 + u32::try_from(mix(attempts, id) % 200).unwrap_or(100);
        (plain.saturating_mul(permille) / 1000).min(self.max)
    }
}

/// FNV-1a: spread, not security.
fn mix(attempts: u32, id: MailId) -> u64 {
    let bytes = id.as_str().bytes().chain(attempts.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    }) >> 8
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn backoff() -> Backoff {
        Backoff {
            min: Duration::from_secs(300),
            max: 4 * HOUR,
            lifetime: 120 * HOUR,
        }
    }

    fn id() -> MailId {
        MailId::new(1, 2)
    }

    #[test]
    fn gaps_double_up_to_the_cap_and_spread() {
        let gap = |attempts| backoff().gap(attempts, id()).as_secs();
        assert!((270..=330).contains(&gap(1)), "{}", gap(1));
        assert!((540..=660).contains(&gap(2)));
        assert!((12_960..=14_400).contains(&gap(7)) && (12_960..=14_400).contains(&gap(40)));
        let spread: std::collections::HashSet<u128> = (0..50)
            .map(|n| backoff().gap(1, MailId::new(1, n)).as_millis())
            .collect();
        assert!(spread.len() > 30, "{}", spread.len());
    }

    #[test]
    fn age_is_the_sum_of_gaps() {
        let mut progress = Progress::default();
        progress = progress.after_attempt(1000 * HOUR, &backoff(), id());
        assert_eq!(
            progress.age,
            Duration::ZERO,
            "the first attempt has no gap before it"
        );
        let gap = progress.gap;
        progress = progress.after_attempt(gap, &backoff(), id());
        assert_eq!((progress.age, progress.attempts), (gap, 2));
        // Ten years of sleep, or of a clock that jumped, count as twice the plan.
        let before = progress;
        progress = progress.after_attempt(87_600 * HOUR, &backoff(), id());
        assert_eq!(progress.age, before.age + 2 * before.gap);
        assert!(!progress.is_expired(&backoff()));
    }

    #[test]
    fn five_days_of_attempts_are_needed_to_expire() {
        let mut progress = Progress::default();
        let mut clock = Duration::ZERO;
        while !progress.is_expired(&backoff()) {
            let gap = progress.gap;
            progress = progress.after_attempt(gap, &backoff(), id());
            clock += gap;
        }
        assert!(clock >= 120 * HOUR && clock <= 124 * HOUR, "{clock:?}");
        assert!((30..45).contains(&progress.attempts), "{}", progress.attempts);
    }

    #[test]
    fn one_attempt_never_expires() {
        let impatient = Backoff {
            lifetime: Duration::ZERO,
            ..backoff()
        };
        let once = Progress::default().after_attempt(HOUR, &impatient, id());
        assert!(!once.is_expired(&impatient));
        assert!(once.after_attempt(HOUR, &impatient, id()).is_expired(&impatient));
    }
}
