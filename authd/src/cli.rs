//! Command line of `authd`.
