//! Hash pool, token signing, sealing, root secret, key-encryption key.

mod aead;
pub mod audit;
mod derive;
pub mod hash_pool;
pub mod jwt;
pub mod kek;
pub mod keks;
mod password_hash;
pub mod root;
pub mod seal;
mod stored_hash;
pub mod strength;

#[cfg(test)]
pub(crate) mod fakes;
