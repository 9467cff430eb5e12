//! How much the tests do: `--long`, `--seed`; and how nextest runs them, on the host and in a machine alike.

use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use super::select::Kind;

/// What a run of tests may be told. The tests read it from their environment.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Effort {
    /// Leave nothing out: every point of a crash test, histories of ten minutes and more (ZCHROOT_TEST_LONG=1)
    #[arg(long)]
    pub long: bool,
    /// What the tests sample by, to repeat a run (ZCHROOT_TEST_SEED) [default: another one each time, printed]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
}

impl Effort {
    /// The same with a seed, if it had none.
    pub fn seeded(self) -> Self {
        // Every RandomState has keys of its own; that is as random as a seed has to be.
        let random = || std::collections::hash_map::RandomState::new().build_hasher().finish() >> 32;
        Self { seed: Some(self.seed.unwrap_or_else(random)), ..self }
    }

    /// What the tests find in their environment.
    pub fn environment(self) -> Vec<(&'static str, String)> {
        let long = self.long.then(|| ("ZCHROOT_TEST_LONG", "1".to_owned()));
        let seed = self.seed.map(|seed| ("ZCHROOT_TEST_SEED", seed.to_string()));
        long.into_iter().chain(seed).collect()
    }

    /// How long a machine may take for its tests, its boot included; `slowness` as in [`Self::profile`].
    pub fn machine_limit(self, slowness: u32) -> Duration {
        Duration::from_secs(if self.long { 12 * 3600 } else { 1800 }) * slowness
    }

    /// A profile for nextest. What the tests print goes into the report, where [`super::counts`] looks for it.
    /// `slowness`: how many times as long as on a host a test may take.
    pub fn profile(self, name: &str, junit: &str, kind: Kind, slowness: u32) -> String {
        // A test that hangs is ended, after five minutes or, if it may be long, three hours. Clients wait for a mirror.
        let minutes = match kind {
            _ if self.long => 180,
            Kind::Clients => 15,
            _ => 5,
        };
        let periods = minutes * slowness;
        format!(
            "[profile.{name}]\nfail-fast = false\nfinal-status-level = \"slow\"\n\
             slow-timeout = {{ period = \"60s\", terminate-after = {periods}, grace-period = \"5s\" }}\n\
             junit = {{ path = \"{junit}\", store-success-output = true }}\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_says_what_was_asked_for() {
        assert!(Effort::default().environment().is_empty());
        let all = Effort { long: true, seed: Some(7) }.environment();
        assert_eq!(all, [("ZCHROOT_TEST_LONG", "1".to_owned()), ("ZCHROOT_TEST_SEED", "7".to_owned())]);
    }

    #[test]
    fn a_seed_that_was_given_stays_and_others_differ() {
        assert_eq!(Effort { long: false, seed: Some(7) }.seeded().seed, Some(7));
        let seeds: std::collections::BTreeSet<_> = (0..8).map(|_| Effort::default().seeded().seed).collect();
        assert!(seeds.len() > 1 && !seeds.contains(&None), "{seeds:?}");
    }

    #[test]
    fn a_long_run_may_take_longer() {
        let profile = |long| Effort { long, seed: None }.profile("x", "/y.xml", Kind::Plain, 1);
        assert!(toml::from_str::<toml::Value>(&profile(false)).is_ok());
        assert_ne!(profile(true), profile(false));
        let limit = |long| Effort { long, seed: None }.machine_limit(1);
        assert!(limit(true) > limit(false));
    }

    #[test]
    fn a_slow_machine_has_more_time_for_a_test_and_for_all() {
        let effort = Effort::default();
        let profile = effort.profile("x", "/y.xml", Kind::All, 4);
        assert!(profile.contains("terminate-after = 20,"), "{profile}");
        assert_eq!(effort.machine_limit(4), effort.machine_limit(1) * 4);
    }
}
