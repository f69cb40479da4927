//! Which passwords may be chosen: long enough, not about the person, not known from breaches, not soon guessed.

mod blocklist;

use crate::domain::password::{Password, PasswordPolicy, WeakPassword};
pub use blocklist::{Blocklist, BlocklistError};
use zeroize::Zeroizing;
use zxcvbn::{Entropy, matching::patterns::MatchPattern, zxcvbn};

/// How much of a password is estimated at once, from either end. The estimator's cost grows faster than the text: on
/// one core the worst 100 characters take 0.7 s, the worst 40 take 0.1 s.
const ESTIMATED_CHARS: usize = 40;
/// No longer password stands in the lists of the most common ones.
const BREACHED_CHARS: u32 = 20;
/// A password that is a single word, keyboard walk, sequence or repetition with fewer guesses than this is among the
/// first that a guesser with the breach lists tries.
const BREACHED_GUESSES: u64 = 1_000_000;
/// A shorter name inside a password says nothing.
const MIN_PERSONAL_CHARS: usize = 3;

/// What a password must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StrengthSettings {
    /// Fewest code points.
    pub min_length: u32,
    /// Most code points.
    pub max_length: u32,
    /// Least zxcvbn score, 0–4.
    pub min_score: u8,
    /// Names of the service that must not be the password: `authd`, the issuer's host.
    pub service_names: Vec<String>,
}

/// Judges passwords (NIST SP 800-63B-4 §3.1.1.2, ASVS 6.2).
#[derive(Debug)]
pub struct StrengthPolicy {
    settings: StrengthSettings,
    blocklist: Blocklist,
}

impl StrengthPolicy {
    /// A policy; `blocklist` is asked beside the built-in filter.
    #[must_use]
    pub fn new(settings: StrengthSettings, blocklist: Blocklist) -> Self {
        let service_names = settings.service_names.iter().map(|name| name.to_lowercase()).collect();
        Self { settings: StrengthSettings { service_names, ..settings }, blocklist }
    }

    /// Names that the password must not be, folded; of an e-mail address also the local part.
    fn names(&self, personal: &[&str]) -> Vec<String> {
        let folded = personal.iter().map(|text| text.to_lowercase());
        let mut names: Vec<String> = folded.chain(self.settings.service_names.iter().cloned()).collect();
        let locals: Vec<String> =
            names.iter().filter_map(|name| name.rsplit_once('@')).map(|(local, _)| local.to_owned()).collect();
        names.extend(locals);
        names.retain(|name| !name.is_empty());
        // The longest first: what is left of an address without its local part is more than nothing.
        names.sort_by_key(|name| std::cmp::Reverse(name.len()));
        names
    }
}

impl PasswordPolicy for StrengthPolicy {
    fn judge(&self, password: &Password, personal: &[&str]) -> Result<(), WeakPassword> {
        let StrengthSettings { min_length, max_length, min_score, .. } = self.settings;
        let length = u32::try_from(password.len()).unwrap_or(u32::MAX);
        if length < min_length {
            return Err(WeakPassword::TooShort(min_length));
        }
        if length > max_length {
            return Err(WeakPassword::TooLong(max_length));
        }
        let folded = Zeroizing::new(password.reveal().to_lowercase());
        let names = self.names(personal);
        if names.iter().any(|name| is_nothing_but(&folded, name)) {
            return Err(WeakPassword::Personal);
        }
        if self.blocklist.contains(&folded) {
            return Err(WeakPassword::Breached);
        }
        let inputs: Vec<&str> = names.iter().flat_map(|name| words(name)).collect();
        // Capitals hide sequences and walks from the estimator, so what is known is looked for without them.
        if length <= BREACHED_CHARS {
            single_match(&zxcvbn(&folded, &inputs), &inputs).map_or(Ok(()), Err)?;
        }
        // A part that is hard to guess makes the whole hard to guess.
        let is_hard = |part: Zeroizing<String>| u8::from(zxcvbn(&part, &inputs).score()) >= min_score;
        let is_good = min_score == 0
            || is_hard(start_of(password))
            || password.len() > ESTIMATED_CHARS && is_hard(end_of(password));
        if is_good { Ok(()) } else { Err(WeakPassword::Guessable) }
    }

    fn is_overlong(&self, password: &Password) -> bool {
        u32::try_from(password.len()).unwrap_or(u32::MAX) > self.settings.max_length
    }
}

fn start_of(password: &Password) -> Zeroizing<String> {
    Zeroizing::new(password.reveal().chars().take(ESTIMATED_CHARS).collect())
}

fn end_of(password: &Password) -> Zeroizing<String> {
    let skipped = password.len().saturating_sub(ESTIMATED_CHARS);
    Zeroizing::new(password.reveal().chars().skip(skipped).collect())
}

/// The name once or several times, with nothing but digits, spaces and punctuation around it.
fn is_nothing_but(password: &str, name: &str) -> bool {
    if password == name {
        return true;
    }
    let is_long_enough = name.chars().count() >= MIN_PERSONAL_CHARS;
    is_long_enough && password.contains(name) && !password.replace(name, " ").contains(char::is_alphabetic)
}

/// The name and its parts.
fn words(name: &str) -> impl Iterator<Item = &str> {
    let parts = name.split(|c: char| !c.is_alphanumeric()).filter(move |part| *part != name);
    std::iter::once(name).chain(parts.filter(|part| part.chars().count() >= MIN_PERSONAL_CHARS))
}

/// What is wrong with a password that is one thing only. The estimator knows the 30 000 most common passwords, also
/// reversed and with the usual substitutions, and walks over keyboards.
fn single_match(estimate: &Entropy, inputs: &[&str]) -> Option<WeakPassword> {
    let [only] = estimate.sequence() else { return None };
    match &only.pattern {
        MatchPattern::BruteForce => None,
        MatchPattern::Dictionary(word) if inputs.contains(&word.matched_word.as_str()) => Some(WeakPassword::Personal),
        _ if estimate.guesses() < BREACHED_GUESSES => Some(WeakPassword::Breached),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(min_score: u8, blocked: &str) -> StrengthPolicy {
        let settings = StrengthSettings {
            min_length: 8,
            max_length: 256,
            min_score,
            service_names: vec!["authd".into(), "login.example.org".into()],
        };
        StrengthPolicy::new(settings, Blocklist::read(blocked.as_bytes()).unwrap())
    }

    fn judge(password: &str) -> Result<(), WeakPassword> {
        policy(3, "").judge(&Password::new(password), &["ada.lovelace@example.org", "ada.lovelace", "countess"])
    }

    #[test]
    fn length_is_counted_in_code_points_and_nothing_is_cut() {
        assert_eq!(judge("k7#Qz!v"), Err(WeakPassword::TooShort(8)));
        assert_eq!(judge("😀🚀🌵🎲🧊🪁🥨"), Err(WeakPassword::TooShort(8)));
        assert_eq!(judge("😀🚀🌵🎲🧊🪁🥨🔑🧵🎷🦉🪐"), Ok(()));
        let long = |length: usize| "vq3 Zp9!".chars().cycle().take(length).collect::<String>();
        assert_ne!(judge(&long(256)), Err(WeakPassword::TooLong(256)));
        assert_eq!(judge(&long(257)), Err(WeakPassword::TooLong(256)));
        assert!(policy(3, "").is_overlong(&Password::new(&long(257))));
        assert!(!policy(3, "").is_overlong(&Password::new(&long(256))));
        // Composed and decomposed are one code point.
        assert_eq!(judge(&"e\u{301}".repeat(7)), Err(WeakPassword::TooShort(8)));
    }

    #[test]
    fn names_of_the_person_and_the_service_are_refused_however_they_are_decorated() {
        for password in [
            "ada.lovelace@example.org",
            "ADA.Lovelace@Example.org",
            "ada.lovelace",
            "Ada.Lovelace1815",
            "!!countess!!",
            "Countess 2024",
            "countesscountess",
            "authd123456",
            "AUTHD--authd",
            "login.example.org",
            "8731countess4420",
        ] {
            assert_eq!(judge(password), Err(WeakPassword::Personal), "{password}");
        }
        assert_eq!(judge("countess of a very odd kingdom"), Ok(()));
    }

    #[test]
    fn common_passwords_are_refused_in_every_case_and_even_without_a_least_score() {
        for common in [
            "password",
            "12345678",
            "123456789",
            "1234567890",
            "qwertyuiop",
            "password1",
            "iloveyou",
            "princess",
            "sunshine",
            "football",
            "baseball",
            "trustno1",
            "superman",
            "starwars",
            "11111111",
            "1qaz2wsx",
            "987654321",
            "computer",
            "michelle",
            "jennifer",
            "whatever",
            "passw0rd",
            "qwerty123",
            "liverpool",
            "asdfghjkl",
            "abcdefgh",
            "drowssap",
            "aaaaaaaaaa",
            "0987654321",
            "butterfly",
        ] {
            for password in [common.to_owned(), common.to_uppercase(), title(common)] {
                let judged = policy(0, "").judge(&Password::new(&password), &[]);
                assert_eq!(judged, Err(WeakPassword::Breached), "{password}");
            }
        }
    }

    fn title(text: &str) -> String {
        let mut chars = text.chars();
        chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
    }

    #[test]
    fn a_list_of_the_operator_is_asked_without_regard_to_case() {
        let policy = policy(0, "tr0ub4dor&3\r\n\nBücherwurm-9 \n");
        for password in ["tr0ub4dor&3", "TR0UB4DOR&3", "bücherwurm-9 ", "BÜCHERWURM-9 "] {
            assert_eq!(policy.judge(&Password::new(password), &[]), Err(WeakPassword::Breached), "{password}");
        }
        assert_eq!(policy.judge(&Password::new("tr0ub4dor&4"), &[]), Ok(()));
    }

    #[test]
    fn what_a_guesser_finds_soon_is_refused_and_phrases_are_not() {
        for guessable in ["qwer1234asdf", "summer2024!", "horsehorsehorse"] {
            let judged = judge(guessable);
            assert!(matches!(judged, Err(WeakPassword::Guessable | WeakPassword::Breached)), "{guessable} {judged:?}");
        }
        for good in ["correct horse battery staple", "plinth-gravel-oboe-76", "zQ8$kw!2vRp", "   odd   spaces  here "] {
            assert_eq!(judge(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn a_long_password_is_good_when_one_end_of_it_is() {
        let weak = "abcdefgh".repeat(6);
        assert!(judge(&weak).is_err());
        for good in [format!("{weak}zQ8$kw!2vRp"), format!("zQ8$kw!2vRp{weak}")] {
            assert_eq!(judge(&good), Ok(()), "{good}");
        }
    }

    #[test]
    fn a_disguised_name_is_as_bad_as_the_name() {
        assert_eq!(judge("c0unt3ss"), Err(WeakPassword::Personal));
        assert!(judge("lovelace1815").is_err());
    }
}
