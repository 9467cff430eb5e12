//! The child side of entering a tree.
