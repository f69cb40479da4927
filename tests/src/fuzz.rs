//! Fuzzing by mutation: valid inputs, changed with a dictionary for as long as the run asks for, from a printed seed.
//!
//! Inputs that were taken become seeds of others, so that the search walks along what the reader accepts.

use crate::scale;
use std::{
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

/// How long a target is fuzzed when everything is run, in milliseconds of the processor's time.
pub const LONG: usize = 600_000;
/// The same for readers with little in them.
pub const SHORT: usize = 150_000;
/// How long in an ordinary run: only so that the target does not rot.
const ORDINARY_MS: u64 = 500;
/// How many taken inputs are kept to be changed further.
const KEPT: usize = 512;
/// Inputs do not grow beyond this many bytes.
const LONGEST: usize = 64 * 1024;
/// Unicode that readers stumble over, beside the words of the target's own.
const AWKWARD: [&str; 14] =
    ["\0", "\r\n", "\t", "\u{7f}", "\u{85}", "\u{301}", "\u{202e}", "\u{feff}", "ß", "İ", "ﬁ", "Ａ", "😀", "\u{fffd}"];

/// Numbers that readers stumble over.
const NUMBERS: [&str; 12] =
    ["0", "1", "2", "7", "00", "60", "255", "65536", "4294967296", "9223372036854775807", "9223372036854775808", "1e9"];

/// What a reader did with an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// It took it.
    Taken,
    /// It refused it.
    Refused,
}

/// Something to fuzz.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// Its name.
    pub name: &'a str,
    /// Inputs to start from.
    pub seeds: &'a [&'a str],
    /// Words to put into them.
    pub words: &'a [&'a str],
    /// How long when everything is run: [`LONG`] or [`SHORT`].
    pub full_ms: usize,
}

impl Target<'_> {
    /// Gives changed inputs to `check` until the time is over. What `check` says is wrong fails the test, and so does a
    /// panic; both show the input, cut down to what is needed.
    ///
    /// # Panics
    /// When something is wrong, and when no input was taken or none refused.
    pub fn run(&self, check: impl Fn(&[u8]) -> Result<Reading, String>) {
        let salt = self.name.bytes().fold(0_u64, |salt, byte| salt.wrapping_mul(31).wrapping_add(u64::from(byte)));
        let mut chance = Chance::new(scale::seed() ^ salt);
        let mut corpus: Vec<Vec<u8>> = self.seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect();
        let end = processor_time() + time(self.full_ms);
        let longest = 2 * corpus.iter().map(Vec::len).max().unwrap_or_default();
        let (mut taken, mut refused) = (0_u64, 0_u64);
        while processor_time() < end {
            let input = if taken + refused < self.seeds.len() as u64 {
                corpus[usize::try_from(taken + refused).unwrap_or_default()].clone()
            } else {
                self.changed(&corpus, &mut chance)
            };
            match attempt(&check, &input) {
                Ok(Reading::Refused) => refused += 1,
                Ok(Reading::Taken) => {
                    taken += 1;
                    // Where the rest of an input does not matter, the corpus would be nothing but rests.
                    if input.len() > longest {
                        continue;
                    }
                    if corpus.len() < KEPT {
                        corpus.push(input);
                    } else {
                        let worn = self.seeds.len() + chance.below(KEPT - self.seeds.len());
                        corpus[worn] = input;
                    }
                }
                Err(wrong) => self.fail(&check, input, &wrong),
            }
        }
        println!("{}: {taken} inputs taken, {refused} refused", self.name);
        assert!(taken > 0 && refused > 0, "{}: {taken} taken, {refused} refused: nothing was tried", self.name);
    }

    fn fail(&self, check: &impl Fn(&[u8]) -> Result<Reading, String>, input: Vec<u8>, wrong: &str) -> ! {
        let least = shrunk(input, |input| attempt(check, input).is_err());
        let wrong = attempt(check, &least).err().unwrap_or_else(|| wrong.to_owned());
        panic!("{}: {wrong}\ninput: b\"{}\"\n{}", self.name, least.escape_ascii(), scale::again());
    }

    /// One of the corpus with one to six changes.
    fn changed(&self, corpus: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
        let mut input = chance.pick(corpus).clone();
        for _ in 0..=chance.below(6) {
            self.change(&mut input, corpus, chance);
        }
        input.truncate(LONGEST);
        input
    }

    fn change(&self, input: &mut Vec<u8>, corpus: &[Vec<u8>], chance: &mut Chance) {
        let at = chance.below(input.len() + 1);
        let to = at + chance.below((input.len() - at).min(32) + 1);
        match chance.below(13) {
            0 => input.get_mut(at).into_iter().for_each(|byte| *byte ^= 1 << chance.below(8)),
            1 => input.get_mut(at).into_iter().for_each(|byte| *byte = chance.byte()),
            2 => drop(input.drain(at..to)),
            3 => {
                let part = input[at..to].to_vec();
                let most = if chance.below(50) == 0 { 500 } else { 3 };
                let times = 1 + chance.below(most);
                drop(input.splice(at..at, part.repeat(times)));
            }
            4 | 5 if !self.words.is_empty() => {
                let word = chance.pick(self.words).bytes();
                drop(input.splice(if chance.below(2) == 0 { at..at } else { at..to }, word));
            }
            6 => drop(input.splice(at..at, chance.pick(&AWKWARD).bytes())),
            7 => {
                let other = chance.pick(corpus);
                let from = chance.below(other.len() + 1);
                let until = from + chance.below(other.len() - from + 1);
                drop(input.splice(at..to, other[from..until].iter().copied()));
            }
            8 => input[at..to].iter_mut().for_each(|byte| *byte ^= if byte.is_ascii_alphabetic() { 0x20 } else { 0 }),
            9 => input[at..to].reverse(),
            10 => {
                let copied = parts(input, |byte| byte == b'\n');
                let line = input[chance.pick(&copied).clone()].to_vec();
                let to = chance.pick(&copied).start;
                drop(input.splice(to..to, line));
            }
            11 => {
                let digits = (0..input.len()).filter(|at| input[*at].is_ascii_digit()).collect::<Vec<usize>>();
                let from = if digits.is_empty() { at } else { *chance.pick(&digits) };
                let until = (from..input.len()).find(|at| !input[*at].is_ascii_digit()).unwrap_or(input.len());
                drop(input.splice(from..until, chance.pick(&NUMBERS).bytes()));
            }
            _ if self.words.is_empty() => {}
            _ => {
                let at = chance.pick(&parts(input, |byte| !byte.is_ascii_alphanumeric())).start;
                drop(input.splice(at..at, chance.pick(self.words).bytes()));
            }
        }
    }
}

/// The parts that end behind each byte that `ends` one; at least one part.
fn parts(input: &[u8], ends: impl Fn(u8) -> bool) -> Vec<Range<usize>> {
    let mut start = 0;
    let ends = (1..=input.len()).filter(|end| *end == input.len() || ends(input[*end - 1]));
    let mut parts: Vec<Range<usize>> = ends.map(|end| std::mem::replace(&mut start, end)..end).collect();
    if parts.is_empty() {
        parts.push(0..0);
    }
    parts
}

/// What this thread has computed so far: a busy machine makes a run longer, not smaller.
fn processor_time() -> Duration {
    rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime).try_into().unwrap_or_default()
}

fn time(full_ms: usize) -> Duration {
    let is_ordinary = scale::of(100) == 1;
    let scaled_ms = u64::try_from(scale::of(full_ms)).unwrap_or(u64::MAX);
    Duration::from_millis(if is_ordinary { ORDINARY_MS } else { scaled_ms })
}

fn attempt(check: &impl Fn(&[u8]) -> Result<Reading, String>, input: &[u8]) -> Result<Reading, String> {
    catch_unwind(AssertUnwindSafe(|| check(input))).unwrap_or_else(|_| Err("it panicked".to_owned()))
}

/// Leaves away what is not needed for `still_wrong`, in ever smaller pieces.
fn shrunk(mut input: Vec<u8>, still_wrong: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut piece = input.len().div_ceil(2);
    while piece > 0 {
        let mut at = 0;
        while at < input.len() {
            let end = (at + piece).min(input.len());
            let without = [&input[..at], &input[end..]].concat();
            if still_wrong(&without) { input = without } else { at = end }
        }
        piece /= 2;
    }
    input
}

/// Numbers by chance that a seed repeats (SplitMix64).
#[derive(Debug)]
pub struct Chance(u64);

impl Chance {
    /// From this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.number() % end.max(1) as u64).unwrap_or_default()
    }

    fn byte(&mut self) -> u8 {
        self.number().to_be_bytes()[0]
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}
