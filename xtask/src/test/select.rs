//! Which tests belong to which lane, as filter expressions of nextest. Every test belongs to one lane, by its name.

use anyhow::{Result, bail};

/// The tests that need a pool.
const ZFS: &str = "test(/zfs_/)";
/// The histories: not what `zchroot history` is tested by, so the binary's name counts too (`concurrent_history`).
/// nextest refuses a pattern that fits no binary at all, hence the wide one.
const HISTORY: &str = "(binary(/_(history|crash)$/) & test(/history_/))";
/// The crashes.
const CRASH: &str = "(test(/crash_/) - (binary(/_(history|crash)$/) & test(/history_/)))";

/// What needs Debian's packages of schroot and its clients on the host.
pub const CLIENTS_BINARIES: [&str; 2] = ["clients", "schroot_defects"];
const ON_HOST: &str = "(binary(=clients) + binary(=schroot_defects))";
/// The machine has a schroot; its clients want a tree to build in.
const IN_MACHINE: &str = "binary(=clients)";

/// What a test does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// None of the others
    Plain,
    Crash,
    History,
    Clients,
    /// Any but the clients, who want more than a machine
    All,
}

/// Where a test runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Host,
    Machine,
}

/// The expression for the tests of a kind in a place; of them, those that a word of the user's matches: a part of
/// their names, or `binary:` and the name of a test binary.
///
/// # Errors
/// When the word could mean more than that.
pub fn expression(kind: Kind, place: Place, filter: Option<&str>) -> Result<String> {
    let (place, clients) = match place {
        Place::Host => (format!("not {ZFS}"), ON_HOST),
        Place::Machine => (ZFS.to_owned(), IN_MACHINE),
    };
    let chosen = match kind {
        Kind::All => format!("({place}) - {clients}"),
        Kind::Plain => format!("({place}) - {CRASH} - {HISTORY} - {clients}"),
        Kind::Crash => format!("({place}) & {CRASH}"),
        Kind::History => format!("({place}) & {HISTORY}"),
        Kind::Clients => format!("({place}) & {clients}"),
    };
    let Some(word) = filter else { return Ok(chosen) };
    // The word goes into an expression, and that into a shell script.
    if !word.chars().all(|c| c.is_ascii_alphanumeric() || "_:-.".contains(c)) {
        bail!("{word:?}: a filter is a part of a test's name");
    }
    Ok(match word.strip_prefix("binary:") {
        Some(binary) => format!("({chosen}) & binary(={binary})"),
        None => format!("({chosen}) & test({word})"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_cannot_leave_the_expression() {
        let all = |filter| expression(Kind::All, Place::Machine, filter);
        assert_eq!(all(None).unwrap(), format!("({ZFS}) - {IN_MACHINE}"));
        assert!(all(Some("commit_")).unwrap().ends_with("& test(commit_)"));
        assert!(all(Some("binary:store")).unwrap().ends_with("& binary(=store)"));
        assert!(all(Some("x) + all(")).is_err() && all(Some("'; rm")).is_err());
    }

    #[test]
    fn what_needs_debians_schroot_is_with_the_clients_on_the_host_alone() {
        let of = |kind, place| expression(kind, place, None).unwrap();
        assert!(CLIENTS_BINARIES.iter().all(|name| ON_HOST.contains(&format!("binary(={name})"))));
        assert!(of(Kind::Plain, Place::Host).ends_with(&format!(" - {ON_HOST}")));
        assert!(of(Kind::Clients, Place::Host).ends_with(&format!("& {ON_HOST}")));
        assert!(!of(Kind::Plain, Place::Machine).contains("schroot_defects"));
    }

    #[test]
    fn no_expression_can_end_the_quotes_that_it_stands_in() {
        for kind in [Kind::Plain, Kind::Crash, Kind::History, Kind::Clients, Kind::All] {
            for place in [Place::Host, Place::Machine] {
                assert!(!expression(kind, place, Some("a_b")).unwrap().contains('\''));
            }
        }
    }
}
