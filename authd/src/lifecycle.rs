//! Signals, readiness, drain and the service manager.
