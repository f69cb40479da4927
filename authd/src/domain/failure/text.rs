//! What the table's rows and columns are called, and what an operator sees and does.

use super::{Behaviour, Condition, Flow};

impl Flow {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Register => "registration",
            Self::Login => "login",
            Self::Refresh => "refresh",
            Self::Change => "changes by users",
            Self::Read => "reads by users",
            Self::Verify => "verification",
            Self::AdminRead => "reads by operators",
            Self::AdminChange => "changes by operators",
            Self::KeyRotation => "key rotation",
            Self::Audit => "audit",
        }
    }

    /// What belongs to it.
    #[must_use]
    pub fn scope(self) -> &'static str {
        match self {
            Self::Register => "POST /api/auth/register",
            Self::Login => "POST /api/auth/login",
            Self::Refresh => "POST /api/auth/refresh: a new access token for the refresh token of a session",
            Self::Change => "Logout, ending sessions, changing or resetting a password, deleting the account",
            Self::Read => "The profile and the list of sessions",
            Self::Verify => {
                "GET /api/auth/verify, which gateways ask for every request, and GET /.well-known/jwks.json"
            }
            Self::AdminRead => "Commands of authctl that show something",
            Self::AdminChange => "Commands of authctl that change something",
            Self::KeyRotation => "The replacement of the key that signs access tokens, by schedule or by command",
            Self::Audit => "The record of who did what, written with each change",
        }
    }
}

impl Condition {
    /// Its name, in a few words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DatabaseAway => "database away",
            Self::DatabaseUnwritable => "database not writable",
            Self::CommitReplyLost => "commit without an answer",
            Self::RedisAway => "Redis away",
            Self::HashQueueFull => "password queue full",
            Self::ClockStepped => "clock stepped",
            Self::ReadOnly => "mode read-only",
            Self::NoLogin => "mode no-login",
            Self::Lockdown => "lockdown",
        }
    }

    /// The part that `authctl status` lists as degraded.
    #[must_use]
    pub fn part(self) -> &'static str {
        match self {
            Self::DatabaseAway | Self::DatabaseUnwritable | Self::CommitReplyLost => "database",
            Self::RedisAway => "redis",
            Self::HashQueueFull => "hashing",
            Self::ClockStepped => "clock",
            Self::ReadOnly | Self::NoLogin | Self::Lockdown => "mode",
        }
    }

    /// How it comes to be.
    #[must_use]
    pub fn cause(self) -> &'static str {
        match self {
            Self::DatabaseAway => {
                "PostgreSQL is down, hangs, restarts, fails over, or the network to it is cut. A server whose disk for \
                 the write-ahead log is full stops, and is away too. Also when an operator holds its circuit breaker \
                 open."
            }
            Self::DatabaseUnwritable => {
                "The database answers and refuses writes: the disk is full, the server is a standby or was set \
                 read-only, the daemon's role has lost a right, another program holds the lock of SQLite's file. Also \
                 when only the audit log takes no events; refreshes that write no event then go on."
            }
            Self::CommitReplyLost => {
                "The connection to the database ended between a COMMIT and its answer. Whether the change is there is \
                 then unknown to the daemon, and only a repeat of the request can tell."
            }
            Self::RedisAway => {
                "The Redis of redis.url is down, slower than redis.timeout, was emptied and is not known again yet, or \
                 an operator holds its circuit breaker open. It holds counters of limits and nothing else."
            }
            Self::HashQueueFull => {
                "More logins than the processors can check passwords for: a storm of guesses, or everybody coming back \
                 after an outage. Neither verification nor refresh waits for passwords."
            }
            Self::ClockStepped => {
                "The clock of the database or of this machine moved by more than an hour against the time that has \
                 passed since the daemon started: a wrong clock, a corrected one, or a machine that was suspended."
            }
            Self::ReadOnly => "An operator has ordered it: `authctl mode set read-only`.",
            Self::NoLogin => "An operator has ordered it: `authctl mode set no-login`.",
            Self::Lockdown => {
                "An operator has ordered it (`authctl mode set lockdown`), or the database is older than what this \
                 instance has seen before: it was restored from a backup."
            }
        }
    }

    /// Where an operator sees it.
    #[must_use]
    pub fn signs(self) -> &'static str {
        match self {
            Self::DatabaseAway => {
                "Clients get 503 `STORAGE_UNAVAILABLE`, or `OVERLOADED` where a database that hangs has used up the \
                 time of a request. GET /health/ready is 503; `authctl status` exits with 3 and shows the database as \
                 down; `systemctl status authd` says since when. The daemon's log has a warning for each refused \
                 request, and the events `storage.lost`, `storage.returned`, `breaker.opened` and `breaker.closed` as \
                 they happen. The audit log is in the database: these events and the refusals of this time are merged \
                 into it when it is back."
            }
            Self::DatabaseUnwritable => {
                "Changes get 503 `STORAGE_UNAVAILABLE`, reads work. GET /health/ready is 503; `authctl status` exits \
                 with 3 and shows the database as read_only, or lists it as degraded when only the audit log takes \
                 nothing."
            }
            Self::CommitReplyLost => {
                "One 503 `STORAGE_UNAVAILABLE`; the daemon's log names an unknown outcome. Nothing stays degraded."
            }
            Self::RedisAway => {
                "`authctl status` shows redis as down and lists it as degraded, GET /health/ready too. The daemon \
                 stays ready. `authctl breaker list` says whether Redis is still asked, `authctl limit top` whom this \
                 instance refuses."
            }
            Self::HashQueueFull => {
                "Logins get 503 `OVERLOADED` with Retry-After: 1. `authctl status` shows how many passwords wait. The \
                 daemon stays ready."
            }
            Self::ClockStepped => {
                "The event `clock.stepped` with the seconds it is off, 0 when it is back; `authctl status` lists the \
                 clock as degraded."
            }
            Self::ReadOnly => {
                "Changes get 503 `READ_ONLY` with Retry-After. The event `mode.changed` says who ordered it, or \
                 `database.move_begun` who moves the database."
            }
            Self::NoLogin => {
                "Registration and login get 503 `READ_ONLY` with Retry-After. The event `mode.changed` says who \
                 ordered it."
            }
            Self::Lockdown => {
                "The public API answers 503 `STORAGE_UNAVAILABLE` to everything but GET /health, /health/ready and \
                 /api/openapi.json; the admin sockets go on. The event `mode.changed` says who ordered it. After a \
                 restore GET /health/ready is 503 and `authctl status` names the command to run."
            }
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::DatabaseAway => {
                "Bring the database back. The daemon notices within a second and needs no restart: a restart would \
                 close verification too, because a fresh instance cannot know which sessions have ended. If `authctl \
                 breaker list` says that the breaker is held: `authctl breaker close database`, which needs no \
                 database."
            }
            Self::DatabaseUnwritable => {
                "Make room, promote the right server, or give the right back. The daemon notices by itself. A promoted \
                 standby that missed the last transactions is an older database: see lockdown."
            }
            Self::CommitReplyLost => "Nothing. If it happens often, look at the network to the database.",
            Self::RedisAway => {
                "Bring it back when convenient: losing it loses no fact, and what was locked stays locked. The daemon \
                 notices within seconds. If `authctl breaker list` says that the breaker is held: `authctl breaker \
                 close redis`."
            }
            Self::HashQueueFull => {
                "See who is refused most (`authctl limit top`) and ban it (`authctl ban add 203.0.113.0/24 --for 1h`), \
                 tighten login.ip or login.net for a while (`authctl limit set login.net 60/min --burst 30 --for 1h`), \
                 or give the machine more processors."
            }
            Self::ClockStepped => {
                "Set the clock right. Until it agrees again nothing that has expired is erased and no key is rotated, \
                 so that a clock that was ahead cannot bring ended sessions back. If the new time is the right one, \
                 restart the daemon: that accepts it."
            }
            Self::ReadOnly | Self::NoLogin => {
                "`authctl mode set normal`. A mode set with `--for` ends by itself: `authctl mode show` says when."
            }
            Self::Lockdown => {
                "`authctl mode set normal`. After a restore that is not enough: make sure which database this is, then \
                 end every session that was opened before with `authctl session epoch-bump --accept-restore`."
            }
        }
    }
}

impl Behaviour {
    /// In a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Degraded => "degraded",
            Self::Open => "open",
            Self::Unaffected => "unaffected",
        }
    }

    /// What the word means.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Closed => {
                "Refused with 503 and Retry-After. Nothing has changed; the same request may succeed later."
            }
            Self::Degraded => "Served, with less than usual.",
            Self::Open => "Served from memory, because refusing would do more harm.",
            Self::Unaffected => "Served as always; where the outcome of a request is unknown, its repeat tells.",
        }
    }
}
