//! What is asked of Redis: one script for every question, so that deciding and counting are one step there.

use crate::domain::{
    ladder::{Ladder, Outcome},
    quota::Quota,
};
use redis::{FromRedisValue, RedisError, RedisResult, Script, ScriptInvocation, aio::ConnectionLike};
use std::sync::LazyLock;

/// The most a number of the script may be: Lua counts in doubles, exact up to 2^53, and the time of day is added.
const MAX_US: i64 = 1 << 51;
/// Keys live at most so long, in milliseconds.
const MAX_LIFE_MS: i64 = 400 * 86_400_000;

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("script.lua")));

/// What a caller knows of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Told {
    /// The generation it learnt last.
    pub generation: Option<i64>,
    /// Whether it counted more than it told.
    pub untold: bool,
    /// How far the theoretical arrival time lies ahead, in microseconds.
    pub ahead_us: i64,
    /// Failures in a row.
    pub failures: u32,
    /// How long ago the last of them was, in milliseconds.
    pub age_ms: i64,
    /// Places that it holds for checks under way.
    pub places: u32,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question<'a> {
    /// Takes one unit.
    Take(Quota),
    /// Whether one unit could be taken.
    LookAtRate(Quota),
    /// Holds a place under this ticket.
    Reserve(Ladder, &'a str),
    /// Whether a place could be held.
    LookAtRow(Ladder),
    /// Gives the place of this ticket back.
    Settle(Ladder, &'a str, Outcome),
    /// Forgets what was counted; other instances hear of it for so many milliseconds.
    Forget(i64),
}

/// What Redis says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// Yes or no.
    pub answer: Answer,
    /// Milliseconds to wait, if the answer is no.
    pub wait_ms: i64,
    /// The key's generation.
    pub generation: i64,
    /// Rates: how far the theoretical arrival time lies ahead, in microseconds. Rows: failures in a row.
    pub level: i64,
    /// Rows: how long ago the last failure was, in milliseconds.
    pub age_ms: i64,
    /// The server's time, in microseconds.
    pub now_us: i64,
}

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Go on; for [`Question::Forget`]: something was known.
    Yes,
    /// Everything is held by checks under way.
    Busy,
    /// Too many.
    No,
    /// This is not the data that the caller knows: nothing was decided.
    AnotherRun,
}

impl FromRedisValue for Reply {
    fn from_redis_value(value: redis::Value) -> Result<Self, redis::ParsingError> {
        let numbers = <Vec<i64>>::from_redis_value(value)?;
        let [answer, wait_ms, generation, level, age_ms, now_us] = numbers[..] else {
            return Err("not the six numbers of a limit".into());
        };
        let answer = match answer {
            0 => Answer::Yes,
            1 => Answer::Busy,
            2 => Answer::No,
            3 => Answer::AnotherRun,
            _ => return Err("not an answer of a limit".into()),
        };
        Ok(Self { answer, wait_ms, generation, level, age_ms, now_us })
    }
}

impl Question<'_> {
    fn operation(&self) -> &'static str {
        match self {
            Self::Take(_) => "take",
            Self::LookAtRate(_) => "take_look",
            Self::Reserve(..) => "reserve",
            Self::LookAtRow(_) => "row_look",
            Self::Settle(_, _, Outcome::Failed) => "failed",
            Self::Settle(_, _, Outcome::Succeeded) => "succeeded",
            Self::Settle(_, _, Outcome::Abandoned) => "abandoned",
            Self::Forget(_) => "forget",
        }
    }

    /// How long what is stored can matter to anybody.
    fn life_ms(&self) -> i64 {
        let life_ms = match self {
            Self::Take(quota) | Self::LookAtRate(quota) => quota.tolerance_us() / 1_000,
            Self::Reserve(ladder, _) | Self::LookAtRow(ladder) | Self::Settle(ladder, ..) => ladder.forget_ms,
            Self::Forget(life_ms) => *life_ms,
        };
        life_ms.clamp(0, MAX_LIFE_MS) + 60_000
    }

    fn add_args(&self, call: &mut ScriptInvocation<'_>, told: Told) {
        let bounded = |number: i64| number.clamp(0, MAX_US);
        let (ladder, ticket) = match *self {
            Self::Take(quota) | Self::LookAtRate(quota) => {
                call.arg(bounded(told.ahead_us)).arg(bounded(quota.emission_us)).arg(bounded(quota.tolerance_us()));
                return;
            }
            Self::Forget(_) => return,
            Self::Reserve(ladder, ticket) | Self::Settle(ladder, ticket, _) => (ladder, ticket),
            Self::LookAtRow(ladder) => (ladder, ""),
        };
        call.arg(told.failures).arg(bounded(told.age_ms)).arg(ladder.burst);
        call.arg(bounded(ladder.first_delay_ms)).arg(bounded(ladder.max_delay_ms)).arg(bounded(ladder.forget_ms));
        call.arg(ticket).arg(told.places);
    }

    /// Asks it about `key`; `run` is the key of the run and its word.
    ///
    /// # Errors
    /// What Redis or the way to it fails with.
    pub async fn ask(
        &self,
        conn: &mut impl ConnectionLike,
        key: &str,
        run: (&str, &str),
        told: Told,
    ) -> RedisResult<Reply> {
        let mut call = SCRIPT.prepare_invoke();
        call.key(key).key(run.0).arg(self.operation()).arg(run.1);
        call.arg(told.generation.map(|number| number.to_string()).unwrap_or_default());
        call.arg(u8::from(told.untold)).arg(self.life_ms());
        self.add_args(&mut call, told);
        call.invoke_async(conn).await
    }
}

/// The word of the run that is going on; the first who asks chooses it.
///
/// # Errors
/// What Redis or the way to it fails with.
pub async fn current_run(conn: &mut impl ConnectionLike, key: &str, mine: &str) -> Result<String, RedisError> {
    static RUN: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("run.lua")));
    RUN.key(key).arg(mine).arg(MAX_LIFE_MS).invoke_async(conn).await
}
