//! The comparison: a row for each case of zchroot and each thing that it is compared with.

use anyhow::{Context, Result};

use super::samples::{Key, Samples, Spread};

const OURS: &str = "zchroot";
/// The operations in the order of the table, and what the table calls them.
const OPERATIONS: [(&str, &str); 21] = [
    ("run", "a whole session around `true`"),
    ("exec", "`true` in a standing session"),
    ("begin", "begin a session"),
    ("end", "end a session"),
    ("list", "list everything"),
    ("many-exec", "`schroot -r -- true` in one of 1,000 standing sessions"),
    ("many-list", "`schroot -l --all-sessions` of 1,000"),
    ("many-info", "`schroot -i` on one of 1,000 sessions"),
    ("many-own-list", "`zchroot list --sessions` of 1,000"),
    ("many-own-info", "`zchroot info` on one of 1,000 sessions"),
    ("import-tar", "import a tar archive"),
    ("import-targz", "import a tar archive, gzip"),
    ("import-tarzst", "import a tar archive, zstd"),
    ("import-squashfs", "import a squashfs image"),
    ("import-oci", "import an OCI image of two layers"),
    ("again-xfs-tar", "import a second tar archive that shares most files, XFS"),
    ("again-xfs-squashfs", "import a second squashfs image that shares most files, XFS"),
    ("again-btrfs-tar", "import a second tar archive that shares most files, btrfs"),
    ("again-btrfs-squashfs", "import a second squashfs image that shares most files, btrfs"),
    ("again-zfs-tar", "import a second tar archive that shares most files, ZFS"),
    ("again-zfs-squashfs", "import a second squashfs image that shares most files, ZFS"),
];
/// What zchroot is compared with, in the order of the table.
const OTHERS: [(&str, &str); 13] = [
    ("directory", "schroot, directory"),
    ("overlay", "schroot, directory with overlay"),
    ("snapshot", "schroot, zfs-snapshot"),
    ("schroot", "schroot"),
    ("raw", "the bare calls"),
    ("tar", "GNU tar"),
    ("tarsync", "GNU tar and sync"),
    ("unsquashfs", "unsquashfs"),
    ("unsquashfssync", "unsquashfs and sync"),
    ("umoci", "umoci"),
    ("umocisync", "umoci and sync"),
    ("floor", "cp --reflink and cat"),
    ("floorsync", "cp --reflink, cat and sync"),
];
/// The profile of cases that have none; it stands for all.
pub const NO_PROFILE: &str = "none";

/// How fast it is to be: a fraction of what it is compared with, 1/`at_most`; 1/`aim` is the wish.
#[derive(Debug)]
pub struct Target {
    pub operation: &'static str,
    pub profile: &'static str,
    pub other: &'static str,
    pub at_most: f64,
    pub aim: f64,
}

/// The table and what was aimed at, as Markdown.
///
/// # Errors
/// When a target's case was not measured.
pub fn markdown(samples: &Samples, targets: &[Target]) -> Result<String> {
    let mut text = String::from(
        "| operation | profile | zchroot, ms | compared with | ms | ratio | CPU ratio |\n|---|---|---|---|---|---|---|\n",
    );
    for (operation, title) in OPERATIONS {
        for key in samples.keys().filter(|key| key.operation == operation && key.subject == OURS) {
            for (other, name) in OTHERS {
                if let Some(row) = Row::of(samples, key, other) {
                    text.push_str(&row.markdown(title, name));
                }
            }
        }
    }
    text.push_str("\n| target | ratio | at most | aim | |\n|---|---|---|---|---|\n");
    for target in targets {
        text.push_str(&target.markdown(samples)?);
    }
    Ok(text)
}

struct Row<'a> {
    key: &'a Key,
    ours: Spread,
    theirs: Spread,
    /// Theirs over ours: of the medians of all runs, and the least and most of the rounds.
    ratio: Spread,
    cpu: f64,
}

impl<'a> Row<'a> {
    fn of(samples: &Samples, key: &'a Key, other: &str) -> Option<Self> {
        let other = [key.profile.as_str(), NO_PROFILE]
            .into_iter()
            .map(|profile| Key::new(&key.operation, other, profile))
            .find(|other| samples.rounds(other).is_some())?;
        let (ours, theirs) = (samples.rounds(key)?, samples.rounds(&other)?);
        let each = ours.iter().filter_map(|(number, round)| {
            let median = |times: &[f64]| Spread::of(times.iter().copied()).map(|spread| spread.median);
            Some(median(&theirs.get(number)?.times)? / median(&round.times)?)
        });
        let mut ratio = Spread::of(each)?;
        let cpu = |rounds: &std::collections::BTreeMap<u32, super::samples::Round>| {
            rounds.values().map(|round| round.user + round.system).sum::<f64>() / rounds.len() as f64
        };
        let cpu = cpu(theirs) / cpu(ours);
        let (ours, theirs) = (Spread::of_rounds(ours)?, Spread::of_rounds(theirs)?);
        ratio.median = theirs.median / ours.median;
        Some(Self { key, ours, theirs, ratio, cpu })
    }

    fn markdown(&self, title: &str, name: &str) -> String {
        let profile = if self.key.profile == NO_PROFILE { "" } else { &self.key.profile };
        format!(
            "| {title} | {profile} | {} | {name} | {} | {} | {} |\n",
            milliseconds(&self.ours),
            milliseconds(&self.theirs),
            fraction_of(&self.ratio),
            fraction(self.cpu)
        )
    }
}

impl Target {
    fn markdown(&self, samples: &Samples) -> Result<String> {
        let key = Key::new(self.operation, OURS, self.profile);
        let row = Row::of(samples, &key, self.other).with_context(|| {
            format!("{} of profile {} was not measured against {}", self.operation, self.profile, self.other)
        })?;
        let name = |list: &[(&str, &'static str)], word| {
            list.iter().find(|(key, _)| *key == word).map_or("", |(_, name)| name)
        };
        let verdict = match row.ratio.median {
            ratio if ratio >= self.aim => "met, and the aim",
            ratio if ratio >= self.at_most => "met",
            _ => "**missed**",
        };
        let profile = match self.profile {
            NO_PROFILE => String::new(),
            profile => format!(", profile {profile}"),
        };
        Ok(format!(
            "| {}{profile}, against {} | {} | {} | {} | {verdict} |\n",
            name(&OPERATIONS, self.operation),
            name(&OTHERS, self.other),
            fraction_of(&row.ratio),
            fraction(self.at_most),
            fraction(self.aim)
        ))
    }
}

fn milliseconds(spread: &Spread) -> String {
    let [median, min, max] = [spread.median, spread.min, spread.max].map(|seconds| short(seconds * 1000.0));
    format!("{median} ({min}..{max})")
}

fn fraction_of(ratio: &Spread) -> String {
    format!("{} ({}..{})", fraction(ratio.median), fraction(ratio.max), fraction(ratio.min))
}

/// `1/12` for what is twelve times as fast, `1.5` for what takes half as long again.
fn fraction(faster: f64) -> String {
    if faster >= 1.0 { format!("1/{}", short(faster)) } else { short(1.0 / faster) }
}

/// Three digits at the most.
fn short(number: f64) -> String {
    let digits = match number {
        n if n >= 100.0 => 0,
        n if n >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{number:.digits$}");
    if digits == 0 { text } else { text.trim_end_matches('0').trim_end_matches('.').to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Target =
        Target { operation: "run", profile: "default", other: "directory", at_most: 10.0, aim: 20.0 };

    fn samples(cases: &[(&str, &str, &str, [f64; 2])]) -> Samples {
        let mut samples = Samples::default();
        for (operation, subject, profile, times) in cases {
            for (round, time) in times.iter().enumerate() {
                let json =
                    format!("{{\"results\": [{{\"times\": [{time}], \"user\": {time}, \"system\": 0.0}}]}}");
                let key = Key::new(operation, subject, profile);
                samples.add(key, u32::try_from(round).unwrap(), &json).unwrap();
            }
        }
        samples
    }

    #[test]
    fn a_row_has_the_ratio_of_the_medians_and_that_of_each_round() {
        let samples = samples(&[
            ("run", "zchroot", "default", [0.01, 0.02]),
            ("run", "directory", "default", [0.2, 0.3]),
        ]);
        let text = markdown(&samples, &[TARGET]).unwrap();
        assert!(
            text.contains(
                "| default | 15 (10..20) | schroot, directory | 250 (200..300) | 1/16.7 (1/20..1/15) |"
            ),
            "{text}"
        );
        assert!(text.contains("| 1/10 | 1/20 | met |"), "{text}");
    }

    #[test]
    fn the_verdict_is_that_of_the_median() {
        for (theirs, verdict) in [(0.05, "**missed**"), (0.1, "met |"), (0.2, "met, and the aim")] {
            let samples = samples(&[
                ("run", "zchroot", "default", [0.01; 2]),
                ("run", "directory", "default", [theirs; 2]),
            ]);
            let text = markdown(&samples, &[TARGET]).unwrap();
            assert!(text.contains(verdict), "{theirs}: {text}");
        }
    }

    #[test]
    fn a_target_that_was_not_measured_is_an_error() {
        let samples = samples(&[("run", "zchroot", "default", [0.01; 2])]);
        assert!(markdown(&samples, &[TARGET]).unwrap_err().to_string().contains("not measured"));
    }

    #[test]
    fn what_is_slower_is_no_fraction() {
        assert_eq!(fraction(0.5), "2");
        assert_eq!(fraction(20.0), "1/20");
        assert_eq!(fraction(3.456), "1/3.46");
        assert_eq!(fraction(123.4), "1/123");
    }

    #[test]
    fn the_bare_calls_have_no_profile_and_stand_beside_all() {
        let samples = samples(&[
            ("begin", "zchroot", "minimal", [0.02; 2]),
            ("begin", "zchroot", "default", [0.02; 2]),
            ("begin", "raw", "none", [0.01; 2]),
        ]);
        let text = markdown(&samples, &[]).unwrap();
        assert_eq!(text.matches("the bare calls | 10 (10..10) | 2 (2..2)").count(), 2, "{text}");
    }
}
