//! Admin API on Unix sockets.

pub mod control;
