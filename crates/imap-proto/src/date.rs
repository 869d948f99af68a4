//! The two dates of the protocol: `date` in SEARCH and `date-time` in APPEND and INTERNALDATE (RFC 3501 9).

use std::fmt;

/// A calendar day without a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    /// 0 to 9999.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31, valid in its month.
    pub day: u8,
}

/// A moment with the zone it was written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DateTime {
    /// Seconds since 1970-01-01 00:00 UTC.
    pub unix: i64,
    /// Minutes east of UTC.
    pub zone: i16,
}

/// Month names as the protocol spells them.
pub const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

impl Date {
    /// A day that exists.
    pub fn new(year: u16, month: u8, day: u8) -> Option<Self> {
        let ok = year <= 9999 && (1..=12).contains(&month) && day >= 1 && day <= days_in(year, month);
        ok.then_some(Self { year, month, day })
    }

    /// Days since 1970-01-01 (negative before).
    pub fn days(self) -> i64 {
        // Counting years from March puts the leap day last, so that months have fixed offsets.
        let shifted = i64::from(self.month) - 3;
        let (year, month) = if shifted < 0 {
            (i64::from(self.year) - 1, shifted + 12)
        } else {
            (i64::from(self.year), shifted)
        };
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let day_of_year = (153 * month + 2) / 5 + i64::from(self.day) - 1;
        era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
    }

    /// The day that lies so many days after 1970-01-01; years outside 0 to 9999 are clamped to their ends.
    pub fn from_days(days: i64) -> Self {
        let days = days.clamp(-719_528, 2_932_896) + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        Self {
            year: year as u16,
            month: month as u8,
            day: day as u8,
        }
    }
}

impl DateTime {
    /// A moment from its parts; `None` where there is no such moment.
    pub fn new(date: Date, hour: u8, minute: u8, second: u8, zone: i16) -> Option<Self> {
        // 60 is a leap second.
        if hour > 23 || minute > 59 || second > 60 || zone.abs() >= 24 * 60 {
            return None;
        }
        let time = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
        Some(Self {
            unix: date.days() * 86_400 + time - i64::from(zone) * 60,
            zone,
        })
    }
}

/// `dd-Mon-yyyy hh:mm:ss +zzzz`, the day always with two digits.
impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let local = self.unix.saturating_add(i64::from(self.zone) * 60);
        let Date { year, month, day } = Date::from_days(local.div_euclid(86_400));
        let time = local.rem_euclid(86_400);
        let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
        let month = MONTHS[usize::from(month - 1)];
        let (sign, zone) = if self.zone < 0 {
            ('-', -self.zone)
        } else {
            ('+', self.zone)
        };
        let (zone_h, zone_m) = (zone / 60, zone % 60);
        write!(
            f,
            "{day:02}-{month}-{year:04} {hour:02}:{minute:02}:{second:02} {sign}{zone_h:02}{zone_m:02}"
        )
    }
}

fn days_in(year: u16, month: u8) -> u8 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_moments() {
        let date = Date::new(2026, 1, 5).unwrap();
        let moment = DateTime::new(date, 10, 0, 0, 0).unwrap();
        assert_eq!(moment.unix, 1_767_607_200);
        assert_eq!(moment.to_string(), "05-Jan-2026 10:00:00 +0000");
        let zoned = DateTime::new(Date::new(1996, 7, 17).unwrap(), 2, 44, 25, -420).unwrap();
        assert_eq!(zoned.to_string(), "17-Jul-1996 02:44:25 -0700");
        assert!(Date::new(2025, 2, 29).is_none() && Date::new(2024, 2, 29).is_some());
        assert!(Date::new(1900, 2, 29).is_none() && Date::new(2000, 2, 29).is_some());
        // Nothing overflows at the ends.
        assert!(
            !DateTime {
                unix: i64::MAX,
                zone: 0
            }
            .to_string()
            .is_empty()
        );
        assert!(
            !DateTime {
                unix: i64::MIN,
                zone: -720
            }
            .to_string()
            .is_empty()
        );
    }

    proptest! {
        #[test]
        fn days_are_their_own_inverse(days in -719_528i64..2_932_896) {
            prop_assert_eq!(Date::from_days(days).days(), days);
        }
    }
}
