//! Integers out of JSON literals, exactly (rules: integers, id-text).
//!
//! A file id has up to 20 digits and a time may be in nanoseconds: both are ruined by a float on the way. So numbers
//! are read from the text of their literal, and no float occurs here. The work is bounded by the literal's length: an
//! exponent is never expanded.

/// Decimal digits of the greatest `i64`.
const MAX_DIGITS: u64 = 19;

/// Reads a JSON number literal of integral value: `1800`, `1800.0`, `1.8e3`.
///
/// `None` if it has a fraction or does not fit. The literal must be well-formed.
pub(super) fn integer(literal: &str) -> Option<i64> {
    // Nearly all are plain digits; what fails here has a point or an exponent, or is too large, which `exact` finds
    // again.
    literal.parse().ok().or_else(|| exact(literal))
}

/// Reads a string of digits with an optional sign, blanks already taken off.
pub(super) fn integer_in_text(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// Returns whether a JSON number literal is an integer within `u64`, written without sign, fraction and exponent.
///
/// JSON has no leading zeros, so equal numbers are equal texts.
pub(super) fn is_unsigned(literal: &str) -> bool {
    literal.bytes().all(|byte| byte.is_ascii_digit()) && literal.parse::<u64>().is_ok()
}

/// Reads a literal with point or exponent as `significant * 10^scale`.
fn exact(literal: &str) -> Option<i64> {
    let (negative, unsigned) = literal.strip_prefix('-').map_or((false, literal), |rest| (true, rest));
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));

    let mut significant: u128 = 0;
    let mut digits: u64 = 0;
    let mut trailing_zeros: u64 = 0;
    for digit in whole.bytes().chain(fraction.bytes()).map(|byte| byte - b'0') {
        if digit == 0 {
            trailing_zeros += u64::from(significant > 0);
            continue;
        }
        let more = trailing_zeros + 1;
        digits += more;
        if digits > MAX_DIGITS {
            // Too large, or a fraction: the last digit is not zero.
            return None;
        }
        significant = significant * 10_u128.pow(u32::try_from(more).ok()?) + u128::from(digit);
        trailing_zeros = 0;
    }
    if significant == 0 {
        return Some(0);
    }

    let fraction_digits = i64::try_from(fraction.len()).ok()?;
    let scale = saturating_exponent(exponent)
        .saturating_sub(fraction_digits)
        .saturating_add(i64::try_from(trailing_zeros).ok()?);
    // Negative is a fraction; the greatest i64 is below 10^19.
    if !(0..MAX_DIGITS as i64).contains(&scale) {
        return None;
    }
    // Below 10^19 * 10^18, far inside of i128.
    let magnitude = i128::try_from(significant * 10_u128.pow(u32::try_from(scale).ok()?)).ok()?;
    i64::try_from(if negative { -magnitude } else { magnitude }).ok()
}

/// Reads the digits after `e`; what does not fit stays at the end of the range, where nothing is an integer.
fn saturating_exponent(text: &str) -> i64 {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let magnitude =
        digits.bytes().fold(0_i64, |sum, byte| sum.saturating_mul(10).saturating_add(i64::from(byte - b'0')));
    if negative { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The rules: integers, id-text.
    #[test]
    fn integral_literals_are_read_exactly() {
        let cases = [
            ("0", 0),
            ("-0", 0),
            ("-0.0", 0),
            ("0e999999999999999999999", 0),
            ("0.000E-5", 0),
            ("1800", 1_800),
            ("1800.0", 1_800),
            ("1.8e3", 1_800),
            ("1.8E+3", 1_800),
            ("18000e-1", 1_800),
            ("0.18e4", 1_800),
            ("0.0018e6", 1_800),
            ("-1.8e3", -1_800),
            ("1e6", 1_000_000),
            ("1e18", 1_000_000_000_000_000_000),
            ("1e00000000000000000000000000002", 100),
            ("1.00000000000000000000000000000000000000000000e1", 10),
            ("100000000000000000000000000000000000000000e-40", 10),
            // A float would round these.
            ("9007199254740993", 9_007_199_254_740_993),
            ("9007199254740993.0", 9_007_199_254_740_993),
            ("9223372036854775807", i64::MAX),
            ("9223372036854775.807e3", i64::MAX),
            ("-9223372036854775808", i64::MIN),
            ("-9.223372036854775808e18", i64::MIN),
        ];
        for (literal, expected) in cases {
            assert_eq!(integer(literal), Some(expected), "{literal}");
        }
    }

    #[test]
    fn fractions_and_what_does_not_fit_are_not_integers() {
        for literal in [
            "0.5",
            "1800.5",
            "1e-1",
            "1.85e1",
            "9223372036854775808",
            "9223372036854775808.0",
            "-9223372036854775809",
            "9.3e18",
            "1e19",
            "1e99999999999999999999999999",
            // 2^64 and more: an exponent that wrapped around would be small.
            "1e18446744073709551616",
            "1e-18446744073709551614",
            "1e-99999999999999999999999999",
            "12345678901234567890123",
            "1.2345678901234567890123e3",
        ] {
            assert_eq!(integer(literal), None, "{literal}");
        }
    }

    #[test]
    fn long_literals_cost_their_length_only() {
        let zeros = "0".repeat(200_000);
        assert_eq!(integer(&format!("0.{zeros}1e200001")), Some(1));
        assert_eq!(integer(&format!("1{zeros}e-200000")), Some(1));
        assert_eq!(integer(&format!("1{zeros}e-199981")), None, "10^19");
        assert_eq!(integer(&format!("1{zeros}e-199982")), Some(1_000_000_000_000_000_000));
        assert_eq!(integer(&format!("1.{zeros}1")), None);
    }

    #[test]
    fn point_and_exponent_do_not_change_the_value() {
        // Against plain integer arithmetic: mantissa * 10^(exponent - decimals), for small ones.
        for mantissa in [-1_050_i64, -7, 0, 3, 10, 12_300, 999_999] {
            for decimals in 0..6_u32 {
                for exponent in -4..8_i32 {
                    let power = 10_i64.pow(decimals);
                    let (whole, part) = (mantissa.abs() / power, mantissa.abs() % power);
                    let sign = if mantissa < 0 { "-" } else { "" };
                    let width = decimals as usize;
                    let point = if decimals > 0 { format!(".{part:0width$}") } else { String::new() };
                    let literal = format!("{sign}{whole}{point}e{exponent}");
                    let shift = exponent - decimals as i32;
                    let expected = if shift >= 0 {
                        Some(mantissa * 10_i64.pow(shift as u32))
                    } else {
                        let divisor = 10_i64.pow(shift.unsigned_abs());
                        (mantissa % divisor == 0).then_some(mantissa / divisor)
                    };
                    assert_eq!(integer(&literal), expected, "{literal}");
                }
            }
        }
    }

    #[test]
    fn text_is_digits_with_a_sign_at_most() {
        let cases = [
            ("1800", Some(1_800)),
            ("+1800", Some(1_800)),
            ("-5", Some(-5)),
            ("0001800", Some(1_800)),
            ("-0", Some(0)),
        ];
        for (text, expected) in cases {
            assert_eq!(integer_in_text(text), expected, "{text}");
        }
        for text in ["+", "-", "+-1", "1800.0", "1.8e3", "1_800", "0x10", "1 800", "९", "9223372036854775808"] {
            assert_eq!(integer_in_text(text), None, "{text}");
        }
    }

    #[test]
    fn unsigned_is_plain_digits_within_u64() {
        for (literal, expected) in [
            ("0", true),
            ("18446744073709551614", true),
            ("18446744073709551615", true),
            ("18446744073709551616", false),
            ("-1", false),
            ("-0", false),
            ("1.0", false),
            ("1e3", false),
        ] {
            assert_eq!(is_unsigned(literal), expected, "{literal}");
        }
    }
}
