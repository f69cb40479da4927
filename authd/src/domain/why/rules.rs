//! The rules that decide, by the names that answers of `why` give them.

/// Name and meaning. What is not here is the name of a limit or of a setting.
pub const RULES: &[(&str, &str)] = &[
    (
        "R1",
        "A refresh token is exchanged once, by one conditional write on the row of its session: it must be the \
         current one, the session neither ended nor idle nor too old.",
    ),
    (
        "R2",
        "A refresh whose reply got lost is repeated: the token just before the current one gets the same successor \
         again, for `session.grace` and as long as the successor is unused.",
    ),
    (
        "R2k",
        "The same for `session.keyed_grace` where both calls carry the same `Idempotency-Key`; with another key, or \
         after the successor was used, the answer is 409 and nobody is thrown out.",
    ),
    (
        "R3",
        "Any other spent token of a live session means that two parties hold its tokens: the session ends \
         (`session.on_replay` can extend that to the account). For a session that has ended it has no effect.",
    ),
    ("R4", "A token of no known session is refused and changes nothing; it counts against `refresh.ip`."),
    (
        "R5",
        "Time is the database's. A clock that goes back never turns a repeat into a replay, and the grace does not \
         run while this instance cannot reach its storage.",
    ),
    (
        "R7",
        "A session that was ended is refused everywhere at once, by refresh and by every route that reads the \
         database; by verification of access tokens here at once, on other instances within a second.",
    ),
    (
        "R11",
        "Changing or resetting a password, disabling and deleting end every other session of the account in the \
         same transaction, and a login under way at that moment is refused.",
    ),
    (
        "R13",
        "A database that is older than what this instance has seen was restored: the public API stays closed until \
         an operator ends every session opened before (`authctl session epoch-bump --accept-restore`).",
    ),
    ("R14", "A session remembers how its tokens travel; a token that comes the other way is refused."),
    ("R15", "Logout by any token of a session ends it, also when it has ended already."),
    (
        "R16",
        "Somebody who repeats refreshes from another network and device is recorded, and ends the session the third \
         time in a row.",
    ),
    ("password", "The password decides. Unknown, wrong, disabled and without a password are one answer at one cost."),
    ("register", "An e-mail address and a user name belong to one account."),
    (
        "Idempotency-Key",
        "A registration repeated with its key opens a new session in the place of the one nobody received.",
    ),
    ("ban", "An operator shut the address or network out: `authctl ban list`."),
    ("allow", "An operator lifted the limits of addresses for it: `authctl allow list`."),
    ("mode", "An operator ordered a mode that refuses this: `authctl mode show`."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{limit::PolicyName, session::EndReason, why::sentence};

    #[test]
    fn every_rule_that_is_named_is_explained_or_is_a_limit_or_a_setting() {
        let is_known = |rule: &str| {
            RULES.iter().any(|(name, _)| *name == rule)
                || PolicyName::parse(rule).is_some()
                || rule.starts_with("session.")
        };
        for end in EndReason::ALL {
            let (_, rule) = sentence::end(end.as_str());
            assert!(rule.is_some_and(is_known), "{end:?}");
        }
        for reason in ["credentials", "unknown_token", "transport", "idempotency_key", "ban", "duplicate_email"] {
            assert!(sentence::refusal(reason).is_some_and(|(_, rule)| is_known(rule)), "{reason}");
        }
    }
}
