//! Admin API on Unix sockets.
