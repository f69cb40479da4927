-- The core tables. Times are Unix milliseconds; a state is the time at which it began, NULL while it has not.

CREATE TABLE tenant (
    id         TEXT PRIMARY KEY,
    created_ms INTEGER NOT NULL
) STRICT;
INSERT INTO tenant (id, created_ms) VALUES ('default', 0);

-- A deleted account stays as a tombstone: its id is never used again, its names are gone.
CREATE TABLE account (
    id            TEXT PRIMARY KEY,
    tenant_id     TEXT NOT NULL DEFAULT 'default' REFERENCES tenant (id),
    epoch         INTEGER NOT NULL DEFAULT 0,
    created_ms    INTEGER NOT NULL,
    last_login_ms INTEGER,
    disabled_ms   INTEGER,
    deleted_ms    INTEGER
) STRICT;
CREATE INDEX account_created ON account (created_ms, id);

CREATE TABLE identifier (
    tenant_id   TEXT NOT NULL DEFAULT 'default' REFERENCES tenant (id),
    kind        TEXT NOT NULL,
    canonical   TEXT NOT NULL,
    display     TEXT NOT NULL,
    account_id  TEXT NOT NULL REFERENCES account (id),
    created_ms  INTEGER NOT NULL,
    verified_ms INTEGER,
    primary_ms  INTEGER,
    PRIMARY KEY (tenant_id, kind, canonical)
) STRICT;
CREATE UNIQUE INDEX identifier_primary ON identifier (account_id, kind) WHERE primary_ms IS NOT NULL;
CREATE INDEX identifier_account ON identifier (account_id);

CREATE TABLE credential (
    id           TEXT PRIMARY KEY,
    tenant_id    TEXT NOT NULL DEFAULT 'default' REFERENCES tenant (id),
    account_id   TEXT NOT NULL REFERENCES account (id),
    kind         TEXT NOT NULL,
    data         TEXT NOT NULL,
    -- Of passwords: algorithm and parameters.
    cost         TEXT,
    label        TEXT,
    created_ms   INTEGER NOT NULL,
    last_used_ms INTEGER
) STRICT;
CREATE INDEX credential_account ON credential (account_id);
CREATE INDEX credential_cost ON credential (cost);
CREATE UNIQUE INDEX credential_one_password ON credential (account_id) WHERE kind = 'password';

-- A session is a family of refresh tokens: the current one, its parent, and the successor sealed for the parent.
CREATE TABLE session (
    id                TEXT PRIMARY KEY,
    tenant_id         TEXT NOT NULL DEFAULT 'default' REFERENCES tenant (id),
    account_id        TEXT NOT NULL REFERENCES account (id),
    handle            BLOB NOT NULL,
    generation        INTEGER NOT NULL DEFAULT 0,
    cur_hash          BLOB NOT NULL,
    prev_hash         BLOB,
    rotated_ms        INTEGER,
    access_expires_ms INTEGER,
    sealed            BLOB,
    sealed_keying     TEXT,
    retries           INTEGER NOT NULL DEFAULT 0,
    idle_expires_ms   INTEGER NOT NULL,
    expires_ms        INTEGER NOT NULL,
    revoked_ms        INTEGER,
    end_reason        TEXT,
    epoch             INTEGER NOT NULL,
    transport         TEXT NOT NULL,
    rate_tat_us       INTEGER NOT NULL DEFAULT 0,
    network           TEXT,
    device            TEXT,
    -- The known device that logged in; it may have been dropped since.
    device_id         TEXT,
    strays            INTEGER NOT NULL DEFAULT 0,
    stray_generation  INTEGER NOT NULL DEFAULT 0,
    amr               TEXT NOT NULL,
    created_ms        INTEGER NOT NULL
) STRICT;
-- None of these has a column that a refresh or an end of the session changes (but the network it is used from): such
-- a change is then one of the row alone.
CREATE UNIQUE INDEX session_handle ON session (handle);
CREATE INDEX session_account ON session (account_id, created_ms, id);
CREATE INDEX session_created ON session (created_ms, id);
CREATE INDEX session_network ON session (network, created_ms, id);
-- By what is computed: for whether a session lives, which is asked everywhere, no index is to be read.
CREATE INDEX session_expires ON session (expires_ms + 0);

CREATE TABLE device (
    id           TEXT PRIMARY KEY,
    tenant_id    TEXT NOT NULL DEFAULT 'default' REFERENCES tenant (id),
    account_id   TEXT NOT NULL REFERENCES account (id),
    token_hash   BLOB NOT NULL UNIQUE,
    summary      TEXT,
    created_ms   INTEGER NOT NULL,
    last_used_ms INTEGER,
    expires_ms   INTEGER NOT NULL,
    -- Wrong passwords given with it in a row.
    failures     INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX device_account ON device (account_id);
CREATE INDEX device_expires ON device (expires_ms);

-- Passwords evaluated since the last right one: of an account (its id), or of a bucket of names that nobody has.
CREATE TABLE throttle (
    tenant_id  TEXT NOT NULL DEFAULT 'default' REFERENCES tenant (id),
    bucket     TEXT NOT NULL,
    unknown    INTEGER NOT NULL,
    known      INTEGER NOT NULL,
    -- Moves whenever the count starts from zero.
    generation INTEGER NOT NULL DEFAULT 0,
    -- When an operator or a reset last opened it: every instance then forgets what it holds against the account.
    opened_ms  INTEGER,
    forget_ms  INTEGER,
    PRIMARY KEY (tenant_id, bucket)
) STRICT;
CREATE INDEX throttle_opened ON throttle (opened_ms) WHERE opened_ms IS NOT NULL;
CREATE INDEX throttle_forget ON throttle (forget_ms) WHERE forget_ms IS NOT NULL;

CREATE TABLE reset (
    account_id TEXT PRIMARY KEY REFERENCES account (id),
    tenant_id  TEXT NOT NULL DEFAULT 'default' REFERENCES tenant (id),
    token_hash BLOB NOT NULL UNIQUE,
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE idempotency (
    tenant_id  TEXT NOT NULL DEFAULT 'default' REFERENCES tenant (id),
    scope      TEXT NOT NULL,
    tag        BLOB NOT NULL,
    account_id TEXT NOT NULL,
    -- The session that a registration opened last.
    session_id TEXT,
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, scope, tag)
) STRICT;
CREATE INDEX idempotency_expires ON idempotency (expires_ms);
CREATE INDEX idempotency_account ON idempotency (account_id);

-- The secret that every key below the key-encryption key comes from, encrypted under it: one row, made once.
CREATE TABLE root_secret (
    tenant_id  TEXT PRIMARY KEY DEFAULT 'default' REFERENCES tenant (id),
    wrapped    BLOB NOT NULL,
    kek_id     TEXT NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT;

-- `wrapped` is the private half under the key-encryption key `kek_id`; emptied when the key ends.
CREATE TABLE signing_key (
    id               TEXT PRIMARY KEY,
    tenant_id        TEXT NOT NULL DEFAULT 'default' REFERENCES tenant (id),
    algorithm        TEXT NOT NULL,
    state            TEXT NOT NULL,
    public           BLOB NOT NULL,
    wrapped          BLOB NOT NULL,
    kek_id           TEXT NOT NULL,
    created_ms       INTEGER NOT NULL,
    promote_after_ms INTEGER,
    activated_ms     INTEGER,
    retiring_ms      INTEGER,
    ended_ms         INTEGER
) STRICT;
CREATE UNIQUE INDEX signing_key_one_staged ON signing_key (tenant_id) WHERE state = 'staged';
CREATE UNIQUE INDEX signing_key_one_active ON signing_key (tenant_id) WHERE state = 'active';

-- The audit log. `mac` proves who wrote it; `seq` and `hash` are filled once, after the commit, by the sealer.
CREATE TABLE event (
    id              TEXT PRIMARY KEY,
    tenant_id       TEXT NOT NULL DEFAULT 'default' REFERENCES tenant (id),
    seq             INTEGER,
    hash            BLOB,
    at_ms           INTEGER NOT NULL,
    action          TEXT NOT NULL,
    outcome         TEXT NOT NULL,
    reason          TEXT,
    actor_kind      TEXT NOT NULL,
    actor_id        TEXT,
    actor_uid       INTEGER,
    actor_login_uid INTEGER,
    actor_pid       INTEGER,
    target_kind     TEXT,
    target_id       TEXT,
    network         TEXT,
    device          TEXT,
    request_id      TEXT,
    detail          TEXT NOT NULL,
    mac             BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX event_seq ON event (seq) WHERE seq IS NOT NULL;
CREATE INDEX event_unsealed ON event (id) WHERE seq IS NULL;
CREATE INDEX event_at ON event (at_ms, id);
CREATE INDEX event_target ON event (target_id, at_ms);

CREATE TRIGGER event_sealed_once BEFORE UPDATE ON event
WHEN NOT (
    OLD.seq IS NULL AND OLD.hash IS NULL AND NEW.seq IS NOT NULL AND NEW.hash IS NOT NULL
    AND NEW.id IS OLD.id AND NEW.tenant_id IS OLD.tenant_id AND NEW.at_ms IS OLD.at_ms AND NEW.action IS OLD.action
    AND NEW.outcome IS OLD.outcome AND NEW.reason IS OLD.reason AND NEW.actor_kind IS OLD.actor_kind
    AND NEW.actor_id IS OLD.actor_id AND NEW.actor_uid IS OLD.actor_uid
    AND NEW.actor_login_uid IS OLD.actor_login_uid AND NEW.actor_pid IS OLD.actor_pid
    AND NEW.target_kind IS OLD.target_kind AND NEW.target_id IS OLD.target_id AND NEW.network IS OLD.network
    AND NEW.device IS OLD.device AND NEW.request_id IS OLD.request_id AND NEW.detail IS OLD.detail
    AND NEW.mac IS OLD.mac
)
BEGIN
    SELECT RAISE(ABORT, 'an event is sealed once and never changed');
END;
CREATE TRIGGER event_kept BEFORE DELETE ON event
WHEN OLD.seq IS NULL OR NOT EXISTS (SELECT 1 FROM tombstone WHERE tombstone.up_to_seq >= OLD.seq)
BEGIN
    SELECT RAISE(ABORT, 'an event is deleted only where a tombstone covers it');
END;

-- Signed statements that the chain had this hash at this place.
CREATE TABLE checkpoint (
    number       INTEGER PRIMARY KEY,
    tenant_id    TEXT NOT NULL DEFAULT 'default' REFERENCES tenant (id),
    seq          INTEGER NOT NULL,
    hash         BLOB NOT NULL,
    at_ms        INTEGER NOT NULL,
    anchored_seq INTEGER NOT NULL,
    key_id       TEXT NOT NULL,
    signature    BLOB NOT NULL
) STRICT;

-- Signed statements that events were purged.
CREATE TABLE tombstone (
    number        INTEGER PRIMARY KEY,
    tenant_id     TEXT NOT NULL DEFAULT 'default' REFERENCES tenant (id),
    from_seq      INTEGER NOT NULL,
    up_to_seq     INTEGER NOT NULL,
    hash          BLOB NOT NULL,
    purged        INTEGER NOT NULL,
    checkpoint    INTEGER NOT NULL,
    cut_off_ms    INTEGER NOT NULL,
    at_ms         INTEGER NOT NULL,
    key_id        TEXT NOT NULL,
    signature     BLOB NOT NULL
) STRICT;
CREATE INDEX tombstone_up_to ON tombstone (up_to_seq);

-- Public halves of the audit key, all that ever signed.
CREATE TABLE audit_key (
    id         TEXT PRIMARY KEY,
    tenant_id  TEXT NOT NULL DEFAULT 'default' REFERENCES tenant (id),
    public     BLOB NOT NULL,
    created_ms INTEGER NOT NULL,
    mac        BLOB NOT NULL
) STRICT;

CREATE TRIGGER checkpoint_unchanged BEFORE UPDATE ON checkpoint
BEGIN
    SELECT RAISE(ABORT, 'a checkpoint is never changed');
END;
CREATE TRIGGER checkpoint_kept BEFORE DELETE ON checkpoint
WHEN NOT EXISTS (SELECT 1 FROM tombstone WHERE tombstone.checkpoint >= OLD.number)
BEGIN
    SELECT RAISE(ABORT, 'a checkpoint is deleted only where a tombstone covers it');
END;
CREATE TRIGGER tombstone_unchanged BEFORE UPDATE ON tombstone
BEGIN
    SELECT RAISE(ABORT, 'a tombstone is never changed');
END;
CREATE TRIGGER tombstone_kept BEFORE DELETE ON tombstone
BEGIN
    SELECT RAISE(ABORT, 'a tombstone is never deleted');
END;
CREATE TRIGGER audit_key_unchanged BEFORE UPDATE ON audit_key
BEGIN
    SELECT RAISE(ABORT, 'an audit key is never changed');
END;
CREATE TRIGGER audit_key_kept BEFORE DELETE ON audit_key
BEGIN
    SELECT RAISE(ABORT, 'an audit key is never deleted');
END;

-- The end of the audit chain, moved by compare-and-set.
CREATE TABLE chain_head (
    name      TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL DEFAULT 'default' REFERENCES tenant (id),
    seq       INTEGER NOT NULL,
    hash      BLOB NOT NULL
) STRICT;
INSERT INTO chain_head (name, seq, hash) VALUES ('audit', 0, zeroblob(32));

-- Sessions that ended, for the memory of every instance. One writer commits in the order of `seq`; `txid` is used by
-- PostgreSQL alone.
CREATE TABLE revocation (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id  TEXT NOT NULL DEFAULT 'default' REFERENCES tenant (id),
    txid       INTEGER NOT NULL DEFAULT 0,
    session_id TEXT NOT NULL,
    at_ms      INTEGER NOT NULL,
    forget_ms  INTEGER NOT NULL
) STRICT;
CREATE INDEX revocation_forget ON revocation (forget_ms);

CREATE TABLE setting (
    tenant_id  TEXT NOT NULL DEFAULT 'default' REFERENCES tenant (id),
    name       TEXT NOT NULL,
    value      TEXT NOT NULL,
    version    INTEGER NOT NULL,
    changed_ms INTEGER NOT NULL,
    changed_by TEXT NOT NULL,
    expires_ms INTEGER,
    PRIMARY KEY (tenant_id, name)
) STRICT;

-- Bans and allowances of addresses; `network` in its one spelling.
CREATE TABLE address_rule (
    tenant_id  TEXT NOT NULL DEFAULT 'default' REFERENCES tenant (id),
    network    TEXT NOT NULL,
    ruling     TEXT NOT NULL,
    reason     TEXT,
    created_ms INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    expires_ms INTEGER,
    PRIMARY KEY (tenant_id, network, ruling)
) STRICT;

-- When a job that deletes last ran, by database time: a clock that has jumped is noticed over a restart too.
CREATE TABLE job_run (
    name      TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL DEFAULT 'default' REFERENCES tenant (id),
    ran_ms    INTEGER NOT NULL
) STRICT;

CREATE TABLE instance (
    name          TEXT PRIMARY KEY,
    tenant_id     TEXT NOT NULL DEFAULT 'default' REFERENCES tenant (id),
    beat_ms       INTEGER NOT NULL,
    -- When it ended by itself.
    left_ms       INTEGER,
    serving       TEXT NOT NULL,
    -- The key-encryption keys it can read with; it writes with the first.
    keks          TEXT NOT NULL,
    cache_ms      INTEGER NOT NULL,
    access_ttl_ms INTEGER NOT NULL
) STRICT;

-- One row that readiness writes to: a database that can be read but not written is not ready.
CREATE TABLE probe (
    name      TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL DEFAULT 'default' REFERENCES tenant (id),
    at_ms     INTEGER NOT NULL
) STRICT;
INSERT INTO probe (name, at_ms) VALUES ('ready', 0);
