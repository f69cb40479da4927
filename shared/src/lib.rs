//! Names that `authd` and `authctl` share: ids, times, rates, modes, error codes, the list of admin calls, and how text
//! from elsewhere is printed.
//!
//! Nothing here is async, speaks HTTP or touches a database.

pub mod admin;
pub mod chain;
pub mod error;
pub mod hex;
pub mod id;
pub mod mode;
pub mod notable;
pub mod print;
pub mod rate;
pub mod roff;
pub mod schema;
pub mod time;
