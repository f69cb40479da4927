//! The failure table, cell by cell: each condition is brought about for real, every flow is tried, and what it answers
//! is what the table says. Then the condition ends, and nothing has changed that was refused.

mod cache;
mod clock;
mod disk;
mod flows;
mod mode;
mod queue;
mod server;

use authd::domain::failure::Condition;

/// Which test brings about each condition.
const WALKS: &[(Condition, &[&str])] = &[
    (Condition::DatabaseAway, &["a_killed_database_is_away", "a_hanging_database_is_away"]),
    (
        Condition::DatabaseUnwritable,
        &[
            "a_read_only_server_is_not_writable",
            "a_full_disk_is_not_writable",
            "a_file_that_another_program_has_locked_is_not_writable",
            "an_audit_log_that_takes_nothing_closes_changes",
        ],
    ),
    (
        Condition::CommitReplyLost,
        &[
            "a_commit_without_an_answer_is_an_unknown_outcome_that_asking_again_resolves",
            "what_an_operator_changed_without_hearing_of_it_is_done_with_its_event_or_not_at_all",
        ],
    ),
    (
        Condition::RedisAway,
        &[
            "a_killed_redis_is_away",
            "a_halted_redis_is_away",
            "a_slow_redis_is_away",
            "a_redis_that_answers_nonsense_is_away",
            "a_redis_that_forgets_everything_is_hardly_noticed",
        ],
    ),
    (Condition::HashQueueFull, &["a_full_password_queue_sheds_logins_and_nothing_else"]),
    (Condition::ClockStepped, &["a_clock_that_jumps_erases_nothing_and_breaks_nothing"]),
    (Condition::ReadOnly, &["in_read_only_nothing_changes_and_reading_goes_on"]),
    (Condition::NoLogin, &["in_no_login_the_existing_sessions_go_on"]),
    (Condition::Lockdown, &["in_lockdown_only_the_sockets_answer"]),
];

#[test]
fn every_condition_of_the_table_is_brought_about_by_a_test() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("it");
    let sources: String =
        tests::rust_source::rust_files(&root).iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    for condition in Condition::ALL {
        let Some((_, tests)) = WALKS.iter().find(|(walked, _)| *walked == condition) else {
            panic!("no test brings {condition:?} about");
        };
        for name in *tests {
            assert!(sources.contains(&format!("async fn {name}(")), "{condition:?}: no test {name}");
        }
    }
}
