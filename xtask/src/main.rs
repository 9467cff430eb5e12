//! The project's own tools: `cargo xtask help`.
fn main() {}
