-- The core tables. Times are Unix milliseconds; a state is the time at which it began, NULL while it has not.

CREATE TABLE tenant (
    id         TEXT COLLATE "C" PRIMARY KEY,
    created_ms BIGINT NOT NULL
);
INSERT INTO tenant (id, created_ms) VALUES ('default', 0);

-- A deleted account stays as a tombstone: its id is never used again, its names are gone.
CREATE TABLE account (
    id            TEXT COLLATE "C" PRIMARY KEY,
    tenant_id     TEXT NOT NULL DEFAULT 'default' REFERENCES tenant (id),
    epoch         BIGINT NOT NULL DEFAULT 0,
    created_ms    BIGINT NOT NULL,
    last_login_ms BIGINT,
    disabled_ms   BIGINT,
    deleted_ms    BIGINT
);
CREATE INDEX account_created ON account (created_ms, id);

CREATE TABLE identifier (
    tenant_id   TEXT NOT NULL DEFAULT 'default' REFERENCES tenant (id),
    kind        TEXT NOT NULL,
    canonical   TEXT NOT NULL,
    display     TEXT NOT NULL,
    account_id  TEXT COLLATE "C" NOT NULL REFERENCES account (id),
    created_ms  BIGINT NOT NULL,
    verified_ms BIGINT,
    primary_ms  BIGINT,
    PRIMARY KEY (tenant_id, kind, canonical)
);
CREATE UNIQUE INDEX identifier_primary ON identifier (account_id, kind) WHERE primary_ms IS NOT NULL;
CREATE INDEX identifier_account ON identifier (account_id);

CREATE TABLE credential (
    id           TEXT COLLATE "C" PRIMARY KEY,
    tenant_id    TEXT NOT NULL DEFAULT 'default' REFERENCES tenant (id),
    account_id   TEXT COLLATE "C" NOT NULL REFERENCES account (id),
    kind         TEXT NOT NULL,
    data         TEXT NOT NULL,
    -- Of passwords: algorithm and parameters.
    cost         TEXT,
    label        TEXT,
    created_ms   BIGINT NOT NULL,
    last_used_ms BIGINT
);
CREATE INDEX credential_account ON credential (account_id);
CREATE INDEX credential_cost ON credential (cost);
CREATE UNIQUE INDEX credential_one_password ON credential (account_id) WHERE kind = 'password';

-- A session is a family of refresh tokens: the current one, its parent, and the successor sealed for the parent.
CREATE TABLE session (
    id                TEXT COLLATE "C" PRIMARY KEY,
    tenant_id         TEXT NOT NULL DEFAULT 'default' REFERENCES tenant (id),
    account_id        TEXT COLLATE "C" NOT NULL REFERENCES account (id),
    handle            BYTEA NOT NULL,
    generation        BIGINT NOT NULL DEFAULT 0,
    cur_hash          BYTEA NOT NULL,
    prev_hash         BYTEA,
    rotated_ms        BIGINT,
    access_expires_ms BIGINT,
    sealed            BYTEA,
    sealed_keying     TEXT,
    retries           BIGINT NOT NULL DEFAULT 0,
    idle_expires_ms   BIGINT NOT NULL,
    expires_ms        BIGINT NOT NULL,
    revoked_ms        BIGINT,
    end_reason        TEXT,
    epoch             BIGINT NOT NULL,
    transport         TEXT NOT NULL,
    rate_tat_us       BIGINT NOT NULL DEFAULT 0,
    network           TEXT COLLATE "C",
    device            TEXT,
    -- The known device that logged in; it may have been dropped since.
    device_id         TEXT COLLATE "C",
    strays            BIGINT NOT NULL DEFAULT 0,
    stray_generation  BIGINT NOT NULL DEFAULT 0,
    amr               TEXT NOT NULL,
    created_ms        BIGINT NOT NULL
);
-- None of these has a column that a refresh or an end of the session changes (but the network it is used from): such
-- a change is then one of the row alone. PostgreSQL finds room for it in the row's page.
ALTER TABLE session SET (fillfactor = 85);
CREATE UNIQUE INDEX session_handle ON session (handle);
CREATE INDEX session_account ON session (account_id, created_ms, id);
CREATE INDEX session_created ON session (created_ms, id);
CREATE INDEX session_network ON session (network, created_ms, id);
-- By what is computed: for whether a session lives, which is asked everywhere, no index is to be read.
CREATE INDEX session_expires ON session ((expires_ms + 0));

CREATE TABLE device (
    id           TEXT COLLATE "C" PRIMARY KEY,
    tenant_id    TEXT NOT NULL DEFAULT 'default' REFERENCES tenant (id),
    account_id   TEXT COLLATE "C" NOT NULL REFERENCES account (id),
    token_hash   BYTEA NOT NULL UNIQUE,
    summary      TEXT,
    created_ms   BIGINT NOT NULL,
    last_used_ms BIGINT,
    expires_ms   BIGINT NOT NULL,
    -- Wrong passwords given with it in a row.
    failures     BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX device_account ON device (account_id);
CREATE INDEX device_expires ON device (expires_ms);

-- Passwords evaluated since the last right one: of an account (its id), or of a bucket of names that nobody has.
CREATE TABLE throttle (
    tenant_id  TEXT NOT NULL DEFAULT 'default' REFERENCES tenant (id),
    bucket     TEXT COLLATE "C" NOT NULL,
    unknown    BIGINT NOT NULL,
    known      BIGINT NOT NULL,
    -- Moves whenever the count starts from zero.
    generation BIGINT NOT NULL DEFAULT 0,
    -- When an operator or a reset last opened it: every instance then forgets what it holds against the account.
    opened_ms  BIGINT,
    forget_ms  BIGINT,
    PRIMARY KEY (tenant_id, bucket)
);
CREATE INDEX throttle_opened ON throttle (opened_ms) WHERE opened_ms IS NOT NULL;
CREATE INDEX throttle_forget ON throttle (forget_ms) WHERE forget_ms IS NOT NULL;

CREATE TABLE reset (
    account_id TEXT COLLATE "C" PRIMARY KEY REFERENCES account (id),
    tenant_id  TEXT NOT NULL DEFAULT 'default' REFERENCES tenant (id),
    token_hash BYTEA NOT NULL UNIQUE,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL
);

CREATE TABLE idempotency (
    tenant_id  TEXT NOT NULL DEFAULT 'default' REFERENCES tenant (id),
    scope      TEXT NOT NULL,
    tag        BYTEA NOT NULL,
    account_id TEXT COLLATE "C" NOT NULL,
    -- The session that a registration opened last.
    session_id TEXT,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, scope, tag)
);
CREATE INDEX idempotency_expires ON idempotency (expires_ms);
CREATE INDEX idempotency_account ON idempotency (account_id);

-- The secret that every key below the key-encryption key comes from, encrypted under it: one row, made once.
CREATE TABLE root_secret (
    tenant_id  TEXT PRIMARY KEY DEFAULT 'default' REFERENCES tenant (id),
    wrapped    BYTEA NOT NULL,
    kek_id     TEXT NOT NULL,
    created_ms BIGINT NOT NULL
);

-- `wrapped` is the private half under the key-encryption key `kek_id`; emptied when the key ends.
CREATE TABLE signing_key (
    id               TEXT COLLATE "C" PRIMARY KEY,
    tenant_id        TEXT NOT NULL DEFAULT 'default' REFERENCES tenant (id),
    algorithm        TEXT NOT NULL,
    state            TEXT NOT NULL,
    public           BYTEA NOT NULL,
    wrapped          BYTEA NOT NULL,
    kek_id           TEXT NOT NULL,
    created_ms       BIGINT NOT NULL,
    promote_after_ms BIGINT,
    activated_ms     BIGINT,
    retiring_ms      BIGINT,
    ended_ms         BIGINT
);
CREATE UNIQUE INDEX signing_key_one_staged ON signing_key (tenant_id) WHERE state = 'staged';
CREATE UNIQUE INDEX signing_key_one_active ON signing_key (tenant_id) WHERE state = 'active';

-- The audit log. `mac` proves who wrote it; `seq` and `hash` are filled once, after the commit, by the sealer. No
-- reference to the one tenant here and in `revocation`: with one, each of very many rows looks it up.
CREATE TABLE event (
    id              TEXT COLLATE "C" PRIMARY KEY,
    tenant_id       TEXT NOT NULL DEFAULT 'default',
    seq             BIGINT,
    hash            BYTEA,
    at_ms           BIGINT NOT NULL,
    action          TEXT COLLATE "C" NOT NULL,
    outcome         TEXT NOT NULL,
    reason          TEXT,
    actor_kind      TEXT NOT NULL,
    actor_id        TEXT COLLATE "C",
    actor_uid       BIGINT,
    actor_login_uid BIGINT,
    actor_pid       BIGINT,
    target_kind     TEXT,
    target_id       TEXT COLLATE "C",
    network         TEXT,
    device          TEXT,
    request_id      TEXT,
    detail          TEXT NOT NULL,
    mac             BYTEA NOT NULL
);
CREATE UNIQUE INDEX event_seq ON event (seq) WHERE seq IS NOT NULL;
CREATE INDEX event_unsealed ON event (id) WHERE seq IS NULL;
CREATE INDEX event_at ON event (at_ms, id);
CREATE INDEX event_target ON event (target_id, at_ms);

CREATE FUNCTION event_sealed_once() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    bare event := NEW;
BEGIN
    bare.seq := NULL;
    bare.hash := NULL;
    IF OLD.seq IS NULL AND OLD.hash IS NULL AND NEW.seq IS NOT NULL AND NEW.hash IS NOT NULL
        AND bare IS NOT DISTINCT FROM OLD THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'an event is sealed once and never changed';
END;
$$;
CREATE TRIGGER event_sealed_once BEFORE UPDATE ON event FOR EACH ROW EXECUTE FUNCTION event_sealed_once();
CREATE FUNCTION event_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF EXISTS (SELECT 1 FROM tombstone WHERE tombstone.up_to_seq >= OLD.seq) THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE EXCEPTION 'an event is deleted only where a tombstone covers it';
END;
$$;
CREATE TRIGGER event_kept BEFORE DELETE ON event FOR EACH ROW EXECUTE FUNCTION event_kept();
CREATE TRIGGER event_kept_all BEFORE TRUNCATE ON event FOR EACH STATEMENT EXECUTE FUNCTION event_kept();

-- Signed statements that the chain had this hash at this place.
CREATE TABLE checkpoint (
    number       BIGINT PRIMARY KEY,
    tenant_id    TEXT NOT NULL DEFAULT 'default' REFERENCES tenant (id),
    seq          BIGINT NOT NULL,
    hash         BYTEA NOT NULL,
    at_ms        BIGINT NOT NULL,
    anchored_seq BIGINT NOT NULL,
    key_id       TEXT NOT NULL,
    signature    BYTEA NOT NULL
);

-- Signed statements that events were purged.
CREATE TABLE tombstone (
    number        BIGINT PRIMARY KEY,
    tenant_id     TEXT NOT NULL DEFAULT 'default' REFERENCES tenant (id),
    from_seq      BIGINT NOT NULL,
    up_to_seq     BIGINT NOT NULL,
    hash          BYTEA NOT NULL,
    purged        BIGINT NOT NULL,
    checkpoint    BIGINT NOT NULL,
    cut_off_ms    BIGINT NOT NULL,
    at_ms         BIGINT NOT NULL,
    key_id        TEXT NOT NULL,
    signature     BYTEA NOT NULL
);
CREATE INDEX tombstone_up_to ON tombstone (up_to_seq);

-- Public halves of the audit key, all that ever signed.
CREATE TABLE audit_key (
    id         TEXT COLLATE "C" PRIMARY KEY,
    tenant_id  TEXT NOT NULL DEFAULT 'default' REFERENCES tenant (id),
    public     BYTEA NOT NULL,
    created_ms BIGINT NOT NULL,
    mac        BYTEA NOT NULL
);

CREATE FUNCTION audit_unchanged() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are never changed or deleted', TG_TABLE_NAME;
END
$$;
CREATE FUNCTION checkpoint_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM tombstone WHERE tombstone.checkpoint >= OLD.number) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'a checkpoint is deleted only where a tombstone covers it';
END
$$;
CREATE TRIGGER checkpoint_unchanged BEFORE UPDATE ON checkpoint FOR EACH ROW EXECUTE FUNCTION audit_unchanged();
CREATE TRIGGER checkpoint_kept BEFORE DELETE ON checkpoint FOR EACH ROW EXECUTE FUNCTION checkpoint_kept();
CREATE TRIGGER checkpoint_kept_all BEFORE TRUNCATE ON checkpoint
    FOR EACH STATEMENT EXECUTE FUNCTION audit_unchanged();
CREATE TRIGGER tombstone_kept BEFORE UPDATE OR DELETE ON tombstone FOR EACH ROW EXECUTE FUNCTION audit_unchanged();
CREATE TRIGGER tombstone_kept_all BEFORE TRUNCATE ON tombstone FOR EACH STATEMENT EXECUTE FUNCTION audit_unchanged();
CREATE TRIGGER audit_key_kept BEFORE UPDATE OR DELETE ON audit_key FOR EACH ROW EXECUTE FUNCTION audit_unchanged();
CREATE TRIGGER audit_key_kept_all BEFORE TRUNCATE ON audit_key FOR EACH STATEMENT EXECUTE FUNCTION audit_unchanged();

-- The end of the audit chain, moved by compare-and-set.
CREATE TABLE chain_head (
    name      TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL DEFAULT 'default' REFERENCES tenant (id),
    seq       BIGINT NOT NULL,
    hash      BYTEA NOT NULL
);
INSERT INTO chain_head (name, seq, hash) VALUES ('audit', 0, decode(repeat('00', 32), 'hex'));

-- Sessions that ended, for the memory of every instance. `seq` is taken before the commit, so readers go by `txid`.
CREATE TABLE revocation (
    seq        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id  TEXT NOT NULL DEFAULT 'default',
    txid       BIGINT NOT NULL DEFAULT (pg_current_xact_id()::text::bigint),
    session_id TEXT COLLATE "C" NOT NULL,
    at_ms      BIGINT NOT NULL,
    forget_ms  BIGINT NOT NULL
);
CREATE INDEX revocation_txid ON revocation (txid, seq);
CREATE INDEX revocation_forget ON revocation (forget_ms);

CREATE TABLE setting (
    tenant_id  TEXT NOT NULL DEFAULT 'default' REFERENCES tenant (id),
    name       TEXT NOT NULL,
    value      TEXT NOT NULL,
    version    BIGINT NOT NULL,
    changed_ms BIGINT NOT NULL,
    changed_by TEXT NOT NULL,
    expires_ms BIGINT,
    PRIMARY KEY (tenant_id, name)
);

-- Bans and allowances of addresses; `network` in its one spelling.
CREATE TABLE address_rule (
    tenant_id  TEXT NOT NULL DEFAULT 'default' REFERENCES tenant (id),
    network    TEXT NOT NULL,
    ruling     TEXT NOT NULL,
    reason     TEXT,
    created_ms BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    expires_ms BIGINT,
    PRIMARY KEY (tenant_id, network, ruling)
);

-- When a job that deletes last ran, by database time: a clock that has jumped is noticed over a restart too.
CREATE TABLE job_run (
    name      TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL DEFAULT 'default' REFERENCES tenant (id),
    ran_ms    BIGINT NOT NULL
);

CREATE TABLE instance (
    name          TEXT PRIMARY KEY,
    tenant_id     TEXT NOT NULL DEFAULT 'default' REFERENCES tenant (id),
    beat_ms       BIGINT NOT NULL,
    -- When it ended by itself.
    left_ms       BIGINT,
    serving       TEXT NOT NULL,
    -- The key-encryption keys it can read with; it writes with the first.
    keks          TEXT NOT NULL,
    cache_ms      BIGINT NOT NULL,
    access_ttl_ms BIGINT NOT NULL
);

-- One row that readiness writes to: a database that can be read but not written is not ready.
CREATE TABLE probe (
    name      TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL DEFAULT 'default' REFERENCES tenant (id),
    at_ms     BIGINT NOT NULL
);
INSERT INTO probe (name, at_ms) VALUES ('ready', 0);
