//! The table. What does not stand here is unaffected.

use super::{
    Behaviour::{self, Closed, Degraded, Open, Unaffected},
    Condition::{
        self, ClockStepped, CommitReplyLost, DatabaseAway, DatabaseUnwritable, HashQueueFull, Lockdown, NoLogin,
        ReadOnly, RedisAway,
    },
    Flow::{self, AdminChange, AdminRead, Audit, Change, KeyRotation, Login, Read, Refresh, Register, Verify},
};

pub(super) const MATRIX: &[(Flow, Condition, Behaviour, &str)] = &[
    (Register, DatabaseAway, Closed, "No account is made, and no password is hashed once the outage is known."),
    (Register, DatabaseUnwritable, Closed, "No account is made."),
    (
        Register,
        CommitReplyLost,
        Unaffected,
        "The first answer is 503. A repeat with the same Idempotency-Key gives the account's tokens, made or not.",
    ),
    (Register, RedisAway, Degraded, "Limits are counted by each instance, with its share of them."),
    (Register, HashQueueFull, Closed, "No account is made; the client may try again in a second."),
    (Register, ReadOnly, Closed, "No account is made."),
    (Register, NoLogin, Closed, "No account is made."),
    (Register, Lockdown, Closed, "No account is made."),
    //
    (Login, DatabaseAway, Closed, "Refused before the password is looked at; no failure is counted."),
    (Login, DatabaseUnwritable, Closed, "No session is opened, and a wrong password is not told from a right one."),
    (
        Login,
        CommitReplyLost,
        Degraded,
        "The answer is 503 and the client logs in again. A session that nobody uses may be left: it is listed, and \
         expires.",
    ),
    (
        Login,
        RedisAway,
        Degraded,
        "Limits are counted by each instance, with its share of them. Those in the database, login.hard above all, \
         hold as always.",
    ),
    (Login, HashQueueFull, Closed, "Refused without an evaluation; the attempt does not count as a failure."),
    (Login, ReadOnly, Closed, "No session is opened."),
    (Login, NoLogin, Closed, "No session is opened."),
    (Login, Lockdown, Closed, "No session is opened."),
    //
    (Refresh, DatabaseAway, Closed, "The token is not consumed: the client tries the same one again."),
    (Refresh, DatabaseUnwritable, Closed, "The token is not consumed: the client tries the same one again."),
    (
        Refresh,
        CommitReplyLost,
        Unaffected,
        "The first answer is 503. The same token, tried again within session.grace, gives what the lost answer \
         carried.",
    ),
    (
        Refresh,
        ClockStepped,
        Degraded,
        "A clock that is ahead ends sessions whose end it has passed (401 TOKEN_EXPIRED). One that went back ends \
         none.",
    ),
    (Refresh, ReadOnly, Closed, "The token is not consumed: the client tries the same one again."),
    (Refresh, Lockdown, Closed, "The token is not consumed: the client tries the same one again."),
    //
    (
        Change,
        DatabaseAway,
        Closed,
        "Never confirmed before it is durable. A session that was to end is ended when the database is back; this \
         instance refuses it at once where an access token told which one it is.",
    ),
    (
        Change,
        DatabaseUnwritable,
        Closed,
        "Never confirmed before it is durable. This instance refuses a session that was to end at once, and ends it \
         when the database takes writes again.",
    ),
    (Change, CommitReplyLost, Unaffected, "The first answer is 503. A repeat succeeds, and nothing happens twice."),
    (
        Change,
        HashQueueFull,
        Degraded,
        "What asks for a password answers 503 OVERLOADED; logout and ended sessions go on.",
    ),
    (Change, ReadOnly, Closed, "Nobody can log out either: use no-login where that matters."),
    (Change, Lockdown, Closed, "Nothing changes."),
    //
    (Read, DatabaseAway, Closed, "Never answered with an empty list or with 401 out of ignorance."),
    (Read, ClockStepped, Degraded, "As verification: the caller's access token is judged by the clock as it is."),
    (Read, Lockdown, Closed, "Nothing is shown."),
    //
    (
        Verify,
        DatabaseAway,
        Open,
        "Sessions that ended on other instances meanwhile are not known here; X-Authd-Revocation-Age tells for how \
         long. An instance that starts meanwhile waits for the database and serves nothing; after \
         database.start_timeout it ends with 69.",
    ),
    (
        Verify,
        ClockStepped,
        Degraded,
        "A clock that is ahead expires access tokens early; one that went back refuses those issued ahead of it. \
         Clients refresh, and go on.",
    ),
    (Verify, Lockdown, Closed, "Gateways get 503: nobody passes."),
    //
    (
        AdminRead,
        DatabaseAway,
        Degraded,
        "Status, limits, breakers, mode, configuration and metrics come from memory. What is in the database answers \
         503: sessions, users, bans, the audit log and its events.",
    ),
    (
        AdminRead,
        DatabaseUnwritable,
        Degraded,
        "Everything can be read. That the audit log was read is itself recorded, until then on this instance's disk; \
         where that is full too, reading it answers 503.",
    ),
    //
    (
        AdminChange,
        DatabaseAway,
        Closed,
        "Nothing changes, the mode neither. Only breakers can be opened and closed: the event of it is written later.",
    ),
    (
        AdminChange,
        DatabaseUnwritable,
        Closed,
        "Nothing changes, the mode neither. Only breakers can be opened and closed: the event of it is written later.",
    ),
    (AdminChange, CommitReplyLost, Degraded, "The answer is 503 and it may have happened: look before repeating it."),
    //
    (KeyRotation, DatabaseAway, Closed, "The current key keeps signing and stays published."),
    (KeyRotation, DatabaseUnwritable, Closed, "The current key keeps signing and stays published."),
    (KeyRotation, CommitReplyLost, Unaffected, "A step is taken or it is not: the next look goes on from there."),
    (
        KeyRotation,
        ClockStepped,
        Degraded,
        "No step is taken by schedule until the clock is believed again: the current key keeps signing.",
    ),
    //
    (
        Audit,
        DatabaseAway,
        Degraded,
        "A change that cannot be recorded does not happen. What changes nothing, refusals above all, is kept on this \
         instance's disk before it is answered, and recorded when the database is back. What does not fit in 8 MiB \
         there is only counted.",
    ),
    (
        Audit,
        DatabaseUnwritable,
        Degraded,
        "A change that cannot be recorded does not happen. What changes nothing, refusals above all, is kept on this \
         instance's disk before it is answered. What does not fit in 8 MiB there is only counted; where the disk is \
         full too, it is answered 503.",
    ),
    (Audit, CommitReplyLost, Unaffected, "An event is committed with its change or not at all."),
    (Audit, ClockStepped, Unaffected, "Events carry the time of the clock; their sequence numbers keep the order."),
];
