//! Accounts in bulk: taken over from other systems a batch a transaction, and read out with their passwords.

use crate::{
    domain::{
        account::{LoginRecord, PasswordHash},
        audit::{Action, Event},
        hash_cost::HashCost,
        identifier::IdentifierKind,
        import::{EmailIs, IdIs, ImportFate, LoginIs, NewImport, Present, Trying, differences, origin},
        page::{Page, PageRequest},
    },
    store::{
        db::Tx,
        dialect::{self, Dialect, on_built, on_db},
        error::Stored,
        event,
        page::{self, Table},
        row::{LoginRow, json_list, user_id},
    },
};
use shared::id::UserId;
use sqlx::{Encode, QueryBuilder, Type};
use std::collections::{HashMap, HashSet};

/// Takes a batch over, or says of each line why not. `None`: a name was taken while this looked.
pub(super) async fn import(
    tx: &mut Tx<'_>,
    lines: &[NewImport],
    trying: Trying,
    operation: &Event,
) -> Stored<Option<Vec<ImportFate>>> {
    let mut known = Known::read(tx, lines).await?;
    let clock = tx.clock();
    let (now_ms,): (i64,) = on_db!(tx, one ["SELECT " NOW](clock))?;
    let fates: Vec<ImportFate> = lines.iter().map(|line| known.judge(line, now_ms)).collect();
    if trying == Trying::Yes {
        tx.undo();
        return Ok(Some(fates));
    }
    let made: Vec<&NewImport> = lines
        .iter()
        .zip(&fates)
        .filter(|(_, fate)| matches!(fate, ImportFate::Created(_)))
        .map(|(line, _)| line)
        .collect();
    if made.is_empty() {
        return Ok(Some(fates));
    }
    if !insert(tx, &made, now_ms).await? {
        tx.undo();
        return Ok(None);
    }
    let created = |line: &&NewImport| {
        let mut event = operation.clone().doing(Action::UserCreated).about("user", line.id.as_str());
        event.id = tx.event_id(operation.at_ms);
        event
    };
    let events: Vec<Event> = made.iter().map(created).collect();
    event::write_all(tx, &events).await?;
    Ok(Some(fates))
}

/// What is there of what the lines name.
struct Known {
    emails: HashMap<String, Present>,
    usernames: HashSet<String>,
    ids: HashSet<UserId>,
}

type PresentRow = (String, String, Option<String>, i64, Option<String>, Option<String>);

impl Known {
    async fn read(tx: &mut Tx<'_>, lines: &[NewImport]) -> Stored<Self> {
        // Ids first, then all names in one statement: a batch that commits meanwhile is seen by its addresses or not at
        // all, never by its user names alone.
        let asked = json_list(lines.iter().filter(|line| line.id_is == IdIs::Asked).map(|line| line.id.as_str()));
        let used: Vec<(String,)> = on_db!(tx, all ["SELECT account.id FROM account
            WHERE account.tenant_id = $1 AND account.id IN " IDS]("default", asked.as_str()))?;
        let emails = lines.iter().map(|line| line.email.canonical());
        let names = emails.chain(lines.iter().filter_map(|line| Some(line.username.as_ref()?.canonical())));
        let names = json_list(names);
        let rows: Vec<PresentRow> = on_db!(tx, all ["SELECT identifier.canonical, account.id,
                (SELECT other.canonical FROM identifier AS other WHERE other.account_id = account.id
                    AND other.kind = 'username' AND other.primary_ms IS NOT NULL) AS username,
                account.created_ms, credential.data, credential.label
            FROM identifier JOIN account ON account.id = identifier.account_id
            LEFT JOIN credential ON credential.account_id = account.id AND credential.kind = 'password'
            WHERE identifier.tenant_id = $1 AND identifier.kind IN ('email', 'username')
            AND identifier.canonical IN " IDS]("default", names.as_str()))?;
        // No user name has an @, every address does.
        let (rows, taken): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(name, ..)| name.contains('@'));
        let present = |(email, id, username, created_ms, password, origin): PresentRow| {
            let password = password.map(PasswordHash);
            Ok((email, Present { id: user_id(&id)?, username, created_ms, password, origin }))
        };
        Ok(Self {
            emails: rows.into_iter().map(present).collect::<Stored<_>>()?,
            usernames: taken.into_iter().map(|(name, ..)| name).collect(),
            ids: used.iter().map(|(id,)| user_id(id)).collect::<Stored<_>>()?,
        })
    }

    /// What becomes of a line; one that is taken over is there for the lines after it.
    fn judge(&mut self, line: &NewImport, now_ms: i64) -> ImportFate {
        if let Some(there) = self.emails.get(line.email.canonical()) {
            let differing = differences(line, there);
            let same = differing.is_empty();
            return if same { ImportFate::Present(there.id.clone()) } else { ImportFate::EmailTaken(differing) };
        }
        let username = line.username.as_ref().map(|name| name.canonical().to_owned());
        if username.as_ref().is_some_and(|name| self.usernames.contains(name)) {
            return ImportFate::UsernameTaken;
        }
        if self.ids.contains(&line.id) {
            return ImportFate::IdTaken;
        }
        self.usernames.extend(username.clone());
        self.ids.insert(line.id.clone());
        let there = Present {
            id: line.id.clone(),
            username,
            created_ms: line.created_ms.unwrap_or(now_ms),
            password: line.password.clone(),
            origin: None,
        };
        self.emails.insert(line.email.canonical().to_owned(), there);
        ImportFate::Created(line.id.clone())
    }
}

/// Writes the rows; `false` when somebody else has one of the names or ids by now.
async fn insert(tx: &mut Tx<'_>, lines: &[&NewImport], now_ms: i64) -> Stored<bool> {
    let names: usize = lines.iter().map(|line| 1 + usize::from(line.username.is_some())).sum();
    let wanted = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let accounts = on_built!(tx, execute accounts(lines, now_ms))?;
    if accounts != wanted(lines.len()) || on_built!(tx, execute identifiers(lines, now_ms))? != wanted(names) {
        return Ok(false);
    }
    if lines.iter().any(|line| line.password.is_some()) {
        on_built!(tx, execute credentials(lines, now_ms))?;
    }
    Ok(true)
}

fn accounts<DB>(lines: &[&NewImport], now_ms: i64) -> QueryBuilder<DB>
where
    DB: Dialect,
    String: for<'q> Encode<'q, DB> + Type<DB>,
    i64: for<'q> Encode<'q, DB> + Type<DB>,
    Option<i64>: for<'q> Encode<'q, DB> + Type<DB>,
{
    let mut query = QueryBuilder::new("INSERT INTO account (id, created_ms, last_login_ms, disabled_ms) ");
    query.push_values(lines, |mut row, line| {
        row.push_bind(line.id.as_str().to_owned()).push_bind(line.created_ms.unwrap_or(now_ms));
        row.push_bind(line.last_login_ms).push_bind((line.login_is == LoginIs::Disabled).then_some(now_ms));
    });
    query.push(" ON CONFLICT (id) DO NOTHING");
    query
}

fn identifiers<DB>(lines: &[&NewImport], now_ms: i64) -> QueryBuilder<DB>
where
    DB: Dialect,
    String: for<'q> Encode<'q, DB> + Type<DB>,
    i64: for<'q> Encode<'q, DB> + Type<DB>,
    Option<i64>: for<'q> Encode<'q, DB> + Type<DB>,
{
    let names = lines.iter().flat_map(|line| {
        let verified_ms = (line.email_is == EmailIs::Verified).then_some(now_ms);
        let email = (IdentifierKind::Email, line.email.canonical(), line.email.display(), verified_ms);
        let username = line.username.as_ref();
        let username = username.map(|name| (IdentifierKind::Username, name.canonical(), name.display(), None));
        std::iter::once(email).chain(username).map(|name| (line.id.as_str(), name))
    });
    let mut query = QueryBuilder::new(
        "INSERT INTO identifier (kind, canonical, display, account_id, created_ms, verified_ms, primary_ms) ",
    );
    query.push_values(names, |mut row, (account, (kind, canonical, display, verified_ms))| {
        row.push_bind(kind.as_str().to_owned()).push_bind(canonical.to_owned()).push_bind(display.to_owned());
        row.push_bind(account.to_owned()).push_bind(now_ms).push_bind(verified_ms).push_bind(now_ms);
    });
    query.push(" ON CONFLICT (tenant_id, kind, canonical) DO NOTHING");
    query
}

fn credentials<DB>(lines: &[&NewImport], now_ms: i64) -> QueryBuilder<DB>
where
    DB: Dialect,
    String: for<'q> Encode<'q, DB> + Type<DB>,
    i64: for<'q> Encode<'q, DB> + Type<DB>,
{
    let passwords = lines.iter().filter_map(|line| Some((line.id.as_str(), line.password.as_ref()?)));
    let mut query = QueryBuilder::new("INSERT INTO credential (id, account_id, kind, data, cost, label, created_ms) ");
    query.push_values(passwords, |mut row, (account, hash)| {
        row.push_bind(format!("pwd:{account}")).push_bind(account.to_owned()).push_bind("password".to_owned());
        row.push_bind(hash.0.clone()).push_bind(HashCost::of(hash).as_str().to_owned());
        row.push_bind(origin(hash)).push_bind(now_ms);
    });
    query
}

/// One page.
pub(super) async fn export(tx: &mut Tx<'_>, request: &PageRequest) -> Stored<Page<LoginRecord>> {
    let after = page::after(request)?;
    let limit = page::limit(request);
    let rows: Vec<LoginRow> = on_built!(tx, fetch_all {
        let mut query = QueryBuilder::new("SELECT ");
        query.push(dialect::ACCOUNT);
        query.push(", (SELECT credential.data FROM credential WHERE credential.account_id = account.id
            AND credential.kind = 'password') AS password FROM account WHERE account.deleted_ms IS NULL");
        page::push_page(&mut query, Table::Account, after.as_ref(), limit);
        query
    })?;
    let records = rows.into_iter().map(super::account::login_record).collect::<Stored<Vec<_>>>()?;
    let mut page = page::cut(records, limit, 0, |last| (last.account.created_ms, last.account.id.to_string()));
    page.total = None;
    Ok(page)
}
