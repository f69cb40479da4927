//! Names that `authd` and `authctl` share: ids, times, rates, error codes and the list of admin calls.
//!
//! Serde types only: nothing here is async, speaks HTTP or touches a database.

pub mod admin;
pub mod error;
pub mod id;
pub mod rate;
pub mod time;
