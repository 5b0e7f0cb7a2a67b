//! Reading columns as our own types; what makes no sense there is named.

use std::fmt::Display;
use std::str::FromStr;

use hubward_model::{Epoch, MessageId, Offset, Timestamp};
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Row as _, Sqlite, Type};

use crate::Error;

/// A row of `table`, named in errors by its first column.
pub(crate) struct Row<'a> {
    pub(crate) table: &'static str,
    pub(crate) row: &'a SqliteRow,
}

impl<'a> Row<'a> {
    pub(crate) fn get<T: Decode<'a, Sqlite> + Type<Sqlite>>(&self, column: &str) -> Result<T, Error> {
        self.row.try_get(column).map_err(Error::Storage)
    }

    /// A text that is parsed.
    pub(crate) fn word<T: FromStr<Err: Display>>(&self, column: &str) -> Result<T, Error> {
        let text: &str = self.get(column)?;
        text.parse().map_err(|error: T::Err| self.corrupt(format!("{column}: {error}")))
    }

    /// A text that is parsed as JSON.
    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self, column: &str) -> Result<T, Error> {
        let text: &str = self.get(column)?;
        serde_json::from_str(text).map_err(|error| self.corrupt(format!("{column}: {error}")))
    }

    pub(crate) fn time(&self, column: &str) -> Result<Timestamp, Error> {
        Ok(Timestamp::from_millis(self.get(column)?))
    }

    pub(crate) fn optional_time(&self, column: &str) -> Result<Option<Timestamp>, Error> {
        Ok(self.get::<Option<i64>>(column)?.map(Timestamp::from_millis))
    }

    pub(crate) fn offset(&self, column: &str) -> Result<Offset, Error> {
        Ok(Offset::from_raw(self.get::<i64>(column)?.cast_unsigned()))
    }

    pub(crate) fn optional_offset(&self, column: &str) -> Result<Option<Offset>, Error> {
        Ok(self.get::<Option<i64>>(column)?.map(|raw| Offset::from_raw(raw.cast_unsigned())))
    }

    pub(crate) fn epoch(&self, column: &str) -> Result<Epoch, Error> {
        Ok(Epoch::from_raw(self.get::<i64>(column)?.cast_unsigned()))
    }

    pub(crate) fn message_id(&self, column: &str) -> Result<MessageId, Error> {
        let text: String = self.get(column)?;
        serde_json::from_value(text.into()).map_err(|error| self.corrupt(format!("{column}: {error}")))
    }

    /// A number that is never negative.
    pub(crate) fn count<T: TryFrom<i64>>(&self, column: &str) -> Result<T, Error> {
        let number: i64 = self.get(column)?;
        T::try_from(number).map_err(|_| self.corrupt(format!("{column}: {number} does not fit")))
    }

    pub(crate) fn corrupt(&self, reason: String) -> Error {
        let row = self.row.try_get::<String, _>(0).unwrap_or_default();
        Error::Corrupt { table: self.table, row, reason }
    }
}

/// A count as the database keeps it.
pub(crate) fn stored(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// An offset as the database keeps it.
pub(crate) fn stored_offset(offset: Offset) -> i64 {
    offset.to_raw().cast_signed()
}
