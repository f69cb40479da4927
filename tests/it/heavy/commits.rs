//! Commits whose outcome the daemon cannot know, because the connection to PostgreSQL ended: the caller is told 503,
//! and asking again converges, whether it had happened or not. Nothing happens twice.

use super::announce;
use serde_json::json;
use shared::{
    admin::session::{List, ListRequest, Session, State},
    error::ErrorCode,
};
use std::time::Duration;
use tests::{
    client::{Call, Client, PASSWORD, Tokens},
    clock::SeededRandom,
    daemon::Daemon,
    options::{Database, Options},
    postgres::Postgres,
    proxy::postgres::{Loss, PostgresProxy},
    scale,
    wait::timed,
};

const NEW_PASSWORD: &str = "granite-lantern-46-tide";

struct Scene {
    daemon: Daemon,
    storage: PostgresProxy,
    client: Client,
    dice: SeededRandom,
    round: usize,
    /// How many commits did not happen, and how many did without the daemon's hearing of it.
    unhappened: usize,
    unheard: usize,
}

impl Scene {
    async fn start() -> Self {
        let url = Postgres::shared().await.create_database().await;
        let storage = PostgresProxy::in_front_of(&url).await;
        let options = Options::on(Database::Postgres(storage.url())).config("audit.refresh = \"all\"");
        let daemon = Daemon::start(options).await;
        let client = daemon.client();
        let dice = SeededRandom::new(scale::seed());
        Self { daemon, storage, client, dice, round: 0, unhappened: 0, unheard: 0 }
    }

    /// An address nobody has used.
    fn new_email(&mut self) -> String {
        self.round += 1;
        format!("user{}@example.org", self.round)
    }

    /// Loses the commit of what `call` does to rows by a statement with `text`; says whether it happened all the same.
    async fn lose(&mut self, text: &'static str, call: Call) -> bool {
        let loss = match self.round {
            round if round % 2 == 0 => Loss::Request,
            // The daemon waits as long as it may for an answer: two seconds and a half.
            round if round % 40 == 3 => Loss::Silence,
            _ => Loss::ReplyAfter(self.dice.below(24)),
        };
        println!("round {}: {text}: {loss:?}", self.round);
        let lost_before = self.storage.lost();
        self.storage.lose(text, loss);
        let (answer, took) = timed(call.send()).await;
        assert_eq!(self.storage.lost(), lost_before + 1, "no commit with {text:?} was lost: {answer}");
        answer.assert_refused(ErrorCode::StorageUnavailable);
        assert_eq!(answer.json()["retryable"], true, "{answer}");
        assert!(took < tests::process::crowded(Duration::from_secs(5)), "{took:?}");
        let has_happened = loss != Loss::Request;
        *if has_happened { &mut self.unheard } else { &mut self.unhappened } += 1;
        has_happened
    }

    async fn assert_events(&self, action: &str, target: &str, count: usize) {
        let events = self.daemon.admin().events_about(action, target).await;
        assert_eq!(events.len(), count, "{action} about {target}: {events:#?}");
    }

    async fn sessions(&self, email: &str) -> Vec<Session> {
        let wanted = ListRequest { user: Some(email.to_owned()), ..Default::default() };
        self.daemon.admin().call::<List>(&wanted).await.items
    }

    async fn refresh(&mut self) {
        let email = self.new_email();
        let first = self.client.register(&email).await;
        let mut call = self.client.refresh_call(&first.refresh);
        if self.dice.below(2) == 0 {
            call = call.header("idempotency-key", "the-key-of-this-call");
        }
        let has_happened = self.lose("prev_hash = ", call.clone()).await;
        let known = self.daemon.admin().session(&first.session).await.generation;
        assert_eq!(known, u64::from(has_happened));
        let second = Tokens::of(&call.send().await);
        assert_eq!(Tokens::of(&call.send().await).refresh, second.refresh);
        assert_eq!(self.daemon.admin().session(&first.session).await.generation, 1);
        self.assert_events("session.refreshed", &first.session, 1).await;
        self.assert_events("session.retried", &first.session, 1 + usize::from(has_happened)).await;
        self.client.refresh(&second).await;
    }

    async fn login(&mut self) {
        let email = self.new_email();
        let first = self.client.register(&email).await;
        let call = self.client.post("/api/auth/login", &json!({ "email": email, "password": PASSWORD }));
        let orphans = usize::from(self.lose("INSERT INTO session ", call.clone()).await);
        assert_eq!(self.sessions(&email).await.len(), 1 + orphans);
        let opened = Tokens::of(&call.send().await);
        let sessions = self.sessions(&email).await;
        assert_eq!(sessions.len(), 2 + orphans);
        for session in &sessions {
            self.assert_events("session.opened", session.id.as_str(), 1).await;
        }
        self.assert_events("login.succeeded", &first.user, 1 + orphans).await;
        self.client.refresh(&opened).await;
    }

    async fn register(&mut self) {
        let email = self.new_email();
        let call = self.client.post("/api/auth/register", &json!({ "email": email, "password": PASSWORD }));
        let call = call.header("idempotency-key", "the-key-of-this-call");
        let orphans = usize::from(self.lose("INSERT INTO account ", call.clone()).await);
        let answer = call.send().await;
        answer.assert_status(201);
        let tokens = Tokens::of(&answer);
        let sessions = self.sessions(&email).await;
        let live: Vec<_> = sessions.iter().filter(|session| session.state == State::Live).collect();
        assert_eq!((sessions.len(), live.len()), (1 + orphans, 1), "{sessions:#?}");
        assert_eq!(live[0].id.as_str(), tokens.session);
        self.assert_events("user.created", &tokens.user, 1).await;
        for session in &sessions {
            let ends = usize::from(session.state != State::Live);
            self.assert_events("session.opened", session.id.as_str(), 1).await;
            self.assert_events("session.revoked", session.id.as_str(), ends).await;
        }
        self.client.login(&email).await;
    }

    async fn logout(&mut self) {
        let email = self.new_email();
        let tokens = self.client.register(&email).await;
        let call = self.client.post("/api/auth/logout", &json!({ "refresh_token": tokens.refresh }));
        self.lose("SET revoked_ms = ", call.clone()).await;
        self.client.verify(&tokens.access).await.assert_status(401);
        call.send().await.assert_status(204);
        self.assert_events("session.revoked", &tokens.session, 1).await;
        self.client.try_refresh(&tokens.refresh).await.assert_refused(ErrorCode::TokenInvalid);
        self.client.verify(&tokens.access).await.assert_status(401);
        assert_eq!(self.daemon.admin().session(&tokens.session).await.state, State::Ended);
    }

    async fn change_password(&mut self) {
        let email = self.new_email();
        let elsewhere = self.client.register(&email).await;
        let tokens = self.client.login(&email).await;
        let body = json!({ "current_password": PASSWORD, "new_password": NEW_PASSWORD });
        let call = self.client.call("PATCH", "/api/user/password").json(&body).bearer(&tokens.access);
        self.lose("SET epoch = ", call.clone()).await;
        call.send().await.assert_status(204);
        self.assert_events("password.changed", &tokens.user, 1).await;
        self.assert_events("session.revoked", &elsewhere.session, 1).await;
        self.client.try_refresh(&elsewhere.refresh).await.assert_refused(ErrorCode::TokenInvalid);
        self.client.refresh(&tokens).await;
        self.client.try_login(&email, PASSWORD).await.assert_refused(ErrorCode::InvalidCredentials);
        self.client.try_login(&email, NEW_PASSWORD).await.assert_status(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_without_an_answer_is_an_unknown_outcome_that_asking_again_resolves() {
    let rounds = scale::of(500);
    announce(rounds);
    let mut scene = Scene::start().await;
    for _ in 0..rounds {
        scene.refresh().await;
        scene.login().await;
        scene.register().await;
        scene.logout().await;
        scene.change_password().await;
    }
    println!("{} did not happen, {} did unheard", scene.unhappened, scene.unheard);
    assert!(scene.unhappened.abs_diff(scene.unheard) <= 1 && scene.unhappened > 0);
}
