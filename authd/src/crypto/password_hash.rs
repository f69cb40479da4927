//! One worker's hashing: Argon2id (RFC 9106) in a kept buffer, and the older hashes that imported accounts bring.

use crate::{
    crypto::stored_hash::{Argon2Hash, Pbkdf2Digest, Pbkdf2Hash, ScryptHash, StoredHash, is_bcrypt},
    domain::{
        account::PasswordHash as Stored,
        clock::{Random, random_bytes},
        hash_cost::HashCost,
        password::{Against, Checked, HashError, Password},
    },
    sys,
};
use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::phc::{Output, ParamsString, PasswordHash, Salt},
};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

const SALT_LEN: usize = 16;
/// Bytes of every hash that is made here.
pub(super) const OUTPUT_LEN: usize = 32;
/// Salt and output of nobody's hash, as PHC strings and bcrypt write them.
const PHC_REST: &str = "bm8gYWNjb3VudCBhdCBhbGw$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const BCRYPT_REST: &str = ".....................................................";

/// Configured parameters and the memory they need, allocated by each worker for its first hash and kept.
pub(super) struct Engine {
    configured: Argon2<'static>,
    blocks: Vec<Block>,
}

impl Engine {
    /// An engine that makes hashes with these parameters.
    pub(super) fn new(configured: Params) -> Self {
        Self { configured: Argon2::new(Algorithm::Argon2id, Version::V0x13, configured), blocks: Vec::new() }
    }

    /// Hashes with the configured parameters and a new salt.
    pub(super) fn hash(&mut self, password: &Password, random: &dyn Random) -> Result<Stored, HashError> {
        let salt: [u8; SALT_LEN] = random_bytes(random);
        let output = self.derive(&self.configured.clone(), password, &salt)?;
        let phc = PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(self.configured.params()).map_err(|_| HashError::Unusable)?,
            salt: Some(Salt::new(&salt).map_err(|_| HashError::Unusable)?),
            hash: Some(Output::new(&output).map_err(|_| HashError::Unusable)?),
        };
        Ok(Stored(phc.to_string()))
    }

    /// Checks a password; what it is checked against decides how. What cannot be verified costs an ordinary hash too.
    pub(super) fn check(&mut self, password: &Password, against: &Against) -> Result<Checked, HashError> {
        match against {
            Against::Nobody(text) => self.check_nobody(password, text),
            Against::Trial(cost) => self.check_like(password, cost),
            Against::Stored(stored) => {
                let checked = self.check_stored(password, stored);
                if checked == Err(HashError::Unusable) {
                    self.check_nobody(password, &stored.0)?;
                }
                checked
            }
        }
    }

    fn check_stored(&mut self, password: &Password, stored: &Stored) -> Result<Checked, HashError> {
        match StoredHash::read(stored).map_err(|_| HashError::Unusable)? {
            StoredHash::Argon2(stored) => self.check_argon2(password, &stored),
            StoredHash::Bcrypt => check_bcrypt(password, &stored.0),
            StoredHash::Scrypt(stored) => check_scrypt(password, &stored),
            StoredHash::Pbkdf2(stored) => check_pbkdf2(password, &stored),
        }
    }

    /// The work of a stored hash of this cost, and never a match.
    fn check_like(&mut self, password: &Password, cost: &HashCost) -> Result<Checked, HashError> {
        let cost = cost.as_str();
        let rest = if is_bcrypt(cost) { BCRYPT_REST } else { PHC_REST };
        match self.check_stored(password, &Stored(format!("{cost}{rest}"))) {
            Err(HashError::Unusable) => self.check_nobody(password, cost),
            checked => checked.map(|_| Checked::Wrong),
        }
    }

    /// The work of a hash with the configured parameters, and never a match.
    fn check_nobody(&mut self, password: &Password, text: &str) -> Result<Checked, HashError> {
        let digest = Sha256::digest(text);
        let (salt, _) = digest.split_at(SALT_LEN);
        let output = self.derive(&self.configured.clone(), password, salt)?;
        // Used as a real one would be, so that the work cannot be optimised away.
        let _ = std::hint::black_box(output.as_slice().ct_eq(digest.as_slice()));
        Ok(Checked::Wrong)
    }

    fn check_argon2(&mut self, password: &Password, stored: &Argon2Hash) -> Result<Checked, HashError> {
        let argon2 = Argon2::new(stored.algorithm, stored.version, stored.params.clone());
        let output = self.derive(&argon2, password, &stored.salt)?;
        if !bool::from(output.as_slice().ct_eq(stored.output.as_bytes())) {
            return Ok(Checked::Wrong);
        }
        Ok(if stored.is_as_configured(self.configured.params()) { Checked::Right } else { Checked::RightButOutdated })
    }

    fn derive(
        &mut self,
        argon2: &Argon2<'_>,
        password: &Password,
        salt: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, HashError> {
        self.provide(argon2.params().block_count())?;
        let mut output = Zeroizing::new(vec![0; argon2.params().output_len().unwrap_or(OUTPUT_LEN)]);
        argon2
            .hash_password_into_with_memory(password.reveal().as_bytes(), salt, &mut output, &mut self.blocks)
            .map_err(|_| HashError::Unusable)?;
        Ok(output)
    }

    /// Makes the buffer with the first hash, grows it for a larger stored one, and gives that memory back with the next
    /// ordinary one.
    fn provide(&mut self, blocks: usize) -> Result<(), HashError> {
        let ordinary = self.configured.params().block_count();
        let wanted = blocks.max(ordinary);
        if wanted > self.blocks.len() {
            let missing = wanted.saturating_sub(self.blocks.len());
            self.blocks.try_reserve_exact(missing).map_err(|_| HashError::Overloaded)?;
            sys::prefer_huge_pages(self.blocks.spare_capacity_mut());
            self.blocks.resize(wanted, Block::default());
        } else if blocks <= ordinary && self.blocks.len() > ordinary {
            self.blocks.truncate(ordinary);
            self.blocks.shrink_to_fit();
        }
        Ok(())
    }
}

impl Argon2Hash {
    fn is_as_configured(&self, configured: &Params) -> bool {
        let cost = |params: &Params| (params.m_cost(), params.t_cost(), params.p_cost());
        self.algorithm == Algorithm::Argon2id
            && self.version == Version::V0x13
            && cost(&self.params) == cost(configured)
            && self.output.len() == OUTPUT_LEN
    }
}

/// Verifies as the system did that made the hash: bcrypt reads 72 bytes and ignores the rest.
fn check_bcrypt(password: &Password, text: &str) -> Result<Checked, HashError> {
    match bcrypt::verify(password.reveal(), text) {
        Ok(true) => Ok(Checked::RightButOutdated),
        Ok(false) => Ok(Checked::Wrong),
        Err(_) => Err(HashError::Unusable),
    }
}

fn check_scrypt(password: &Password, stored: &ScryptHash) -> Result<Checked, HashError> {
    let mut output = Zeroizing::new(vec![0; stored.output.len()]);
    scrypt::scrypt(password.reveal().as_bytes(), &stored.salt, &stored.params, &mut output)
        .map_err(|_| HashError::Unusable)?;
    Ok(outdated_if(&output, &stored.output))
}

fn check_pbkdf2(password: &Password, stored: &Pbkdf2Hash) -> Result<Checked, HashError> {
    let mut output = Zeroizing::new(vec![0; stored.output.len()]);
    let (password, Pbkdf2Hash { salt, rounds, .. }) = (password.reveal().as_bytes(), stored);
    match stored.digest {
        Pbkdf2Digest::Sha256 => pbkdf2::pbkdf2_hmac::<sha2::Sha256>(password, salt, *rounds, &mut output),
        Pbkdf2Digest::Sha512 => pbkdf2::pbkdf2_hmac::<sha2::Sha512>(password, salt, *rounds, &mut output),
    }
    Ok(outdated_if(&output, &stored.output))
}

/// A hash of another system, if it is right at all, is replaced by one of ours.
fn outdated_if(output: &[u8], stored: &[u8]) -> Checked {
    if bool::from(output.ct_eq(stored)) { Checked::RightButOutdated } else { Checked::Wrong }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::fakes::CountedRandom;

    fn engine() -> Engine {
        Engine::new(Params::new(64, 1, 1, Some(OUTPUT_LEN)).unwrap())
    }

    fn check(engine: &mut Engine, password: &str, stored: &str) -> Result<Checked, HashError> {
        engine.check(&Password::new(password), &Against::Stored(Stored(stored.into())))
    }

    #[test]
    fn a_hash_is_argon2id_with_the_configured_parameters_and_its_own_salt() {
        let (mut engine, random) = (engine(), CountedRandom::default());
        let password = Password::new("correct horse");
        let (one, two) = (engine.hash(&password, &random).unwrap(), engine.hash(&password, &random).unwrap());
        assert!(one.0.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{}", one.0);
        assert_ne!(one, two);
        assert_eq!(check(&mut engine, "correct horse", &one.0), Ok(Checked::Right));
        for wrong in ["correct horse ", "Correct horse", "", "correct hors\u{e9}"] {
            assert_eq!(check(&mut engine, wrong, &one.0), Ok(Checked::Wrong), "{wrong}");
        }
    }

    #[test]
    fn a_hash_of_the_reference_implementation_verifies_and_is_outdated() {
        let stored = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        let mut engine = engine();
        assert!(engine.blocks.is_empty(), "memory is taken with the first hash");
        assert_eq!(check(&mut engine, "password", stored), Ok(Checked::RightButOutdated));
        assert_eq!(check(&mut engine, "Password", stored), Ok(Checked::Wrong));
        assert!(engine.blocks.len() > 64, "the larger buffer is kept for the next large one");
        let _ = check(&mut engine, "password", "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(engine.blocks.len(), 64, "and given back with an ordinary one");
    }

    #[test]
    fn every_parameter_that_differs_makes_a_right_password_outdated() {
        let random = CountedRandom::default();
        for (m, t, p) in [(64, 1, 1), (128, 1, 1), (64, 2, 1), (64, 1, 2)] {
            let mut other = Engine::new(Params::new(m, t, p, Some(OUTPUT_LEN)).unwrap());
            let stored = other.hash(&Password::new("right"), &random).unwrap();
            let expected = if (m, t, p) == (64, 1, 1) { Checked::Right } else { Checked::RightButOutdated };
            assert_eq!(check(&mut engine(), "right", &stored.0), Ok(expected));
        }
    }

    #[test]
    fn bcrypt_hashes_of_other_systems_verify_and_are_outdated() {
        let long = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789chars after 72 are ignored";
        for version in ["$2a$", "$2b$", "$2y$"] {
            for (password, rest) in [
                ("U*U", "05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
                (long, "05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui"),
                (&long[..72], "05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui"),
            ] {
                let stored = format!("{version}{rest}");
                assert_eq!(check(&mut engine(), password, &stored), Ok(Checked::RightButOutdated), "{stored}");
                assert_eq!(check(&mut engine(), &password[1..], &stored), Ok(Checked::Wrong), "{stored}");
            }
        }
    }

    #[test]
    fn scrypt_and_pbkdf2_hashes_of_other_systems_verify_and_are_outdated() {
        // The first is of RFC 7914 section 12, its output cut short; the others are made with other implementations.
        for (password, stored) in [
            ("password", "$scrypt$ln=10,r=8,p=16$TmFDbA$/bq+HJ00cgB4VucZDQHp/nxq18vII3gw53N2Y0s3MWI"),
            (
                "correct horse",
                "$scrypt$ln=14,r=8,p=1$MDEyMzQ1Njc4OWFiY2RlZg$0LupyHkzAIgDr9UDsriAAf87vMbCbcaUfDvFOAHk0D0",
            ),
            (
                "password",
                "$pbkdf2-sha256$i=4096,l=32$c2FsdHNhbHRzYWx0c2FsdA$FuNbErQfRlymTQaVeNdQBZd1zK1d861T1rIErLEi0e4",
            ),
            ("password", "$pbkdf2-sha256$29000$c2FsdHNhbHRzYWx0c2FsdA$7xwbY5rCP.qJhnvJ80W3FI7hSRg8wNnl3S9rczjVuCk"),
            (
                "password",
                "$pbkdf2-sha512$4096$c2FsdHNhbHRzYWx0c2FsdA$\
                 fcaZk8IqtEShNXS51xssr8VOaJFNnd/QDtXCNUW4VNXg5ot/VhTu9d+Qh1c7q4NgsgJneR7Xp3ZpAF/ZS1cx4g",
            ),
        ] {
            assert_eq!(check(&mut engine(), password, stored), Ok(Checked::RightButOutdated), "{stored}");
            assert_eq!(check(&mut engine(), &password[1..], stored), Ok(Checked::Wrong), "{stored}");
        }
    }

    #[test]
    fn what_cannot_be_verified_within_the_caps_is_unusable() {
        let output = "CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        let argon2 = |params: &str, output: &str| format!("$argon2id$v=19${params}$c29tZXNhbHQ${output}");
        for stored in [
            argon2("m=262145,t=1,p=1", output),
            argon2("m=4294967295,t=1,p=1", output),
            argon2("m=64,t=17,p=1", output),
            argon2("m=256,t=1,p=17", output),
            argon2("m=64,t=0,p=1", output),
            argon2("m=64,t=1", output),
            argon2("m=64,t=1,p=1", "CTFhFdXPJO1aFaM"),
            "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ".into(),
            "$argon2x$v=19$m=64,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc".into(),
            "$2y$15$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW".into(),
            "$2y$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW".into(),
            "$2y$03$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW".into(),
            "$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW".into(),
            format!("$scrypt$ln=19,r=8,p=1$c29tZXNhbHQ${output}"),
            format!("$scrypt$ln=63,r=8,p=1$c29tZXNhbHQ${output}"),
            format!("$scrypt$ln=14,r=8,p=4294967295$c29tZXNhbHQ${output}"),
            format!("$scrypt$ln=14,r=8$c29tZXNhbHQ${output}"),
            format!("$pbkdf2-sha256$2000001$c29tZXNhbHQ${output}"),
            format!("$pbkdf2-sha256$999$c29tZXNhbHQ${output}"),
            format!("$pbkdf2-sha256$+29000$c29tZXNhbHQ${output}$"),
            format!("$pbkdf2-sha256$29000$c29tZXNhbHQ${output}{output}"),
            format!("$pbkdf2-sha1$29000$c29tZXNhbHQ${output}"),
            "$2y$05$é".into(),
            "5f4dcc3b5aa765d61d8327deb882cf99".into(),
            String::new(),
        ] {
            assert_eq!(check(&mut engine(), "password", &stored), Err(HashError::Unusable), "{stored}");
        }
    }

    #[test]
    fn a_trial_of_a_cost_does_its_work_and_never_matches() {
        let mut engine = engine();
        let cost = |stored: &str| Against::Trial(HashCost::of(&Stored(stored.into())));
        let large = cost("$argon2id$v=19$m=65536,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc");
        assert_eq!(engine.check(&Password::new("any"), &large), Ok(Checked::Wrong));
        assert_eq!(engine.blocks.len(), 65_536, "its memory was used");
        for stored in ["$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "$2b$31$x", "unknown"] {
            assert_eq!(engine.check(&Password::new("any"), &cost(stored)), Ok(Checked::Wrong), "{stored}");
        }
        let bcrypt = format!("$2b$05${BCRYPT_REST}");
        assert_eq!(check_bcrypt(&Password::new("any"), &bcrypt), Ok(Checked::Wrong), "it is computed, not refused");
    }

    #[test]
    fn nobody_never_matches() {
        let mut engine = engine();
        for text in ["", "ada@example.org"] {
            let checked = engine.check(&Password::new("any"), &Against::Nobody(text.into()));
            assert_eq!(checked, Ok(Checked::Wrong));
        }
    }
}
