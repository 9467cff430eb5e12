//! TODO-room

pub mod setup;
