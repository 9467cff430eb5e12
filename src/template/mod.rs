//! Definitions: parse, load, lint; profiles.

mod profile;

pub use profile::{HostFile, Mount, MountKind, NssDatabase, Profile};
