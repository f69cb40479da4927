//! Tasks that shutdown waits for.
