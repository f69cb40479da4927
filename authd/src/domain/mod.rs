//! Nouns, rules and the traits at their boundary; imports nothing of the rest of the crate.

pub mod account;
pub mod address_rule;
pub mod audit;
pub mod clock;
pub mod failure;
pub mod hash_cost;
pub mod hex;
pub mod identifier;
pub mod key;
pub mod ladder;
pub mod limit;
pub mod login;
pub mod outage;
pub mod page;
pub mod password;
pub mod quota;
pub mod rotation;
pub mod secret;
pub mod session;
pub mod setting;
pub mod store_error;
pub mod tally;
pub mod token;
