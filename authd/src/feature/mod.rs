//! Opt-in features: the list.
