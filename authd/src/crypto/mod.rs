//! Hash pool, token signing, sealing, key-encryption key.

mod aead;
mod derive;
pub mod hash_pool;
pub mod jwt;
pub mod kek;
mod password_hash;
pub mod seal;
pub mod strength;

#[cfg(test)]
pub(crate) mod fakes;
