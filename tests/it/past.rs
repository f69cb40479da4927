//! Sessions that are over, as clients and operators see them: kept for a while, few of one account, then unknown.

use authd::{
    auth::{ClockTrust, OperatorRefusal, SessionQuery},
    domain::{
        clock::Clock,
        page::PageRequest,
        session::{Session, SessionState},
    },
};
use shared::error::ErrorCode;
use tests::{
    client::Tokens,
    crowd::{Bygone, add_bygone_at, session_id},
    inprocess::InProcess,
    options::{Database, Options},
};

const MINUTE: i64 = 60;
const DAY: i64 = 86_400;

async fn is_kept(app: &InProcess, tokens: &Tokens) -> bool {
    match app.daemon.auth.show_session(&tokens.session).await {
        Ok(_) => true,
        Err(OperatorRefusal::Unknown(_)) => false,
        Err(fault) => panic!("{fault:?}"),
    }
}

/// The newest sessions of an account that are in this state, and how many there are.
async fn listed(app: &InProcess, user: &str, state: SessionState) -> (Vec<Session>, u64) {
    let query = SessionQuery { user: Some(user.to_owned()), state: Some(state), ..SessionQuery::default() };
    let page = app.daemon.auth.list_sessions(query, PageRequest::first(1_000)).await.unwrap();
    (page.items, page.total.expect("few enough to count"))
}

on_both! {
    async fn a_session_is_kept_for_a_while_after_its_end_and_then_its_tokens_are_those_of_no_session(options) {
        let app = InProcess::start(options).await;
        let client = app.client();
        let old = client.register("ada@example.org").await;
        let ended = client.login("ada@example.org").await;
        client.logout(&ended.refresh).await.assert_status(204);
        app.clock.advance_secs(60 * DAY);
        let younger = client.login("ada@example.org").await;
        // Ninety days of life and thirty after it, but for a minute.
        app.clock.advance_secs(60 * DAY - MINUTE);
        app.turn_jobs().await;
        assert!(is_kept(&app, &old).await && is_kept(&app, &ended).await);
        client.try_refresh(&old.refresh).await.assert_refused(ErrorCode::TokenExpired);
        let live = client.login("ada@example.org").await;
        app.clock.advance_secs(2 * MINUTE);
        app.turn_jobs().await;
        assert!(!is_kept(&app, &old).await && !is_kept(&app, &ended).await);
        for gone in [&old, &ended] {
            client.try_refresh(&gone.refresh).await.assert_refused(ErrorCode::TokenInvalid);
            client.logout(&gone.refresh).await.assert_status(204);
            client.end_session(&live.access, &gone.session).await.assert_refused(ErrorCode::NotFound);
        }
        client.try_refresh(&younger.refresh).await.assert_refused(ErrorCode::TokenExpired);
        client.profile(&live.access).await.assert_status(200);
        client.refresh(&live).await;
    }
}

on_both! {
    async fn an_access_token_of_an_ended_session_stays_refused_when_its_row_is_gone(options) {
        let app = InProcess::start(options.config("[session]\nmax_per_account = 2\n[token]\naccess_ttl = \"1h\"")).await;
        let client = app.client();
        app.turn_jobs().await;
        let tokens = client.register("ada@example.org").await;
        client.logout(&tokens.refresh).await.assert_status(204);
        app.clock.advance_secs(2 * MINUTE);
        add_past(&app, &tokens.user, 1_300).await;
        app.turn_jobs().await;
        client.login("ada@example.org").await;
        assert!(!is_kept(&app, &tokens).await);
        let other = app.second().await;
        other.turn_jobs().await;
        for client in [client, other.client()] {
            client.verify(&tokens.access).await.assert_refused(ErrorCode::TokenInvalid);
            client.profile(&tokens.access).await.assert_refused(ErrorCode::TokenInvalid);
            client.logout_bearer(&tokens.access, "current").await.assert_status(204);
            client.try_refresh(&tokens.refresh).await.assert_refused(ErrorCode::TokenInvalid);
        }
    }
}

on_both! {
    async fn how_long_a_session_is_kept_is_configured(options) {
        let app = InProcess::start(options.config("[session]\nidle = \"1d\"\nabsolute = \"1d\"\nkeep = \"2d\"")).await;
        let old = app.client().register("ada@example.org").await;
        for (secs, kept) in [(3 * DAY - MINUTE, true), (2 * MINUTE, false)] {
            app.clock.advance_secs(secs);
            app.turn_jobs().await;
            assert_eq!(is_kept(&app, &old).await, kept);
        }
    }
}

on_both! {
    async fn a_clock_that_is_far_ahead_when_the_daemon_starts_erases_no_session(options) {
        let app = InProcess::start(options).await;
        let tokens = app.client().register("ada@example.org").await;
        app.daemon.auth.purge_events(ClockTrust::Ruled).await.unwrap();
        app.clock.step_secs(400 * DAY);
        let started = app.second().await;
        add_past(&app, &tokens.user, 1_300).await;
        started.turn_jobs().await;
        started.client().login("ada@example.org").await;
        app.clock.step_secs(-400 * DAY);
        assert_eq!(listed(&app, &tokens.user, SessionState::Live).await.1, 2 + 1_300, "all are as they were");
        app.client().refresh(&tokens).await;
        app.clock.step_secs(400 * DAY);
        let third = app.second().await;
        third.daemon.auth.purge_events(ClockTrust::Confirmed).await.unwrap();
        third.turn_jobs().await;
        assert!(!is_kept(&app, &tokens).await, "an operator has confirmed the time");
    }
}

/// Sessions of the account that have expired by now.
async fn add_past(app: &InProcess, user: &str, sessions: u64) {
    let url = match app.database() {
        Database::Postgres(url) => url.clone(),
        Database::Sqlite => format!("sqlite:{}", app.data_dir().join("authd.db").display()),
    };
    let newest_ms = app.clock.now_ms() - 1_000;
    add_bygone_at(&url, &Bygone { account: user.to_owned(), sessions, newest_ms, ended_ms: None }).await;
}

async fn with_a_long_past(options: Options, sessions: u64) -> (InProcess, Tokens) {
    let app = InProcess::start(options.config("[session]\nmax_per_account = 3")).await;
    app.turn_jobs().await;
    let tokens = app.client().register("ada@example.org").await;
    app.clock.advance_secs(MINUTE);
    add_past(&app, &tokens.user, sessions).await;
    // The time is believed again, later than they were over.
    app.turn_jobs().await;
    (app, tokens)
}

on_both! {
    async fn logins_shrink_the_past_of_an_account_and_the_cap_holds(options) {
        let (app, first) = with_a_long_past(options, 1_300).await;
        let client = app.client();
        assert_eq!(listed(&app, &first.user, SessionState::Expired).await.1, 1_300);
        for live in [2, 3, 3, 3] {
            client.login("ada@example.org").await;
            assert_eq!(listed(&app, &first.user, SessionState::Live).await.1, live);
            let (expired, total) = listed(&app, &first.user, SessionState::Expired).await;
            assert_eq!(total, 1_000);
            let (newest, oldest) = (expired[0].id.as_str(), expired[999].id.as_str());
            assert_eq!((newest, oldest), (session_id(1_300).as_str(), session_id(301).as_str()), "the newest stay");
        }
        let (ended, _) = listed(&app, &first.user, SessionState::Ended).await;
        assert!(ended.iter().any(|session| session.id.as_str() == first.session), "the cap ended the oldest live one");
        assert_eq!(ended.len(), 2);
    }
}
