//! Chance that can be had again: all of a run's comes from one seed. (Which process is where at what time does
//! not: a seed gives the same deeds, not the same interleaving.)

fn of_now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    now.as_secs().wrapping_mul(1_000_000_000).wrapping_add(u64::from(now.subsec_nanos()))
}

/// Numbers one after the other (splitmix64).
#[derive(Debug, Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    /// The seed of ZCHROOT_TEST_SEED, or one of now; it is printed.
    pub(crate) fn seed() -> u64 {
        let given = std::env::var("ZCHROOT_TEST_SEED").ok().map(|text| text.parse().unwrap());
        let seed = given.unwrap_or_else(of_now);
        println!("ZCHROOT_TEST_SEED={seed}");
        seed
    }

    /// The `place`-th row of numbers of a seed.
    pub(crate) fn new(seed: u64, place: usize) -> Self {
        Self(seed ^ (place as u64).wrapping_mul(0xd129_0bd3_9b5a_3c7d))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }

    /// A time below so many milliseconds, as sleep(1) takes it.
    pub(crate) fn seconds(&mut self, below_ms: u64) -> String {
        let ms = self.below(below_ms);
        format!("{}.{:03}", ms / 1000, ms % 1000)
    }
}
