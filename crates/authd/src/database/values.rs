//! Reading the values of a row, in all the forms that the columns of real sites have (compat.md 1.0).

use super::Value;

/// A text that has to be there.
pub fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::Bytes(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::Int(number) => Some(number.to_string()),
        Value::Null => None,
    }
}

/// A text; NULL is empty.
pub fn text_or_empty(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        other => text(Some(other)),
    }
}

/// A boolean in any of its forms: 0/1, t/f, y/n; NULL is false.
pub fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Null => Some(false),
        Value::Int(number) => Some(*number != 0),
        // BIT(1) columns come as one octet 0 or 1.
        Value::Bytes(bytes) => match bytes.to_ascii_lowercase().as_slice() {
            b"" | b"0" | b"f" | b"n" | b"false" | b"no" | b"\0" => Some(false),
            b"1" | b"t" | b"y" | b"true" | b"yes" | b"\x01" => Some(true),
            _ => None,
        },
    }
}

/// A number; NULL is 0.
pub fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Null => Some(0),
        Value::Int(number) => Some(*number),
        Value::Bytes(bytes) => std::str::from_utf8(bytes).ok()?.trim().parse().ok(),
    }
}

/// A number of a user or group; `Some(None)` where the column is NULL or not there.
pub fn id(value: &Value) -> Option<Option<u32>> {
    match value {
        Value::Null => Some(None),
        other => u32::try_from(number(other)?).ok().map(Some),
    }
}

/// Seconds since 1970 as [`Column::time`](super::keyed::Column::time) asks for them; `Some(None)` where the
/// column is NULL, not there, or a zero date, which says that the time is not known.
pub fn time(value: &Value) -> Option<Option<i64>> {
    let seconds = match value {
        // MySQL writes a fraction where the column has one.
        Value::Bytes(bytes) => {
            let whole = bytes.split(|b| *b == b'.').next()?;
            number(&Value::Bytes(whole.to_vec()))?
        }
        other => number(other)?,
    };
    Some((seconds > 0).then_some(seconds))
}

/// A quota as Courier reads it (`maildirsize`, compat.md 1.7): `10000000S` or `10000000S,1000C`. 0 is
/// unlimited: a bare number means nothing to Courier. Negative is "not set" (TRAP-19).
pub fn courier_quota(value: &Value) -> Option<i64> {
    let text = text_or_empty(value)?;
    let mut bytes = 0;
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (digits, unit) = match part.char_indices().last() {
            Some((at, unit)) if !unit.is_ascii_digit() => (&part[..at], Some(unit)),
            _ => (part, None),
        };
        let amount: i64 = digits.parse().ok()?;
        match unit {
            Some('S' | 's') => bytes = amount,
            Some('C' | 'c') | None => {}
            Some(_) => return None,
        }
    }
    Some(bytes.max(-1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Value {
        Value::Bytes(text.as_bytes().to_vec())
    }

    #[test]
    fn booleans_in_all_forms() {
        for yes in [Value::Int(1), bytes("1"), bytes("t"), bytes("Y"), bytes("\x01")] {
            assert_eq!(flag(&yes), Some(true), "{yes:?}");
        }
        for no in [
            Value::Null,
            Value::Int(0),
            bytes("0"),
            bytes("f"),
            bytes("n"),
            bytes(""),
        ] {
            assert_eq!(flag(&no), Some(false), "{no:?}");
        }
        assert_eq!(flag(&bytes("maybe")), None);
    }

    #[test]
    fn times_known_and_not() {
        assert_eq!(time(&bytes("1700000000.500000")), Some(Some(1_700_000_000)));
        assert_eq!(time(&Value::Int(1)), Some(Some(1)));
        for unknown in [
            Value::Null,
            Value::Int(0),
            bytes("0.000000"),
            Value::Int(-62_169_984_000),
        ] {
            assert_eq!(time(&unknown), Some(None), "{unknown:?}");
        }
        assert_eq!(time(&bytes("2030-01-01")), None);
    }

    #[test]
    fn quotas_of_courier() {
        for (text, quota) in [
            ("10000000S", 10_000_000),
            ("1000C, 5S", 5),
            ("10000000", 0),
            ("", 0),
            ("-1S", -1),
        ] {
            assert_eq!(courier_quota(&bytes(text)), Some(quota), "{text}");
        }
        assert_eq!(courier_quota(&Value::Null), Some(0));
        for odd in ["10M", "S", "much"] {
            assert_eq!(courier_quota(&bytes(odd)), None, "{odd}");
        }
    }

    #[test]
    fn ids_fit() {
        assert_eq!(id(&Value::Int(5000)), Some(Some(5000)));
        assert_eq!(id(&bytes("5000")), Some(Some(5000)));
        assert_eq!(id(&Value::Null), Some(None));
        for odd in [Value::Int(-1), Value::Int(1 << 33), bytes("vmail")] {
            assert_eq!(id(&odd), None, "{odd:?}");
        }
    }
}
