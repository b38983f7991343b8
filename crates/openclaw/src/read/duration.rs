//! Durations as their config has them: `24h`, `1h30m`, `2` with a unit that depends on the field.

use sexton_domain::duration::Duration;

/// A unit of their durations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// `ms`.
    Millis,
    /// `s`.
    Seconds,
    /// `m`.
    Minutes,
    /// `h`.
    Hours,
    /// `d`.
    Days,
}

impl Unit {
    fn of(name: &str) -> Option<Self> {
        match name {
            "ms" => Some(Self::Millis),
            "s" => Some(Self::Seconds),
            "m" => Some(Self::Minutes),
            "h" => Some(Self::Hours),
            "d" => Some(Self::Days),
            _ => None,
        }
    }

    const fn millis(self) -> f64 {
        match self {
            Self::Millis => 1.0,
            Self::Seconds => 1e3,
            Self::Minutes => 6e4,
            Self::Hours => 3.6e6,
            Self::Days => 8.64e7,
        }
    }
}

/// Reads a number with an optional unit, else `unit`; or parts that each have one, without gaps. White
/// space around it and case do not matter; the sum is rounded to milliseconds.
///
/// # Errors
///
/// Why it is none.
pub fn duration(text: &str, unit: Unit) -> Result<Duration, String> {
    let lower = text.trim().to_lowercase();
    let wrong = || format!("not a duration: {text:?}");
    let mut rest = lower.as_str();
    let mut sum = 0.0;
    let mut parts = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, behind) = rest.split_at(digits);
        let letters = behind.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(behind.len());
        let (name, behind) = behind.split_at(letters);
        let alone = parts == 0 && behind.is_empty();
        let unit = match Unit::of(name) {
            Some(unit) => unit,
            None if name.is_empty() && alone => unit,
            None => return Err(wrong()),
        };
        sum += plain_number(number).ok_or_else(wrong)? * unit.millis();
        parts += 1;
        rest = behind;
    }
    if parts == 0 {
        return Err(wrong());
    }
    crate::read::field::whole(sum.round()).map(Duration::from_millis).ok_or_else(wrong)
}

/// Digits, and a point with digits behind it.
fn plain_number(text: &str) -> Option<f64> {
    let fits =
        |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let plain = match text.split_once('.') {
        Some((whole, fraction)) => fits(whole) && fits(fraction),
        None => fits(text),
    };
    plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_they_read_them() {
        let cases = [
            ("24h", 86_400_000),
            ("1h30m", 5_400_000),
            (" 7D ", 604_800_000),
            ("2", 7_200_000),
            ("1.5", 5_400_000),
            ("0", 0),
            ("0h", 0),
            ("1.5s", 1_500),
            ("250ms", 250),
        ];
        for (text, millis) in cases {
            assert_eq!(duration(text, Unit::Hours), Ok(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(duration("2", Unit::Days), Ok(Duration::from_millis(172_800_000)));
    }

    #[test]
    fn what_they_reject_is_rejected() {
        for text in
            ["", " ", "-1h", "1w", "h", "1h30", "1h 30m", "1e3", ".5h", "1.h", "1.2.3h", "++"]
        {
            assert!(duration(text, Unit::Hours).is_err(), "{text}");
        }
        assert!(duration(&"9".repeat(400), Unit::Days).is_err());
    }
}
