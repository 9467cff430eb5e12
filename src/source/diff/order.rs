//! The order of Debian's version numbers, as deb-version(7) defines it: `[epoch:]upstream[-revision]`.

use std::cmp::Ordering;

/// Which of two version numbers is the later one.
#[must_use]
pub fn compare(one: &str, other: &str) -> Ordering {
    let (left, right) = (Parts::of(one), Parts::of(other));
    number(left.epoch, right.epoch)
        .then_with(|| text(left.upstream, right.upstream))
        .then_with(|| text(left.revision, right.revision))
}

struct Parts<'a> {
    epoch: &'a str,
    upstream: &'a str,
    revision: &'a str,
}

impl<'a> Parts<'a> {
    fn of(version: &'a str) -> Self {
        let (epoch, rest) = version.split_once(':').unwrap_or(("", version));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        Self { epoch, upstream, revision }
    }
}

/// By turns a part without digits, in the order of [`weight`], and a number.
fn text(mut one: &str, mut other: &str) -> Ordering {
    while !one.is_empty() || !other.is_empty() {
        let (left, right) = (
            split(&mut one, |byte| !byte.is_ascii_digit()),
            split(&mut other, |byte| !byte.is_ascii_digit()),
        );
        let order = letters(left, right);
        if order != Ordering::Equal {
            return order;
        }
        let (left, right) =
            (split(&mut one, |byte| byte.is_ascii_digit()), split(&mut other, |byte| byte.is_ascii_digit()));
        let order = number(left, right);
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

/// Takes off the part at the beginning whose bytes are `such`.
fn split<'a>(text: &mut &'a str, such: impl Fn(&u8) -> bool) -> &'a str {
    let length = text.bytes().position(|byte| !such(&byte)).unwrap_or(text.len());
    // A version number is ASCII; one that is not is split where it can be.
    let (part, rest) = text.split_at_checked(length).unwrap_or((text, ""));
    *text = rest;
    part
}

fn letters(one: &str, other: &str) -> Ordering {
    let (mut left, mut right) = (one.bytes(), other.bytes());
    loop {
        let (a, b) = (left.next(), right.next());
        match weight(a).cmp(&weight(b)) {
            Ordering::Equal if a.is_none() && b.is_none() => return Ordering::Equal,
            Ordering::Equal => {}
            order => return order,
        }
    }
}

/// A tilde comes before the end, the end before letters, letters before the rest.
fn weight(byte: Option<u8>) -> i32 {
    match byte {
        Some(b'~') => -1,
        None => 0,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(byte),
        Some(byte) => i32::from(byte) + 256,
    }
}

fn number(one: &str, other: &str) -> Ordering {
    let (one, other) = (one.trim_start_matches('0'), other.trim_start_matches('0'));
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_dpkg_orders_them() {
        let rising = [
            "0~~", "0~", "0", "0.1", "1~rc1", "1", "1-1~bpo1", "1-1", "1-1+b1", "1-1.1", "1-10", "1.0a",
            "1.0b", "1.0+dfsg", "1.1", "1.9", "1.10", "2:0.1", "10:0",
        ];
        for (at, one) in rising.iter().enumerate() {
            for (other_at, other) in rising.iter().enumerate() {
                assert_eq!(compare(one, other), at.cmp(&other_at), "{one} {other}");
            }
        }
        for (one, other) in [("1.0", "1.00"), ("0:1", "1"), ("1-0", "1"), ("1.02", "1.2")] {
            assert_eq!(compare(one, other), Ordering::Equal, "{one} {other}");
        }
    }

    #[test]
    fn a_version_that_is_no_ascii_is_no_panic() {
        assert_eq!(compare("1ü", "1ü"), Ordering::Equal);
        assert_ne!(compare("1ü2", "1ä"), Ordering::Equal);
    }
}
