//! Clocks that jump, of the database and of the machine together.

use authd::{
    auth::{Doing, Operator},
    domain::{
        audit::{EventFilter, StoredEvent},
        failure::{Behaviour, Condition, Flow, cell},
        page::PageRequest,
    },
};
use shared::error::ErrorCode;
use tests::{
    client::{Client, PASSWORD},
    inprocess::InProcess,
    jwt::Jwt,
};

const HOUR: i64 = 3_600;
const YEAR: i64 = 8_766 * HOUR;

/// Every event of an action in the order of the log, whatever the clock said.
async fn recorded(app: &InProcess, action: &str) -> Vec<StoredEvent> {
    let reader = Operator {
        uid: 0,
        login_uid: None,
        pid: None,
        groups: Vec::new(),
        request_id: "test".to_owned(),
        reason: None,
        ticket: None,
        mode: Doing::ForReal,
    };
    let filter = EventFilter { action: Some(action.to_owned()), ..EventFilter::default() };
    let page = app.daemon.auth.list_events(&reader, filter, PageRequest { limit: 100, after: None }).await;
    let mut events = page.unwrap().items;
    events.sort_by_key(|event| event.seq);
    events
}

/// Everything that does not depend on how old something is.
async fn assert_serves(client: Client, number: usize) {
    let tokens = client.register(&format!("user{number}@example.org")).await;
    client.verify(&tokens.access).await.assert_status(200);
    let tokens = client.refresh(&tokens).await;
    client.profile(&tokens.access).await.assert_status(200);
    client.jwks().await.assert_status(200);
    client.logout(&tokens.refresh).await.assert_status(204);
    client.verify(&tokens.access).await.assert_status(401);
    client.login("ada@example.org").await;
}

on_both! {
    async fn a_clock_that_jumps_erases_nothing_and_breaks_nothing(options) {
        let app = InProcess::start(options).await;
        let client = app.client();
        app.turn_jobs().await;
        let ada = client.register("ada@example.org").await;
        let ended = client.login("ada@example.org").await;
        client.logout(&ended.refresh).await.assert_status(204);
        for (number, step) in [2 * HOUR, -2 * HOUR, 10 * YEAR, 13 * YEAR].into_iter().enumerate() {
            app.clock.step_secs(step);
            app.turn_jobs().await;
            assert_serves(client, number).await;
            app.clock.step_secs(-step);
            app.turn_jobs().await;
            // Whoever had ended stays out, whatever the clock had said meanwhile.
            client.verify(&ended.access).await.assert_status(401);
            client.try_refresh(&ended.refresh).await.assert_refused(ErrorCode::TokenInvalid);
        }
        client.verify(&ada.access).await.assert_status(200);
        client.refresh(&ada).await;
        app.turn_jobs().await;
        let steps = recorded(&app, "clock.stepped").await;
        assert_eq!(steps.len(), 8, "one for each way there and back: {steps:?}");
        let detail = |number: usize| steps[number].detail.iter().find(|(name, _)| name == "seconds").unwrap().1.clone();
        let away: i64 = detail(0).parse().unwrap();
        assert!((away - 2 * HOUR).abs() < 60 && detail(1) == "0", "{steps:?}");
    }
}

on_both! {
    async fn a_clock_that_is_ahead_ends_what_is_over_by_it_and_one_that_went_back_ends_nothing(options) {
        let app = InProcess::start(options).await;
        let client = app.client();
        app.turn_jobs().await;
        for flow in [Flow::Refresh, Flow::Read, Flow::Verify, Flow::KeyRotation] {
            assert_eq!(cell(flow, Condition::ClockStepped).behaviour, Behaviour::Degraded, "{flow:?}");
        }
        let ada = client.register("ada@example.org").await;
        app.clock.step_secs(2 * HOUR);
        client.verify(&ada.access).await.assert_refused(ErrorCode::TokenExpired);
        client.profile(&ada.access).await.assert_refused(ErrorCode::TokenExpired);
        let later = client.refresh(&ada).await;
        app.clock.step_secs(-2 * HOUR);
        client.verify(&later.access).await.assert_refused(ErrorCode::TokenInvalid);
        let again = client.refresh(&later).await;
        client.verify(&again.access).await.assert_status(200);
        let bob = client.register("bob@example.org").await;
        app.clock.step_secs(10 * YEAR);
        client.try_refresh(&bob.refresh).await.assert_refused(ErrorCode::TokenExpired);
        app.turn_jobs().await;
        let renewed = client.login("bob@example.org").await;
        let kid = Jwt::of(&renewed.access).header["kid"].clone();
        let published = client.jwks().await.json();
        assert!(published["keys"].as_array().unwrap().iter().any(|key| key["kid"] == kid), "{published}");
        app.clock.step_secs(-10 * YEAR);
        client.refresh(&bob).await;
    }
}

/// As they ship.
const LIMITS: &str = "[limit.\"login.ip\"]\nrate = \"30/min\"\nburst = 20\n\
    [limit.\"register.ip\"]\nrate = \"3/h\"\nburst = 3\n\
    [limit.\"refresh.session\"]\nrate = \"60/h\"\nburst = 10\n\
    [limit.\"login.spray\"]\ncount = 10\n";

on_both! {
    async fn nobody_waits_for_the_time_that_a_clock_went_back_by(options) {
        let app = InProcess::start(options.config(LIMITS)).await;
        let client = app.client();
        let ada = client.register("ada@example.org").await;
        let ada = client.refresh(&ada).await;
        for _ in 0..6 {
            client.try_login("ada@example.org", "not-the-velvet-one-55").await;
        }
        client.try_login("ada@example.org", PASSWORD).await.assert_refused(ErrorCode::RateLimited);
        app.clock.step_secs(-2 * HOUR);
        client.refresh(&ada).await;
        client.login("ada@example.org").await;
        client.register("bob@example.org").await;
    }
}

on_both! {
    async fn a_clock_that_stands_still_breaks_nothing(options) {
        let app = InProcess::start(options).await;
        app.client().register("ada@example.org").await;
        app.clock.freeze();
        for number in 0..3 {
            app.turn_jobs().await;
            assert_serves(app.client(), number).await;
        }
    }
}
