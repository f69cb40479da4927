//! The audit log as operators use it: verify, export, sign, and what comes to light.

mod closed;
mod mutation;
mod proof;
mod tamper;
mod verbs;

pub(crate) use mutation::{killed, mutations};
