//! Records of a PAX extended header: `LENGTH KEY=VALUE\n`, where VALUE may hold any byte.
//!
//! Parsed by length, as POSIX says. The tar crate splits at newlines, so that a newline in the value of an
//! extended attribute breaks it, or smuggles in a record that GNU tar does not see.

use std::io;

use crate::import::unpack::broken;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
}

/// All records of an extended header.
pub(super) fn records(mut text: &[u8]) -> io::Result<Vec<Record<'_>>> {
    let mut found = Vec::new();
    while text.first().is_some_and(|byte| *byte != 0) {
        let (record, rest) = first_record(text).ok_or_else(|| broken("a damaged extended header"))?;
        found.push(record);
        text = rest;
    }
    Ok(found)
}

fn first_record(text: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let space = text.iter().position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(text.get(..space)?).ok()?.parse().ok()?;
    let body = text.get(space + 1..length.checked_sub(1)?)?;
    let rest = text.get(length - 1..)?.strip_prefix(b"\n")?;
    let equals = body.iter().position(|byte| *byte == b'=')?;
    Some((Record { key: body.get(..equals)?, value: body.get(equals + 1..)? }, rest))
}

/// A decimal number.
pub(super) fn number(value: &[u8]) -> io::Result<u64> {
    let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    digits.and_then(|text| text.parse().ok()).ok_or_else(|| broken("a number in an extended header is none"))
}

/// A time, `[-]SECONDS[.FRACTION]`, as seconds and the nanoseconds after them.
pub(super) fn time(value: &[u8]) -> io::Result<(i64, u32)> {
    parse_time(value).ok_or_else(|| broken("a time in an extended header is none"))
}

fn parse_time(value: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(value).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let negative = whole.starts_with('-');
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanos: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanos: u32 = nanos.parse().ok()?;
    match (negative, nanos) {
        // -1.25 s is 0.75 s after second -2.
        (true, 1..) => Some((seconds.checked_sub(1)?, 1_000_000_000 - nanos)),
        _ => Some((seconds, nanos)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_cut_by_their_length_so_that_values_may_hold_newlines_and_equal_signs() {
        let text = b"21 SCHILY.xattr.a=\n=\n8 mt=1\n8 mt=22\n";
        assert!(records(text).is_err(), "a length that is wrong");
        let text = b"22 SCHILY.xattr.a=\n=\n\n7 mt=1\n";
        let found = records(text).unwrap();
        assert_eq!(
            found,
            [Record { key: b"SCHILY.xattr.a", value: b"\n=\n" }, Record { key: b"mt", value: b"1" }]
        );
    }

    #[test]
    fn a_record_inside_a_value_is_no_record() {
        let text = b"35 SCHILY.xattr.a=\n16 path=../../x\n";
        let found = records(text).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].key, b"SCHILY.xattr.a");
    }

    #[test]
    fn damaged_records_are_errors() {
        let texts: [&[u8]; 9] = [
            b"x",
            b"0 a=1\n",
            b"1 a=1\n",
            b"99 a=1\n",
            b"5 a=1\n",
            b"6 a=1x",
            b"5 ab\n",
            b"-6 a=1\n",
            b"\xff a=1\n",
        ];
        for text in texts {
            assert!(records(text).is_err(), "{text:?}");
        }
        assert_eq!(records(b"6 a=1\n\0\0").unwrap().len(), 1, "padding is none");
    }

    #[test]
    fn times_and_numbers_follow_the_table() {
        let good: [(&[u8], (i64, u32)); 7] = [
            (b"0", (0, 0)),
            (b"12", (12, 0)),
            (b"12.5", (12, 500_000_000)),
            (b"12.123456789123", (12, 123_456_789)),
            (b"-1", (-1, 0)),
            (b"-1.25", (-2, 750_000_000)),
            (b"-0.5", (-1, 500_000_000)),
        ];
        for (text, time_) in good {
            assert_eq!(time(text).unwrap(), time_, "{text:?}");
        }
        for text in [&b""[..], b".5", b"x", b"1.x", b"1.-5", b"99999999999999999999"] {
            assert!(time(text).is_err(), "{text:?}");
        }
        assert_eq!(number(b"18446744073709551615").unwrap(), u64::MAX);
        for text in [&b""[..], b"-1", b"+1", b" 1", b"18446744073709551616"] {
            assert!(number(text).is_err(), "{text:?}");
        }
    }
}
