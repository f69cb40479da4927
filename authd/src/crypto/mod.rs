//! Hash pool, token signing, sealing, key-encryption key.

mod aead;
mod derive;
pub mod jwt;
pub mod kek;
pub mod seal;

#[cfg(test)]
pub(crate) mod fakes;
