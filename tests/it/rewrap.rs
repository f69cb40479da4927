//! The key-encryption key is replaced: nobody is logged out, whenever the daemon is killed meanwhile.

use shared::admin::{Empty, daemon::Status, key};
use sqlx::{Connection, Executor, PgConnection, SqliteConnection, sqlite::SqliteConnectOptions};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tests::{
    client::Client,
    daemon::{Daemon, new_kek},
    options::{Database, Options},
    wait::until,
};

/// Some turns of the job, which are 5 s apart, on a busy machine.
const MOVED: Duration = Duration::from_secs(120);

const COUNT: &str = "(SELECT count(*) FROM (SELECT kek_id FROM signing_key WHERE ended_ms IS NULL
    UNION ALL SELECT kek_id FROM root_secret) AS secret WHERE kek_id = NEW.kek_id)";

/// The daemon's database, as somebody with access to it sees it.
enum Inside {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Inside {
    async fn of(daemon: &Daemon, options: &Options) -> Self {
        match &options.database {
            Database::Sqlite => {
                let file = SqliteConnectOptions::new().filename(daemon.data_dir().join("authd.db"));
                let file = file.busy_timeout(Duration::from_secs(10));
                Self::Sqlite(SqliteConnection::connect_with(&file).await.unwrap())
            }
            Database::Postgres(url) => Self::Postgres(PgConnection::connect(url).await.unwrap()),
        }
    }

    async fn run(&mut self, sql: &str) {
        match self {
            Self::Sqlite(connection) => {
                connection.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()))).await.map(drop)
            }
            Self::Postgres(connection) => {
                connection.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()))).await.map(drop)
            }
        }
        .unwrap_or_else(|error| panic!("{error}: {sql}"));
    }

    /// Lets no more than so many secrets come under another key-encryption key.
    async fn hold_at(&mut self, moved: usize) {
        for table in ["signing_key", "root_secret"] {
            match self {
                Self::Sqlite(_) => {
                    self.run(&format!("DROP TRIGGER IF EXISTS hold_{table}")).await;
                    self.run(&format!(
                        "CREATE TRIGGER hold_{table} BEFORE UPDATE OF kek_id ON {table} WHEN NEW.kek_id <> OLD.kek_id
                        AND {COUNT} >= {moved} BEGIN SELECT RAISE(ABORT, 'held'); END"
                    ))
                    .await;
                }
                Self::Postgres(_) => {
                    self.run(&format!(
                        "CREATE OR REPLACE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                        IF NEW.kek_id <> OLD.kek_id AND {COUNT} >= {moved} THEN RAISE EXCEPTION 'held'; END IF;
                        RETURN NEW; END $$"
                    ))
                    .await;
                    self.run(&format!(
                        "CREATE OR REPLACE TRIGGER hold BEFORE UPDATE OF kek_id ON {table}
                        FOR EACH ROW EXECUTE FUNCTION hold()"
                    ))
                    .await;
                }
            }
        }
    }

    /// How many secrets are under each key-encryption key.
    async fn keks(&mut self) -> Vec<(String, i64)> {
        const COUNTS: &str = "SELECT kek_id, count(*) FROM (SELECT kek_id FROM signing_key WHERE ended_ms IS NULL
            UNION ALL SELECT kek_id FROM root_secret) AS secret GROUP BY kek_id ORDER BY kek_id";
        match self {
            Self::Sqlite(connection) => sqlx::query_as(COUNTS).fetch_all(connection).await,
            Self::Postgres(connection) => sqlx::query_as(COUNTS).fetch_all(connection).await,
        }
        .unwrap()
    }

    async fn count(&mut self, kek: &str) -> i64 {
        self.keks().await.into_iter().find(|(id, _)| id == kek).map_or(0, |(_, count)| count)
    }
}

fn id_of(file: &Path) -> String {
    authd::crypto::kek::Kek::load(file, None).unwrap().id().to_string()
}

fn with_keks(options: Options, current: &Path, previous: Option<&Path>) -> Options {
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let previous = previous.map(text).unwrap_or_default();
    options.env("AUTHD_KEY__ENCRYPTION_KEY", &text(current)).env("AUTHD_KEY__PREVIOUS_ENCRYPTION_KEY", &previous)
}

/// What verifiers fetch.
async fn key_set(client: &Client) -> String {
    String::from_utf8(client.jwks().await.body.to_vec()).unwrap()
}

async fn problems(daemon: &Daemon) -> String {
    daemon.admin().call::<Status>(&Empty {}).await.problems.join("\n")
}

/// Where the daemon's key-encryption key is now, and a new one elsewhere.
fn key_files(daemon: &Daemon) -> (PathBuf, PathBuf, tempfile::TempDir) {
    let elsewhere = tempfile::tempdir().unwrap();
    let new = new_kek(elsewhere.path());
    (daemon.data_dir().join("kek"), new, elsewhere)
}

on_both! {
    async fn a_change_of_the_key_encryption_key_goes_on_after_a_kill_at_each_secret(options) {
        let mut daemon = Daemon::start(options.clone()).await;
        let (old, new, _elsewhere) = key_files(&daemon);
        let (old_id, new_id) = (id_of(&old), id_of(&new));
        let mut tokens = daemon.client().register("ada@example.org").await;
        let force = key::RotateRequest { force: true, ..Default::default() };
        daemon.admin().call::<key::Rotate>(&force).await;
        let first = tokens.access.clone();
        let mut inside = Inside::of(&daemon, &options).await;
        let secrets = inside.count(&old_id).await;
        assert!(secrets >= 3, "a root secret and at least two keys: {:?}", inside.keks().await);
        let set = key_set(&daemon.client()).await;
        daemon.stop();
        for moved in 0..secrets {
            inside.hold_at(usize::try_from(moved).unwrap()).await;
            daemon = daemon.again(with_keks(options.clone(), &new, Some(&old))).await;
            until(MOVED, "the secrets before have moved", || async {
                daemon.client().verify(&first).await.assert_status(200);
                (Inside::of(&daemon, &options).await.count(&new_id).await == moved).then_some(())
            })
            .await;
            tokens = daemon.client().refresh(&tokens).await;
            daemon.client().verify(&tokens.access).await.assert_status(200);
            assert_eq!(key_set(&daemon.client()).await, set);
            if moved > 0 {
                daemon.until_logged("held").await;
            }
            let told = problems(&daemon).await;
            assert!(told.contains(&format!("{} of {secrets} secrets still have to move", secrets - moved)), "{told}");
            daemon.kill();
            assert_eq!((inside.count(&old_id).await, inside.count(&new_id).await), (secrets - moved, moved));
        }
        inside.hold_at(1_000).await;
        daemon = daemon.again(with_keks(options.clone(), &new, Some(&old))).await;
        let told = until(MOVED, "the last secret has moved", || async {
            let told = problems(&daemon).await;
            told.contains("remove key.previous_encryption_key").then_some(told)
        })
        .await;
        assert!(told.contains(&old_id) && told.contains(&new_id), "{told}");
        assert_eq!(inside.count(&new_id).await, secrets);
        let moves = daemon.admin().events("key.rewrapped").await;
        assert_eq!(i64::try_from(moves.len()).unwrap(), secrets, "one event a secret");
        daemon.stop();
        daemon = daemon.again(with_keks(options.clone(), &new, None)).await;
        daemon.client().verify(&first).await.assert_status(200);
        tokens = daemon.client().refresh(&tokens).await;
        daemon.client().verify(&tokens.access).await.assert_status(200);
        assert!(!problems(&daemon).await.contains("kek_"));
        daemon.stop();
        let (mut wrong, log) = Daemon::launch(&with_keks(options, &old, None), daemon.data_dir(), None);
        assert_eq!(wrong.wait(Duration::from_secs(60)).code(), Some(78), "{}", log.text());
        assert!(log.text().contains(&old_id) && log.text().contains(&new_id), "{}", log.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_knows_only_the_old_key_encryption_key_is_waited_for() {
    let options = Options::postgres().await;
    let mut one = Daemon::start(options.clone()).await;
    let mut two = one.second().await;
    let (old, new, _elsewhere) = key_files(&one);
    let (old_id, new_id) = (id_of(&old), id_of(&new));
    let tokens = one.client().register("ada@example.org").await;
    one.stop();
    one = one.again(with_keks(options.clone(), &new, Some(&old))).await;
    let mut inside = Inside::of(&one, &options).await;
    let told = until(MOVED, "it says whom it waits for", || async {
        let told = problems(&one).await;
        told.contains("1 more live instances").then_some(told)
    })
    .await;
    assert!(told.contains(&new_id), "{told}");
    // What is made meanwhile can be read by both.
    let staged = one.admin().call::<key::Stage>(&key::StageRequest { replace: true, ..Default::default() }).await;
    let kid = staged.key.expect("a key").to_string();
    until(MOVED, "the other one publishes it", || async { key_set(&two.client()).await.contains(&kid).then_some(()) })
        .await;
    assert_eq!(inside.count(&new_id).await, 0, "{:?}", inside.keks().await);
    two.stop();
    until(MOVED, "everything has moved", || async {
        (Inside::of(&one, &options).await.count(&old_id).await == 0).then_some(())
    })
    .await;
    assert!(inside.count(&new_id).await >= 3);
    two = two.again(with_keks(options.clone(), &new, Some(&old))).await;
    two.client().verify(&tokens.access).await.assert_status(200);
    two.client().refresh(&tokens).await;
}
