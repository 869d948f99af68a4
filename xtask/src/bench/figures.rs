//! What is made of measured times: medians, high percentiles, Welch's t.

use std::time::Duration;

/// Times of one kind of work.
#[derive(Debug, Clone, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    /// Sorts them.
    pub fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// The time below which this part of all lies; zero where there are none.
    pub fn percentile(&self, percent: usize) -> Duration {
        let index = (self.0.len() * percent / 100).min(self.0.len().saturating_sub(1));
        self.0.get(index).copied().unwrap_or_default()
    }

    /// `median / 99 %`, for people.
    pub fn shown(&self) -> String {
        format!(
            "{} / {}",
            millis(self.percentile(50)),
            millis(self.percentile(99))
        )
    }
}

/// A time in milliseconds.
pub fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}

/// Welch's t of two samples: how sure it is that their means differ. Beyond 4.5 nobody calls it chance.
pub fn welch(one: &[f64], other: &[f64]) -> f64 {
    let ((mean_one, error_one), (mean_other, error_other)) = (mean_and_error(one), mean_and_error(other));
    (mean_one - mean_other) / (error_one + error_other).sqrt()
}

/// The mean, and the square of its standard error.
#[expect(clippy::cast_precision_loss, reason = "sizes of samples are small")]
fn mean_and_error(sample: &[f64]) -> (f64, f64) {
    let count = sample.len() as f64;
    let mean = sample.iter().sum::<f64>() / count;
    let squares: f64 = sample.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, squares / (count - 1.0) / count)
}

/// So many in a time.
#[expect(clippy::cast_precision_loss, reason = "counts are small")]
pub fn rate(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

/// A step of xorshift64: numbers that look random and are the same in every run.
pub fn next_random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Bytes in MiB.
#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
pub fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
}

#[cfg(test)]
mod tests {
    //! Against samples whose figures are known.

    use super::*;

    #[test]
    fn welch_of_known_samples() {
        // Means 3 and 6, variances 2.5 each, five values: t = -3 / sqrt(0.5 + 0.5).
        let t = welch(&[1.0, 2.0, 3.0, 4.0, 5.0], &[4.0, 5.0, 6.0, 7.0, 8.0]);
        assert!((t + 3.0).abs() < 1e-9, "{t}");
        assert!(welch(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0]).abs() < 1e-9);
    }

    #[test]
    fn percentiles() {
        let times = Times::new((1..=100).rev().map(Duration::from_millis).collect());
        assert_eq!(times.percentile(50), Duration::from_millis(51));
        assert_eq!(times.percentile(99), Duration::from_millis(100));
        assert_eq!(Times::default().percentile(99), Duration::ZERO);
    }
}
