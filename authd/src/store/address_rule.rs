//! [`AddressRuleStore`] on both databases.

use crate::{
    domain::{
        address_rule::{Added, AddressRule, AddressRuleStore, MAX_RULES, NewRule, Ruling, VERSION_SETTING},
        audit::Event,
        store_error::StoreError,
    },
    store::{
        db::{Db, Tx},
        dialect::{on_db, on_read, on_tx},
        error::Stored,
        event,
    },
};
use ipnet::IpNet;

/// Rules in the database.
pub(super) struct AddressRules {
    pub(super) db: Db,
}

type Row = (String, String, Option<String>, i64, String, Option<i64>);

fn rule((network, ruling, reason, created_ms, created_by, expires_ms): Row) -> Stored<AddressRule> {
    let network = network.parse().map_err(StoreError::corrupt)?;
    let ruling = Ruling::parse(&ruling).ok_or_else(|| StoreError::corrupt(format!("no ruling `{ruling}`")))?;
    Ok(AddressRule { network, ruling, reason, created_ms, created_by, expires_ms })
}

#[async_trait::async_trait]
impl AddressRuleStore for AddressRules {
    async fn all(&self) -> Result<Vec<AddressRule>, StoreError> {
        let rows: Vec<Row> = on_read!(self.db, |tx| {
            let clock = tx.clock();
            on_db!(tx, all ["SELECT address_rule.network, address_rule.ruling, address_rule.reason,
                address_rule.created_ms, address_rule.created_by, address_rule.expires_ms FROM address_rule
                WHERE address_rule.tenant_id = 'default'
                AND (address_rule.expires_ms IS NULL OR address_rule.expires_ms > " NOW ")
                ORDER BY address_rule.created_ms DESC, address_rule.network"](clock))
        })?;
        rows.into_iter().map(rule).collect()
    }

    async fn add(&self, new: NewRule, event: Event) -> Result<Added, StoreError> {
        on_tx!(self.db, |tx| {
            // First: the row of the version keeps changes apart, so that the count below is nobody's past.
            moved(tx, &new.created_by).await?;
            let clock = tx.clock();
            on_db!(tx, execute ["DELETE FROM address_rule WHERE address_rule.expires_ms <= " NOW](clock))?;
            on_db!(
                tx,
                execute["DELETE FROM address_rule WHERE address_rule.tenant_id = 'default'
                AND address_rule.network = $1 AND address_rule.ruling = $2"](
                    new.network.to_string(),
                    new.ruling.as_str(),
                )
            )?;
            let (count,): (i64,) = on_db!(tx, one["SELECT count(*) FROM address_rule"]())?;
            if usize::try_from(count).unwrap_or(usize::MAX) >= MAX_RULES {
                tx.undo();
                return Ok(Added::Full);
            }
            on_db!(tx, execute ["INSERT INTO address_rule
                (network, ruling, reason, created_ms, created_by, expires_ms)
                VALUES ($2, $3, $4, " NOW ", $5, " NOW " + $6)"](
                clock, new.network.to_string(), new.ruling.as_str(), new.reason.as_deref(), new.created_by.as_str(),
                new.life_ms,
            ))?;
            event::write(tx, &event).await?;
            Ok(Added::Done)
        })
    }

    async fn remove(&self, network: IpNet, ruling: Ruling, by: &str, event: Event) -> Result<bool, StoreError> {
        let by = by.to_owned();
        on_tx!(self.db, |tx| {
            // In the same order as above: the row of the version, then rules.
            moved(tx, &by).await?;
            let clock = tx.clock();
            let removed = on_db!(tx, execute ["DELETE FROM address_rule WHERE address_rule.tenant_id = 'default'
                AND address_rule.network = $2 AND address_rule.ruling = $3
                AND (address_rule.expires_ms IS NULL OR address_rule.expires_ms > " NOW ")"](
                clock, network.to_string(), ruling.as_str(),
            ))?;
            if removed == 0 {
                tx.undo();
                return Ok(false);
            }
            event::write(tx, &event).await?;
            Ok(true)
        })
    }
}

/// Tells every instance to read the rules again.
async fn moved(tx: &mut Tx<'_>, by: &str) -> Stored<()> {
    let clock = tx.clock();
    on_db!(tx, execute ["INSERT INTO setting (name, value, version, changed_ms, changed_by)
        VALUES ($2, '', " NOW ", " NOW ", $3)
        ON CONFLICT (tenant_id, name) DO UPDATE SET version = " GREATEST "(setting.version + 1, excluded.version),
            changed_ms = excluded.changed_ms, changed_by = excluded.changed_by"](clock, VERSION_SETTING, by))?;
    Ok(())
}
