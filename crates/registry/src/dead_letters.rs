//! Dead letters: signals that can never be delivered as they are, with why and all it takes to send them again.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use hubward_model::{DeviceId, Draft, Epoch, IntegrationId, Kind, Message, MessageId, Offset, Qos, Record, Timestamp};
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection as _, QueryBuilder, Sqlite};

use crate::row::{Row, stored_offset};
use crate::{Error, Registry, random};

/// Most dead letters of one page.
pub const MAX_PAGE: u32 = 1000;

/// A dead letter to add.
#[derive(Debug, Clone)]
pub struct NewDeadLetter {
    /// The integration it could not be delivered for.
    pub integration: IntegrationId,
    /// The device it is from.
    pub device: DeviceId,
    /// Its message id at the hub.
    pub message_id: MessageId,
    /// A word for the reason, to group by.
    pub code: String,
    /// Why, in our words.
    pub reason: String,
    /// What the hub said.
    pub hub_error: Option<String>,
    /// How often it was sent.
    pub attempts: u32,
    /// When it was given up.
    pub at: Timestamp,
    /// The record as the journal has it.
    pub record: Record,
}

/// A dead letter, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its id.
    pub id: String,
    /// The integration it could not be delivered for.
    pub integration: IntegrationId,
    /// The device it is from.
    pub device: DeviceId,
    /// Where its record stands in the journal.
    pub offset: Offset,
    /// The epoch of the record.
    pub epoch: Epoch,
    /// Its message id at the hub.
    pub message_id: MessageId,
    /// A word for the reason, to group by.
    pub code: String,
    /// Why, in our words.
    pub reason: String,
    /// What the hub said.
    pub hub_error: Option<String>,
    /// How often it was sent.
    pub attempts: u32,
    /// When it was given up.
    pub at: Timestamp,
    /// Bytes of its payload.
    pub size: u64,
}

/// Which dead letters; what is `None` does not matter.
#[derive(Debug, Clone, Default)]
pub struct DeadLetterFilter {
    /// Of these ids.
    pub ids: Option<Vec<String>>,
    /// Of this integration.
    pub integration: Option<IntegrationId>,
    /// Of this device.
    pub device: Option<DeviceId>,
    /// With this code.
    pub code: Option<String>,
    /// Given up at this time or after it.
    pub since: Option<Timestamp>,
    /// Given up before this time.
    pub until: Option<Timestamp>,
    /// The newest first, for pages alone; `after` is then what they come before.
    pub newest_first: bool,
    /// After this one: time and id of the last of the page before.
    pub after: Option<(Timestamp, String)>,
    /// At most so many, and at most [`MAX_PAGE`]. It counts for pages alone, not for removing.
    pub limit: Option<u32>,
}

/// Dead letters of one integration with one code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterGroup {
    /// The integration.
    pub integration: IntegrationId,
    /// The word for the reason.
    pub code: String,
    /// How many.
    pub number: u64,
    /// When the latest was given up.
    pub latest_at: Timestamp,
}

impl Registry {
    /// Adds dead letters, all or none, and answers their ids when they are on disk. One that is there already (the same
    /// message of the same lane) is brought up to date instead. Those whose binding is gone are skipped: they answer
    /// an empty id.
    ///
    /// # Errors
    /// When the database fails: then it is unknown whether they were added; add them again.
    pub async fn add_dead_letters(&self, letters: &[NewDeadLetter]) -> Result<Vec<String>, Error> {
        let mut writer = self.writer().await;
        let mut tx = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
        let mut ids = Vec::with_capacity(letters.len());
        for letter in letters {
            ids.push(insert(&mut tx, letter).await?);
        }
        tx.commit().await?;
        Ok(ids)
    }

    /// A page of dead letters, the oldest first if not asked otherwise.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn dead_letters(&self, filter: &DeadLetterFilter) -> Result<Vec<DeadLetter>, Error> {
        let mut query = QueryBuilder::new(
            "SELECT id, integration, device, message_id, code, reason, hub_error, attempts, at, record_offset, epoch, \
             size FROM dead_letters",
        );
        push_conditions(&mut query, filter);
        query.push(if filter.newest_first { " ORDER BY at DESC, id DESC LIMIT " } else { " ORDER BY at, id LIMIT " });
        query.push_bind(i64::from(filter.limit.unwrap_or(MAX_PAGE).min(MAX_PAGE)));
        let rows = query.build().fetch_all(self.readers()).await?;
        rows.iter().map(read).collect()
    }

    /// One dead letter, with the record to send again.
    ///
    /// # Errors
    /// When there is none of this id.
    pub async fn dead_letter(&self, id: &str) -> Result<(DeadLetter, Record), Error> {
        let select = sqlx::query("SELECT * FROM dead_letters WHERE id = $1").bind(id);
        let row = select.fetch_optional(self.readers()).await?;
        let row = row.ok_or_else(|| Error::NotFound { what: "dead letter", name: id.to_owned() })?;
        Ok((read(&row)?, read_record(&row)?))
    }

    /// The dead letter that a record of a device became for an integration.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn dead_letter_at(
        &self,
        integration: &IntegrationId,
        device: &DeviceId,
        offset: Offset,
    ) -> Result<Option<DeadLetter>, Error> {
        let sql = "SELECT * FROM dead_letters WHERE integration = $1 AND device = $2 AND record_offset = $3 LIMIT 1";
        let select = sqlx::query(sql).bind(integration.as_str()).bind(device.as_str()).bind(stored_offset(offset));
        select.fetch_optional(self.readers()).await?.as_ref().map(read).transpose()
    }

    /// Removes dead letters and answers how many. A filter without conditions removes all.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn remove_dead_letters(&self, filter: &DeadLetterFilter) -> Result<u64, Error> {
        let mut query = QueryBuilder::new("DELETE FROM dead_letters");
        push_conditions(&mut query, filter);
        Ok(query.build().execute(&mut *self.writer().await.connection).await?.rows_affected())
    }

    /// How many dead letters there are, by integration and code.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn dead_letter_groups(&self) -> Result<Vec<DeadLetterGroup>, Error> {
        let sql = "SELECT integration, code, number, latest_at FROM dead_letter_counts \
                   ORDER BY number DESC, integration, code";
        let rows = sqlx::query(sql).fetch_all(self.readers()).await?;
        let group = |row| {
            let row = Row { table: "dead_letter_counts", row };
            Ok(DeadLetterGroup {
                integration: row.word("integration")?,
                code: row.get("code")?,
                number: row.count("number")?,
                latest_at: row.time("latest_at")?,
            })
        };
        rows.iter().map(group).collect()
    }

    /// Which of these records of a device are dead letters of an integration.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn buried(
        &self,
        integration: &IntegrationId,
        device: &DeviceId,
        offsets: &[Offset],
    ) -> Result<HashSet<Offset>, Error> {
        let mut query = QueryBuilder::new("SELECT record_offset FROM dead_letters WHERE integration = ");
        query.push_bind(integration.as_str().to_owned());
        query.push(" AND device = ").push_bind(device.as_str().to_owned()).push(" AND record_offset IN (-1");
        for offset in offsets {
            query.push(", ").push_bind(stored_offset(*offset));
        }
        query.push(")");
        let rows = query.build().fetch_all(self.readers()).await?;
        rows.iter().map(|row| Row { table: "dead_letters", row }.offset("record_offset")).collect()
    }

    /// The records of a device from an offset on that are dead letters of an integration.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn buried_from(
        &self,
        integration: &IntegrationId,
        device: &DeviceId,
        from: Offset,
    ) -> Result<HashSet<Offset>, Error> {
        let rows = sqlx::query(
            "SELECT record_offset FROM dead_letters WHERE integration = $1 AND device = $2 AND record_offset >= $3",
        )
        .bind(integration.as_str())
        .bind(device.as_str())
        .bind(stored_offset(from))
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(|row| Row { table: "dead_letters", row }.offset("record_offset")).collect()
    }

    /// How many dead letters each device of an integration has.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn dead_letter_counts(&self, integration: &IntegrationId) -> Result<HashMap<DeviceId, u64>, Error> {
        let sql = "SELECT device, COUNT(*) AS number FROM dead_letters WHERE integration = $1 GROUP BY device";
        let rows = sqlx::query(sql).bind(integration.as_str()).fetch_all(self.readers()).await?;
        let count = |row| {
            let row = Row { table: "dead_letters", row };
            Ok((row.word("device")?, row.count("number")?))
        };
        rows.iter().map(count).collect()
    }
}

async fn insert(tx: &mut sqlx::Transaction<'_, Sqlite>, letter: &NewDeadLetter) -> Result<String, Error> {
    let record = &letter.record;
    let message = &record.message;
    let id = sqlx::query_scalar(
        "INSERT INTO dead_letters (id, integration, device, message_id, reason, hub_error, attempts, at, \
         record_offset, epoch, received_at, kind, only_for, topic, qos, retain, content_type, user_properties, size, \
         note, payload, code) \
         SELECT $1, integration, device, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, \
         $20, $21, $22 FROM bindings WHERE integration = $2 AND device = $3 \
         ON CONFLICT (integration, device, message_id) DO UPDATE SET code = excluded.code, reason = excluded.reason, \
         hub_error = excluded.hub_error, attempts = excluded.attempts, at = excluded.at RETURNING id",
    )
    .bind(random::id())
    .bind(letter.integration.as_str())
    .bind(letter.device.as_str())
    .bind(letter.message_id.as_str())
    .bind(&letter.reason)
    .bind(&letter.hub_error)
    .bind(i64::from(letter.attempts))
    .bind(letter.at.as_millis())
    .bind(stored_offset(record.offset))
    .bind(record.epoch.to_raw().cast_signed())
    .bind(record.received_at.as_millis())
    .bind(kind_word(record.kind))
    .bind(record.only_for.as_ref().map(IntegrationId::as_str))
    .bind(&message.topic)
    .bind(i64::from(u8::from(message.qos)))
    .bind(message.retain)
    .bind(&message.content_type)
    .bind(serde_json::json!(message.user_properties).to_string())
    .bind(message.payload.len() as i64)
    .bind(record.note.as_ref())
    .bind(message.payload.as_ref())
    .bind(&letter.code)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(id.unwrap_or_default())
}

fn push_conditions(query: &mut QueryBuilder<Sqlite>, filter: &DeadLetterFilter) {
    let mut word = " WHERE ";
    if let Some(ids) = &filter.ids {
        // The empty text is no id; it makes the list of none a list.
        query.push(word).push("id IN (''");
        for id in ids {
            query.push(", ").push_bind(id.clone());
        }
        query.push(")");
        word = " AND ";
    }
    if let Some(integration) = &filter.integration {
        query.push(word).push("integration = ").push_bind(integration.as_str().to_owned());
        word = " AND ";
    }
    if let Some(device) = &filter.device {
        query.push(word).push("device = ").push_bind(device.as_str().to_owned());
        word = " AND ";
    }
    if let Some(code) = &filter.code {
        query.push(word).push("code = ").push_bind(code.clone());
        word = " AND ";
    }
    if let Some(since) = filter.since {
        query.push(word).push("at >= ").push_bind(since.as_millis());
        word = " AND ";
    }
    if let Some(until) = filter.until {
        query.push(word).push("at < ").push_bind(until.as_millis());
        word = " AND ";
    }
    if let Some((at, id)) = &filter.after {
        let than = if filter.newest_first { "(at, id) < (" } else { "(at, id) > (" };
        query.push(word).push(than).push_bind(at.as_millis());
        query.push(", ").push_bind(id.clone()).push(")");
    }
}

fn read(row: &SqliteRow) -> Result<DeadLetter, Error> {
    let row = Row { table: "dead_letters", row };
    Ok(DeadLetter {
        id: row.get("id")?,
        integration: row.word("integration")?,
        device: row.word("device")?,
        offset: row.offset("record_offset")?,
        epoch: row.epoch("epoch")?,
        message_id: row.message_id("message_id")?,
        code: row.get("code")?,
        reason: row.get("reason")?,
        hub_error: row.get("hub_error")?,
        attempts: row.count("attempts")?,
        at: row.time("at")?,
        size: row.count("size")?,
    })
}

fn read_record(row: &SqliteRow) -> Result<Record, Error> {
    let row = Row { table: "dead_letters", row };
    let only_for: Option<&str> = row.get("only_for")?;
    let only_for = only_for.map(str::parse).transpose().map_err(|error| row.corrupt(format!("only_for: {error}")))?;
    let qos = Qos::try_from(row.count::<u8>("qos")?).map_err(|error| row.corrupt(error.to_string()))?;
    let message = Message {
        topic: row.get("topic")?,
        payload: Bytes::from(row.get::<Vec<u8>>("payload")?),
        qos,
        retain: row.get("retain")?,
        content_type: row.get("content_type")?,
        user_properties: row.json("user_properties")?,
    };
    let draft = Draft {
        kind: kind_of(row.get("kind")?).ok_or_else(|| row.corrupt("kind: unknown".to_owned()))?,
        received_at: row.time("received_at")?,
        device: Some(row.word("device")?),
        only_for,
        message,
        note: Bytes::from(row.get::<Vec<u8>>("note")?),
    };
    Ok(Record { offset: row.offset("record_offset")?, epoch: row.epoch("epoch")?, draft })
}

const KINDS: [(Kind, &str); 4] =
    [(Kind::Signal, "signal"), (Kind::System, "system"), (Kind::Command, "command"), (Kind::Session, "session")];

fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Signal => KINDS[0].1,
        Kind::System => KINDS[1].1,
        Kind::Command => KINDS[2].1,
        Kind::Session => KINDS[3].1,
    }
}

fn kind_of(word: &str) -> Option<Kind> {
    KINDS.iter().find(|(_, known)| *known == word).map(|(kind, _)| *kind)
}

#[cfg(test)]
mod tests;
