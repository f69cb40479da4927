//! Password hashes as other systems stored them, read within caps: one hash must not take a worker away for long, nor
//! more memory than is set aside for it.
//!
//! PHC strings of Argon2, scrypt and PBKDF2, bcrypt in modular crypt form, and PBKDF2 as Python's passlib writes it.

use crate::domain::{account::PasswordHash as Stored, password::UnusableHash};
use argon2::{
    Algorithm, Params, Version,
    password_hash::phc::{Output, PasswordHash, Salt},
};
use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

/// A stored hash that asks for more memory than this is not verified, in KiB.
const MAX_MEMORY_KIB: u32 = 256 * 1_024;
/// The same for passes of Argon2.
const MAX_ITERATIONS: u32 = 16;
/// The same for lanes.
const MAX_LANES: u32 = 16;
/// A shorter stored output could be found by trying.
const MIN_OUTPUT_LEN: usize = 16;
/// Cost 14 takes about a second; more would let one login stop a worker.
const MAX_BCRYPT_COST: u32 = 14;
const MIN_BCRYPT_COST: u32 = 4;
/// Mixes of blocks by scrypt, N · r · p: about a second.
const MAX_SCRYPT_WORK: u64 = 1 << 21;
/// Rounds of PBKDF2: about a second.
const MAX_ROUNDS: u32 = 2_000_000;
const MIN_ROUNDS: u32 = 1_000;
const MAX_SALT_LEN: usize = 64;

/// Base64 as PHC strings have it: without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A stored hash that can be verified.
pub(super) enum StoredHash {
    /// Argon2, any of the three.
    Argon2(Argon2Hash),
    /// bcrypt; its own crate reads the text.
    Bcrypt,
    /// scrypt.
    Scrypt(ScryptHash),
    /// PBKDF2 with HMAC.
    Pbkdf2(Pbkdf2Hash),
}

/// An Argon2 hash within the caps.
pub(super) struct Argon2Hash {
    pub(super) algorithm: Algorithm,
    pub(super) version: Version,
    pub(super) params: Params,
    pub(super) salt: Salt,
    pub(super) output: Output,
}

/// A scrypt hash within the caps.
pub(super) struct ScryptHash {
    pub(super) params: scrypt::Params,
    pub(super) salt: Vec<u8>,
    pub(super) output: Vec<u8>,
}

/// A PBKDF2 hash within the caps.
pub(super) struct Pbkdf2Hash {
    pub(super) digest: Pbkdf2Digest,
    pub(super) rounds: u32,
    pub(super) salt: Vec<u8>,
    pub(super) output: Vec<u8>,
}

/// The hash function of a PBKDF2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pbkdf2Digest {
    Sha256,
    Sha512,
}

impl StoredHash {
    /// Reads a stored hash.
    pub(super) fn read(Stored(text): &Stored) -> Result<Self, UnusableHash> {
        if is_bcrypt(text) {
            return bcrypt(text);
        }
        let mut parts = text.split('$');
        match (parts.next(), parts.next()) {
            (Some(""), Some("argon2id" | "argon2i" | "argon2d")) => Argon2Hash::read(text).map(Self::Argon2),
            (Some(""), Some("scrypt")) => ScryptHash::read(text).map(Self::Scrypt),
            (Some(""), Some("pbkdf2-sha256")) => Pbkdf2Hash::read(text, Pbkdf2Digest::Sha256).map(Self::Pbkdf2),
            (Some(""), Some("pbkdf2-sha512")) => Pbkdf2Hash::read(text, Pbkdf2Digest::Sha512).map(Self::Pbkdf2),
            _ => Err(UnusableHash::Unknown),
        }
    }
}

/// Whether it has the form of bcrypt.
pub(super) fn is_bcrypt(text: &str) -> bool {
    ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| text.starts_with(prefix))
}

fn bcrypt(text: &str) -> Result<StoredHash, UnusableHash> {
    let parts: bcrypt::HashParts = text.parse().map_err(|_| UnusableHash::Malformed)?;
    match parts.get_cost() {
        MIN_BCRYPT_COST..=MAX_BCRYPT_COST => Ok(StoredHash::Bcrypt),
        cost if cost < MIN_BCRYPT_COST => Err(UnusableHash::Malformed),
        _ => Err(UnusableHash::TooCostly("a bcrypt cost of at most 14")),
    }
}

impl Argon2Hash {
    fn read(text: &str) -> Result<Self, UnusableHash> {
        let bad = UnusableHash::Malformed;
        let phc = PasswordHash::new(text).map_err(|_| bad)?;
        let algorithm = Algorithm::try_from(phc.algorithm.as_str()).map_err(|_| bad)?;
        // The reference implementation wrote no version before 0x13.
        let version = phc.version.map_or(Ok(Version::V0x10), Version::try_from).map_err(|_| bad)?;
        let (salt, output) = (phc.salt.ok_or(bad)?, phc.hash.ok_or(bad)?);
        let named = |name: &str| phc.params.get_decimal(name).ok_or(bad);
        let (memory_kib, iterations, lanes) = (named("m")?, named("t")?, named("p")?);
        if memory_kib > MAX_MEMORY_KIB || iterations > MAX_ITERATIONS || lanes > MAX_LANES {
            return Err(UnusableHash::TooCostly("at most m=262144, t=16 and p=16 of Argon2"));
        }
        let params = Params::try_from(&phc).map_err(|_| bad)?;
        if output.len() < MIN_OUTPUT_LEN {
            return Err(UnusableHash::TooShort);
        }
        Ok(Self { algorithm, version, params, salt, output })
    }
}

/// Parameters, salt and output of `$name$parameters$salt$output`.
fn parts(text: &str) -> Result<(&str, Vec<u8>, Vec<u8>), UnusableHash> {
    let bad = UnusableHash::Malformed;
    let [_, _, parameters, salt, output] = text.split('$').collect::<Vec<_>>().try_into().map_err(|_| bad)?;
    // Passlib writes dots for plus signs.
    let bytes = |text: &str| BASE64.decode(text.replace('.', "+")).map_err(|_| bad);
    let (salt, output) = (bytes(salt)?, bytes(output)?);
    if salt.is_empty() || salt.len() > MAX_SALT_LEN {
        return Err(bad);
    }
    if output.len() < MIN_OUTPUT_LEN { Err(UnusableHash::TooShort) } else { Ok((parameters, salt, output)) }
}

/// The number behind `name=` among comma-separated parameters.
fn number(parameters: &str, name: &str) -> Result<u32, UnusableHash> {
    let value = parameters.split(',').find_map(|one| one.strip_prefix(name)?.strip_prefix('='));
    let value = value.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()));
    value.and_then(|value| value.parse().ok()).ok_or(UnusableHash::Malformed)
}

impl ScryptHash {
    fn read(text: &str) -> Result<Self, UnusableHash> {
        let (parameters, salt, output) = parts(text)?;
        let (log_n, r, p) = (number(parameters, "ln")?, number(parameters, "r")?, number(parameters, "p")?);
        let bad = UnusableHash::Malformed;
        if log_n == 0 || r == 0 || p == 0 || output.len() > 64 {
            return Err(bad);
        }
        let blocks = 1_u64.checked_shl(log_n).filter(|_| log_n < 32).map(|n| n.saturating_mul(u64::from(r)));
        let work = blocks.map(|blocks| blocks.saturating_mul(u64::from(p)));
        // 128 bytes a block: the memory of this much work is within the cap for memory too.
        if work.is_none_or(|work| work > MAX_SCRYPT_WORK) {
            return Err(UnusableHash::TooCostly("at most N * r * p = 2097152 of scrypt"));
        }
        let params = scrypt::Params::new(u8::try_from(log_n).map_err(|_| bad)?, r, p).map_err(|_| bad)?;
        Ok(Self { params, salt, output })
    }
}

impl Pbkdf2Hash {
    fn read(text: &str, digest: Pbkdf2Digest) -> Result<Self, UnusableHash> {
        let (parameters, salt, output) = parts(text)?;
        let is_number = parameters.bytes().all(|digit| digit.is_ascii_digit());
        let rounds = match parameters.parse() {
            Ok(_) if !is_number => return Err(UnusableHash::Malformed),
            Ok(rounds) => rounds,
            Err(_) => number(parameters, "i")?,
        };
        // One block: more would cost more than its parameters say.
        if output.len() > digest.output_len() {
            return Err(UnusableHash::Malformed);
        }
        match rounds {
            ..MIN_ROUNDS => Err(UnusableHash::TooWeak),
            MIN_ROUNDS..=MAX_ROUNDS => Ok(Self { digest, rounds, salt, output }),
            _ => Err(UnusableHash::TooCostly("at most 2000000 rounds of PBKDF2")),
        }
    }
}

impl Pbkdf2Digest {
    fn output_len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}
