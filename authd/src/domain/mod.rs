//! Nouns, rules and the traits at their boundary.
