//! A log that takes no event: nothing that has to be recorded happens, whoever asks for it and on whichever path (I02).

use serde_json::json;
use shared::{
    admin::{Access, CALLS},
    error::ErrorCode,
};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};
use tests::{
    client::{PASSWORD, Tokens},
    daemon::Daemon,
    options::Database,
    wire::Answer,
};

/// Calls that need an administrator and change nothing that is stored. That the log was read, and what was done to a
/// breaker, which is in memory, is in the spool meanwhile.
const NO_CHANGE: [&str; 6] = [
    "/v1/config/show",
    "/v1/config/check",
    "/v1/audit/purge",
    "/v1/audit/export",
    "/v1/breaker/open",
    "/v1/breaker/close",
];
/// What every daemon writes on its own, without an event; `throttle` counts each password check before it is made.
const BY_ITSELF: [&str; 5] = ["instance", "probe", "job_run", "throttle", "_sqlx_migrations"];

/// Somebody who may do everything in the database.
enum Owner {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Owner {
    async fn of(daemon: &Daemon) -> Self {
        match daemon.database() {
            Database::Sqlite => {
                let file = format!("sqlite:{}", daemon.data_dir().join("authd.db").display());
                Self::Sqlite(SqliteConnection::connect(&file).await.unwrap())
            }
            Database::Postgres(url) => Self::Postgres(PgConnection::connect(url).await.unwrap()),
        }
    }

    async fn run(&mut self, statement: &'static str) {
        match self {
            Self::Sqlite(conn) => drop(conn.execute(statement).await.unwrap()),
            Self::Postgres(conn) => drop(conn.execute(statement).await.unwrap()),
        }
    }

    async fn refuse_events(&mut self) {
        match self {
            Self::Sqlite(_) => {
                self.run("CREATE TRIGGER refuse BEFORE INSERT ON event BEGIN SELECT RAISE(ABORT, 'denied'); END").await;
            }
            Self::Postgres(_) => {
                self.run(
                    "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                    $$ BEGIN RAISE EXCEPTION 'denied'; END $$",
                )
                .await;
                self.run("CREATE TRIGGER refuse BEFORE INSERT ON event FOR EACH ROW EXECUTE FUNCTION refuse()").await;
            }
        }
    }

    async fn texts(&mut self, sql: String) -> Vec<String> {
        let sql = AssertSqlSafe(sql);
        match self {
            Self::Sqlite(conn) => sqlx::query_scalar(sql).fetch_all(conn).await.unwrap(),
            Self::Postgres(conn) => sqlx::query_scalar(sql).fetch_all(conn).await.unwrap(),
        }
    }

    /// Every row of every table.
    async fn everything(&mut self) -> Vec<(String, Vec<String>)> {
        let tables = match self {
            Self::Sqlite(_) => "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name",
            Self::Postgres(_) => {
                "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
                ORDER BY 1"
            }
        };
        let mut all = Vec::new();
        for table in self.texts(tables.to_owned()).await {
            if BY_ITSELF.contains(&table.as_str()) || table.starts_with("sqlite_") {
                continue;
            }
            let rows = match self {
                Self::Sqlite(_) => {
                    let columns = format!("SELECT 'quote(\"' || name || '\")' FROM pragma_table_info('{table}')");
                    let columns = self.texts(columns).await.join(" || ' ' || ");
                    format!("SELECT {columns} FROM \"{table}\" ORDER BY 1")
                }
                Self::Postgres(_) => format!("SELECT one::text FROM \"{table}\" AS one ORDER BY 1"),
            };
            let rows = self.texts(rows).await;
            all.push((table, rows));
        }
        all
    }
}

/// Everybody whom something would be done to.
struct People {
    ada: Tokens,
    spent: String,
    bob: Tokens,
    eve: Tokens,
}

async fn prepare(daemon: &Daemon) -> People {
    let (client, admin) = (daemon.client(), daemon.admin());
    let ada = client.register("ada@example.org").await;
    let spent = client.login("ada@example.org").await;
    let next = client.refresh(&spent).await;
    client.refresh(&next).await;
    let (bob, eve) = (client.register("bob@example.org").await, client.register("eve@example.org").await);
    for name in ["off", "gone", "kim"] {
        client.register(&format!("{name}@example.org")).await;
    }
    for (path, body) in [
        ("/v1/user/disable", json!({ "user": "off@example.org" })),
        ("/v1/key/rotate", json!({ "force": true })),
        ("/v1/limit/set", json!({ "policy": "login.net", "rate": "500/min", "burst": 5 })),
        ("/v1/ban/add", json!({ "network": "203.0.113.0/24" })),
        ("/v1/allow/add", json!({ "network": "203.0.113.0/24" })),
    ] {
        admin.post(path, &body.to_string()).await.assert_status(200);
    }
    People { ada, spent: spent.refresh, bob, eve }
}

async fn key_in(daemon: &Daemon, state: &str) -> String {
    let keys = daemon.admin().post("/v1/key/list", "{}").await.json();
    let found = keys["items"].as_array().unwrap().iter().find(|key| key["state"] == state);
    found.unwrap_or_else(|| panic!("no {state} key in {keys}"))["id"].as_str().unwrap().to_owned()
}

/// Every call that an administrator may make, with something to do for it.
async fn orders(daemon: &Daemon) -> Vec<(&'static str, serde_json::Value)> {
    let (active, retiring) = (key_in(daemon, "active").await, key_in(daemon, "retiring").await);
    let user = |name: &str| json!({ "user": format!("{name}@example.org") });
    vec![
        ("/v1/reload", json!({})),
        ("/v1/session/revoke", user("kim")),
        ("/v1/session/epoch-bump", json!({ "accept_restore": true })),
        ("/v1/user/create", json!({ "email": "new@example.org" })),
        ("/v1/user/disable", user("kim")),
        ("/v1/user/enable", user("off")),
        ("/v1/user/unlock", user("kim")),
        ("/v1/user/logout", user("kim")),
        ("/v1/user/reset-password", user("kim")),
        ("/v1/user/delete", user("gone")),
        ("/v1/user/import", json!({ "users": [{ "email": "import@example.org" }] })),
        ("/v1/user/export", json!({ "hashes": true })),
        ("/v1/key/stage", json!({ "replace": true })),
        ("/v1/key/promote", json!({ "force": true })),
        ("/v1/key/rotate", json!({ "force": true })),
        ("/v1/key/retire", json!({ "id": retiring, "force": true })),
        ("/v1/key/revoke", json!({ "id": active })),
        ("/v1/audit/checkpoint", json!({})),
        ("/v1/limit/set", json!({ "policy": "login.ip", "rate": "10/min", "burst": 5 })),
        ("/v1/limit/reset", json!({ "policy": "login.net" })),
        ("/v1/mode/set", json!({ "mode": "no-login" })),
        ("/v1/db/backup", json!({})),
        ("/v1/db/move", json!({ "target_url": "postgres://nobody@127.0.0.1:1/none" })),
        ("/v1/ban/add", json!({ "network": "198.51.100.0/24" })),
        ("/v1/ban/remove", json!({ "network": "203.0.113.0/24" })),
        ("/v1/allow/add", json!({ "network": "198.51.100.0/24" })),
        ("/v1/allow/remove", json!({ "network": "203.0.113.0/24" })),
    ]
}

/// What each flow answers that would change something.
async fn flows(daemon: &Daemon, people: &People) -> Vec<(&'static str, Answer)> {
    let client = daemon.client();
    let (ada, bob, eve) = (&people.ada, &people.bob, &people.eve);
    let joe = json!({ "email": "joe@example.org", "password": PASSWORD });
    let goodbye = json!({ "password": PASSWORD });
    vec![
        ("register", client.try_register(&joe).await),
        ("log in", client.try_login("ada@example.org", PASSWORD).await),
        ("refresh", client.try_refresh(&ada.refresh).await),
        ("refresh with a spent token", client.try_refresh(&people.spent).await),
        ("change the password", client.change_password(&bob.access, PASSWORD, "granite-lantern-46-tide").await),
        ("delete the account", client.call("DELETE", "/api/user").json(&goodbye).bearer(&eve.access).send().await),
    ]
}

on_both! {
    async fn what_cannot_be_recorded_does_not_happen_on_any_path(options) {
        let daemon = Daemon::start(options.config("audit.refresh = \"all\"")).await;
        let people = prepare(&daemon).await;
        let orders = orders(&daemon).await;
        for call in CALLS.iter().filter(|call| matches!(call.access, Access::Admin | Access::Own)) {
            let is_tried = orders.iter().any(|(path, _)| *path == call.path) || NO_CHANGE.contains(&call.path);
            assert!(is_tried, "{} is not tried here", call.path);
        }
        let mut owner = Owner::of(&daemon).await;
        owner.refuse_events().await;
        let before = owner.everything().await;
        for (flow, answer) in flows(&daemon, &people).await {
            assert_eq!(answer.status, 503, "{flow}: {answer}");
        }
        for (path, body) in &orders {
            let answer = daemon.admin().post(path, &body.to_string()).await;
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            // A stream has begun before it can fail; its last line says so.
            let is_empty = !text.contains("\"piece\"") && !text.contains("\"done\":{");
            let is_failed_stream = answer.status == 200 && text.contains("{\"failed\":") && is_empty;
            assert!(answer.status == 503 || is_failed_stream, "{path}: {answer}");
            if answer.status == 503 {
                assert_eq!(answer.code(), ErrorCode::StorageUnavailable.as_str(), "{path}: {answer}");
            }
        }
        // What the sealer did with earlier events is no change of theirs.
        let after = owner.everything().await;
        for ((table, before), (_, after)) in before.iter().zip(&after) {
            if !["event", "chain_head", "checkpoint"].contains(&table.as_str()) {
                assert_eq!(before, after, "{table}");
            }
        }
        assert_eq!(rows(&before, "event"), rows(&after, "event"));
        owner.run(if matches!(owner, Owner::Sqlite(_)) { "DROP TRIGGER refuse" } else { "DROP TRIGGER refuse ON event" }).await;
        daemon.until_ready().await;
        daemon.client().refresh(&people.ada).await;
        let bob = daemon.client().try_login("bob@example.org", PASSWORD).await;
        bob.assert_status(200);
    }
}

fn rows(all: &[(String, Vec<String>)], table: &str) -> usize {
    all.iter().find(|(name, _)| name == table).unwrap().1.len()
}

on_both! {
    async fn a_reader_gets_what_readers_may_get_and_nothing_else(options) {
        let daemon = Daemon::start(options).await;
        // One of them never ends; that readers may follow the log is tested where that is.
        for call in CALLS.iter().filter(|call| call.path != "/v1/audit/tail") {
            let answer = daemon.reader().post(call.path, "{}").await;
            let is_allowed = matches!(call.access, Access::Read | Access::Any);
            assert_eq!(answer.status != 403, is_allowed, "{}: {answer}", call.path);
        }
        for path in [
            "config/show", "config/check", "user/import", "user/export", "audit/export", "db/backup", "db/move",
            "user/reset-password", "session/epoch-bump", "reload",
        ] {
            daemon.reader().post(&format!("/v1/{path}"), "{}").await.assert_status(403);
        }
    }
}
