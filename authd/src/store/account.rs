//! [`AccountStore`] on both databases: making, finding, listing accounts; resets.

use crate::{
    domain::{
        account::{
            AccountFilter, AccountRow, AccountStore, Break, Broken, Created, LoginRecord, NewAccount, PasswordHash,
            Registered,
        },
        audit::Event,
        hash_cost::HashCost,
        identifier::IdentifierKind,
        import::{ImportFate, NewImport, Trying},
        page::{Page, PageRequest},
        session::{NewSession, Revoked},
        store_error::StoreError,
    },
    store::{
        account_break, account_create, account_list, account_transfer,
        db::Db,
        dialect::{on_db, on_read, on_tx},
        error::Stored,
        event,
        row::{LoginRow, session_id, user_id},
        session_end::lock_account,
    },
};
use shared::id::{SessionId, UserId};

/// Accounts in the database.
pub(super) struct Accounts {
    pub(super) db: Db,
}

#[async_trait::async_trait]
impl AccountStore for Accounts {
    async fn create(
        &self,
        new: NewAccount,
        session: Option<NewSession>,
        events: Vec<Event>,
    ) -> Result<Created, StoreError> {
        on_tx!(self.db, |tx| account_create::create(tx, &new, session.as_ref(), &events).await)
    }

    async fn find_registration(&self, tag: [u8; 32]) -> Result<Option<Registered>, StoreError> {
        on_read!(self.db, |tx| {
            let clock = tx.clock();
            let row: Option<(String, Option<String>)> = on_db!(tx, optional [
                "SELECT idempotency.account_id, idempotency.session_id FROM idempotency
                WHERE idempotency.tenant_id = 'default' AND idempotency.scope = 'register' AND idempotency.tag = $2
                AND idempotency.expires_ms > " NOW](clock, tag.as_slice()))?;
            let Some((account, session)) = row else { return Ok(None) };
            let session = session.map(|id| session_id(&id)).transpose()?;
            Ok(Some(Registered { account: user_id(&account)?, session }))
        })
    }

    async fn note_registration(&self, tag: [u8; 32], session: SessionId) -> Result<(), StoreError> {
        on_tx!(self.db, |tx| {
            on_db!(
                tx,
                execute["UPDATE idempotency SET session_id = $2 WHERE idempotency.tenant_id = 'default'
                AND idempotency.scope = 'register' AND idempotency.tag = $1"](
                    tag.as_slice(), session.as_str()
                )
            )?;
            Ok(())
        })
    }

    async fn find_login(&self, kind: IdentifierKind, canonical: &str) -> Result<Option<LoginRecord>, StoreError> {
        let canonical = canonical.to_owned();
        let row: Option<LoginRow> = on_read!(self.db, |tx| {
            on_db!(tx, optional ["SELECT " ACCOUNT ", (SELECT credential.data FROM credential
                    WHERE credential.account_id = account.id AND credential.kind = 'password') AS password
                FROM identifier JOIN account ON account.id = identifier.account_id
                WHERE identifier.tenant_id = 'default' AND identifier.kind = $1 AND identifier.canonical = $2
                AND account.deleted_ms IS NULL"](kind.as_str(), canonical.as_str()))
        })?;
        row.map(login_record).transpose()
    }

    async fn find(&self, id: &UserId) -> Result<Option<LoginRecord>, StoreError> {
        let id = id.clone();
        let row: Option<LoginRow> = on_read!(self.db, |tx| {
            on_db!(tx, optional ["SELECT " ACCOUNT ", (SELECT credential.data FROM credential
                    WHERE credential.account_id = account.id AND credential.kind = 'password') AS password
                FROM account WHERE account.id = $1 AND account.deleted_ms IS NULL"](id.as_str()))
        })?;
        row.map(login_record).transpose()
    }

    async fn list(&self, filter: AccountFilter, page: PageRequest) -> Result<Page<AccountRow>, StoreError> {
        on_read!(self.db, |tx| account_list::list(tx, &filter, &page).await)
    }

    async fn import(
        &self,
        lines: Vec<NewImport>,
        trying: Trying,
        event: Event,
    ) -> Result<Option<Vec<ImportFate>>, StoreError> {
        on_tx!(self.db, bulk | tx | account_transfer::import(tx, &lines, trying, &event).await)
    }

    async fn export(&self, page: PageRequest) -> Result<Page<LoginRecord>, StoreError> {
        on_read!(self.db, |tx| account_transfer::export(tx, &page).await)
    }

    async fn rehash(
        &self,
        id: &UserId,
        old: &PasswordHash,
        new: &PasswordHash,
        event: Event,
    ) -> Result<bool, StoreError> {
        let (id, old, new) = (id.clone(), old.clone(), new.clone());
        on_tx!(self.db, |tx| {
            let changed = account_break::replace_password(tx, &id, &old, &new).await?;
            if changed {
                event::write(tx, &event).await?;
            }
            Ok(changed)
        })
    }

    async fn hash_costs(&self) -> Result<Vec<HashCost>, StoreError> {
        // Steps from one to the next in the index: a million passwords of two costs are three look-ups.
        let rows: Vec<(String,)> = on_read!(self.db, |tx| on_db!(
            tx,
            all["WITH RECURSIVE known (cost) AS (
            SELECT min(credential.cost) FROM credential
            UNION ALL SELECT (SELECT min(credential.cost) FROM credential WHERE credential.cost > known.cost)
            FROM known WHERE known.cost IS NOT NULL)
            SELECT known.cost FROM known WHERE known.cost IS NOT NULL"]()
        ))?;
        Ok(rows.into_iter().map(|(cost,)| HashCost::stored(cost)).collect())
    }

    async fn break_sessions(&self, id: &UserId, change: Break, event: Event) -> Result<Broken, StoreError> {
        let id = id.clone();
        on_tx!(self.db, |tx| account_break::break_sessions(tx, &id, &change, &event).await)
    }

    async fn enable(&self, id: &UserId, event: Event) -> Result<bool, StoreError> {
        let id = id.clone();
        on_tx!(self.db, |tx| {
            let changed = on_db!(
                tx,
                execute["UPDATE account SET disabled_ms = NULL
                WHERE account.id = $1 AND account.deleted_ms IS NULL"](id.as_str())
            )?;
            if changed > 0 {
                event::write(tx, &event).await?;
            }
            Ok(changed > 0)
        })
    }

    async fn issue_reset(&self, id: &UserId, token: [u8; 32], life_ms: i64, event: Event) -> Result<bool, StoreError> {
        let id = id.clone();
        on_tx!(self.db, |tx| {
            if lock_account(tx, &id).await?.is_none() {
                return Ok(false);
            }
            let clock = tx.clock();
            on_db!(tx, execute ["INSERT INTO reset (account_id, token_hash, created_ms, expires_ms)
                VALUES ($2, $3, " NOW ", " NOW " + $4)
                ON CONFLICT (account_id) DO UPDATE SET token_hash = excluded.token_hash,
                    created_ms = excluded.created_ms, expires_ms = excluded.expires_ms"](
                clock, id.as_str(), token.as_slice(), life_ms,
            ))?;
            event::write(tx, &event).await?;
            Ok(true)
        })
    }

    async fn find_reset(&self, token: [u8; 32]) -> Result<Option<UserId>, StoreError> {
        on_read!(self.db, |tx| account_break::reset_owner(tx, &token).await)
    }

    async fn redeem_reset(
        &self,
        token: [u8; 32],
        new: PasswordHash,
        event: Event,
    ) -> Result<Option<(UserId, Revoked)>, StoreError> {
        on_tx!(self.db, |tx| account_break::redeem_reset(tx, &token, &new, &event).await)
    }
}

pub(super) fn login_record(row: LoginRow) -> Stored<LoginRecord> {
    Ok(LoginRecord { account: row.account.account()?, password: row.password.map(PasswordHash) })
}
