//! What hyperfine measured: the times of each case, round by round.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// What was done, by what, with which profile.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub operation: String,
    pub subject: String,
    pub profile: String,
}

impl Key {
    pub fn new(operation: &str, subject: &str, profile: &str) -> Self {
        let [operation, subject, profile] = [operation, subject, profile].map(str::to_owned);
        Self { operation, subject, profile }
    }
}

/// One round of one case; seconds.
#[derive(Debug, Clone, Deserialize)]
pub struct Round {
    pub times: Vec<f64>,
    /// Of the processor, the mean of a run.
    pub user: f64,
    pub system: f64,
}

/// All that was measured in a lane.
#[derive(Debug, Default)]
pub struct Samples(BTreeMap<Key, BTreeMap<u32, Round>>);

#[derive(Deserialize)]
struct Export {
    results: Vec<Round>,
}

impl Samples {
    /// Reads the `OPERATION_SUBJECT_PROFILE-ROUND.json` of a directory.
    ///
    /// # Errors
    /// When there are none, or one is not what hyperfine writes.
    pub fn read(dir: &Path) -> Result<Self> {
        let mut samples = Self::default();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|end| end == "json") {
                let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
                let (key, round) = parse_stem(stem).with_context(|| format!("{}", path.display()))?;
                let text = fs::read_to_string(&path)?;
                samples.add(key, round, &text).with_context(|| format!("read {}", path.display()))?;
            }
        }
        if samples.0.is_empty() {
            bail!("nothing was measured: no results in {}", dir.display());
        }
        Ok(samples)
    }

    /// Adds what hyperfine exported.
    pub fn add(&mut self, key: Key, round: u32, json: &str) -> Result<()> {
        let export: Export = serde_json::from_str(json)?;
        let [result] = <[Round; 1]>::try_from(export.results)
            .map_err(|results| anyhow::anyhow!("{} results in the place of one", results.len()))?;
        if result.times.is_empty() {
            bail!("no times");
        }
        self.0.entry(key).or_default().insert(round, result);
        Ok(())
    }

    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.0.keys()
    }

    pub fn rounds(&self, key: &Key) -> Option<&BTreeMap<u32, Round>> {
        self.0.get(key)
    }
}

fn parse_stem(stem: &str) -> Option<(Key, u32)> {
    let (key, round) = stem.rsplit_once('-')?;
    let mut words = key.split('_');
    let key = Key::new(words.next()?, words.next()?, words.next()?);
    if words.next().is_some() {
        return None;
    }
    Some((key, round.parse().ok()?))
}

/// The middle, the least and the most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
    pub count: usize,
}

impl Spread {
    /// Of values, of which there is at least one.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            *values.get(middle)?
        } else {
            (values.get(middle - 1)? + values.get(middle)?) / 2.0
        };
        Some(Self { median, min, max, count: values.len() })
    }

    /// Of all times of a case.
    pub fn of_rounds(rounds: &BTreeMap<u32, Round>) -> Option<Self> {
        Self::of(rounds.values().flat_map(|round| round.times.iter().copied()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_of_hyperfine_is_read() {
        let json = r#"{"results": [{"command": "true", "mean": 0.2, "stddev": null, "median": 0.2, "user": 0.01,
            "system": 0.02, "min": 0.1, "max": 0.3, "times": [0.3, 0.1], "exit_codes": [0, 0]}]}"#;
        let mut samples = Samples::default();
        let (key, round) = parse_stem("run_zchroot_default-12").unwrap();
        assert_eq!((&key, round), (&Key::new("run", "zchroot", "default"), 12));
        samples.add(key.clone(), 1, json).unwrap();
        samples.add(key.clone(), 2, json).unwrap();
        let spread = Spread::of_rounds(samples.rounds(&key).unwrap()).unwrap();
        assert_eq!(spread, Spread { median: 0.2, min: 0.1, max: 0.3, count: 4 });
    }

    #[test]
    fn an_export_without_times_is_no_measurement() {
        let key = Key::new("a", "b", "c");
        let empty = r#"{"results": [{"times": [], "user": 0.0, "system": 0.0}]}"#;
        assert!(Samples::default().add(key.clone(), 1, empty).is_err());
        assert!(Samples::default().add(key.clone(), 1, r#"{"results": []}"#).is_err());
        assert!(Samples::default().add(key, 1, "").is_err());
        assert!(parse_stem("run_zchroot").is_none() && parse_stem("a_b_c_d-1").is_none());
    }

    #[test]
    fn the_median_of_an_odd_number_is_the_middle_one() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]).unwrap().median, 2.0);
        assert_eq!(Spread::of([]), None);
    }
}
