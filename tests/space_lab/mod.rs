//! An installation whose store is nearly full, exactly as full as a test says; and the runs that both stores go
//! through in it. What takes the room away is ballast, never luck.
#![allow(dead_code, unreachable_pub, reason = "each test crate uses a part of it")]

pub mod archive;
pub mod frozen;
pub mod runs;
pub mod small;
pub mod stalls;

use crate::harness::Installation;

pub const MIB: u64 = 1 << 20;

/// Nobody is refused before he has tried.
pub const FLOORS: &str = "[space]\nhard-floor = \"0\"\nsoft-floor = \"0\"\nsoft-percent = 0\n";

/// A store with ballast in it.
pub trait Lab {
    /// The installation whose store it is.
    fn host(&self) -> &Installation;

    /// What users can still write.
    fn available(&self) -> u64;

    /// Lays ballast, or takes it away, until so much can still be written.
    fn leave(&self, bytes: u64);

    /// What the kernel says when it is full.
    fn full(&self) -> &'static str;

    /// What the sum says when an archive is larger than what is left.
    fn missing(&self) -> &'static str {
        " missing; "
    }

    /// Fails if there is a draft of an image, or anything else that an import, a session or a commit left.
    fn assert_clean(&self);
}

/// The images that are there, by their short names.
pub fn images(lab: &dyn Lab) -> Vec<String> {
    let json = lab.host().zchroot(["image", "list", "--json"]).json();
    let all = json["images"].as_array().unwrap().iter();
    all.map(|image| image["digest"].as_str().unwrap()[..12].to_owned()).collect()
}
