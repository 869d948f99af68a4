//! Durations as text: a number and a unit, `90s`, `5m`, `4h`, `5d`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::text_option;

/// A duration with its unit: `ms`, `s`, `m`, `h`, `d` or `w`, as Postfix writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DurationText(Duration);

impl DurationText {
    /// A number of seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// A number of milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// The duration.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for DurationText {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number
            .parse()
            .map_err(|_| format!("{text:?} is not a duration; write a number and a unit, like \"5m\""))?;
        let millis = match unit.trim() {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            "" => return Err(format!("{text:?} has no unit; write \"{text}s\" for seconds")),
            other => return Err(format!("{other:?} is not a unit; use ms, s, m, h, d or w")),
        };
        number
            .checked_mul(millis)
            .map(Self::from_millis)
            .ok_or_else(|| format!("{text:?} is too long"))
    }
}

/// In the largest unit that divides it: `300s` is shown as `5m`.
impl fmt::Display for DurationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        if millis == 0 {
            return f.write_str("0s");
        }
        let units = [
            (604_800_000, "w"),
            (86_400_000, "d"),
            (3_600_000, "h"),
            (60_000, "m"),
            (1_000, "s"),
        ];
        for (size, unit) in units {
            if millis.is_multiple_of(size) {
                return write!(f, "{}{unit}", millis / size);
            }
        }
        write!(f, "{millis}ms")
    }
}

text_option!(
    DurationText,
    "DurationText",
    "a duration in quotes, like \"5m\" (ms, s, m, h, d, w)",
    { "type": "string", "x-type": "duration" }
);
