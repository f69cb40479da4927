//! [`SettingStore`] on both databases.

use crate::{
    domain::{
        audit::Event,
        setting::{NewSetting, Setting, SettingStore},
        store_error::StoreError,
    },
    store::{
        db::Db,
        dialect::{on_db, on_read, on_tx},
        event,
    },
};

/// Settings in the database.
pub(super) struct Settings {
    pub(super) db: Db,
}

type Row = (String, String, i64, i64, String, Option<i64>);

#[async_trait::async_trait]
impl SettingStore for Settings {
    async fn all(&self) -> Result<Vec<Setting>, StoreError> {
        let rows: Vec<Row> = on_read!(self.db, |tx| {
            let clock = tx.clock();
            on_db!(tx, all ["SELECT setting.name, setting.value, setting.version, setting.changed_ms,
                setting.changed_by, setting.expires_ms FROM setting WHERE setting.tenant_id = 'default'
                AND (setting.expires_ms IS NULL OR setting.expires_ms > " NOW ") ORDER BY setting.name"](clock))
        })?;
        let settings = rows.into_iter().map(|(name, value, version, changed_ms, changed_by, expires_ms)| Setting {
            name,
            value,
            version,
            changed_ms,
            changed_by,
            expires_ms,
        });
        Ok(settings.collect())
    }

    async fn change(&self, put: Option<NewSetting>, removed: Vec<String>, event: Event) -> Result<(), StoreError> {
        on_tx!(self.db, |tx| {
            for name in &removed {
                on_db!(
                    tx,
                    execute["DELETE FROM setting WHERE setting.tenant_id = 'default'
                    AND setting.name = $1"](name.as_str())
                )?;
            }
            if let Some(NewSetting { name, value, changed_by, life_ms }) = &put {
                let clock = tx.clock();
                // The version is a time that never repeats, so it grows even over a removal.
                on_db!(tx, execute ["INSERT INTO setting (name, value, version, changed_ms, changed_by, expires_ms)
                    VALUES ($2, $3, " NOW ", " NOW ", $4, " NOW " + $5)
                    ON CONFLICT (tenant_id, name) DO UPDATE SET value = excluded.value,
                        version = " GREATEST "(setting.version + 1, excluded.version),
                        changed_ms = excluded.changed_ms, changed_by = excluded.changed_by,
                        expires_ms = excluded.expires_ms"](
                    clock, name.as_str(), value.as_str(), changed_by.as_str(), *life_ms,
                ))?;
            }
            event::write(tx, &event).await
        })
    }

    async fn expire(&self, name: &str, event: Event) -> Result<(), StoreError> {
        let name = name.to_owned();
        on_tx!(self.db, |tx| {
            let clock = tx.clock();
            let gone = on_db!(tx, execute ["DELETE FROM setting WHERE setting.tenant_id = 'default'
                AND setting.name = $2 AND setting.expires_ms <= " NOW](clock, name.as_str()))?;
            if gone > 0 { event::write(tx, &event).await } else { Ok(()) }
        })
    }
}
