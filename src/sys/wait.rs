//! Waiting for a command.
