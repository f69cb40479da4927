//! Neither tags nor seals: no token is ever known here.

use super::Down;
use crate::domain::{
    login::Sealer,
    rotation::Sealed,
    secret::Secret,
    token::{MAC_LEN, TokenMac},
};

impl TokenMac for Down {
    fn current_key(&self) -> u8 {
        0
    }
    fn mac(&self, _: u8, _: &[u8]) -> Option<[u8; MAC_LEN]> {
        None
    }
}

impl Sealer for Down {
    fn seal(&self, _: &Secret, _: Option<&str>, _: &Secret) -> Option<Sealed> {
        None
    }
    fn open(&self, _: &Secret, _: Option<&str>, _: &Sealed) -> Option<Secret> {
        None
    }
    fn tag(&self, _: &'static str, _: &[u8]) -> [u8; 32] {
        [0; 32]
    }
}
