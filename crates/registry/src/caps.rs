//! How many there may be of what people make one by one. Lists of them are read whole, so their number bounds the read.

use sqlx::sqlite::SqliteConnection;

use crate::Error;

/// Most integrations.
pub const MAX_INTEGRATIONS: u64 = 1_000;
/// Most users.
pub const MAX_USERS: u64 = 1_000;
/// Most API tokens.
pub const MAX_TOKENS: u64 = 1_000;

/// Refuses one more where there are as many as there may be. `count` is the statement that counts them.
pub(crate) async fn check(
    connection: &mut SqliteConnection,
    count: &'static str,
    what: &'static str,
    most: u64,
) -> Result<(), Error> {
    let count: i64 = sqlx::query_scalar(count).fetch_one(connection).await?;
    if count.unsigned_abs() >= most { Err(Error::TooMany { what, most }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use hubward_model::Timestamp;
    use secrecy::SecretString;

    use super::{MAX_INTEGRATIONS, MAX_TOKENS, MAX_USERS};
    use crate::testing::{device, integration, registry};
    use crate::{Error, NewIntegration, Role, Settings};

    #[tokio::test]
    async fn of_what_is_listed_whole_there_are_never_more_than_a_thousand() {
        let (registry, _folder) = registry().await;
        let board = device(&registry, "board").await;
        integration(&registry, "azure", &[(&board, "board-1")]).await;
        registry.add_user("ada", &SecretString::from("long enough"), Role::Admin).await.unwrap();
        registry.create_token("first", &[], None).await.unwrap();
        {
            let mut writer = registry.writer().await;
            let many = "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 999) ";
            for (table, names) in
                [("users", &["name"][..]), ("api_tokens", &["id", "name", "digest"]), ("integrations", &["id", "name"])]
            {
                let columns: Vec<(String,)> = sqlx::query_as("SELECT name FROM pragma_table_info($1)")
                    .bind(table)
                    .fetch_all(&mut *writer.connection)
                    .await
                    .unwrap();
                let columns: Vec<String> = columns.into_iter().map(|(name,)| name).collect();
                let copied = columns.iter().map(|column| {
                    if names.contains(&column.as_str()) {
                        format!("'copy-' || i AS {column}")
                    } else {
                        format!("t.{column}")
                    }
                });
                let sql = format!(
                    "{many} INSERT INTO {table} ({}) SELECT {} FROM {table} t, n",
                    columns.join(", "),
                    copied.collect::<Vec<_>>().join(", ")
                );
                sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut *writer.connection).await.unwrap();
            }
        }
        let most = |error: Error| match error {
            Error::TooMany { what, most } => (what, most),
            other => panic!("{other}"),
        };
        let user = registry.add_user("grace", &SecretString::from("long enough"), Role::Viewer).await;
        assert_eq!(most(user.unwrap_err()), ("users", MAX_USERS));
        let token = registry.create_token("one more", &[], Some(Timestamp::now())).await;
        assert_eq!(most(token.unwrap_err()), ("tokens", MAX_TOKENS));
        let new = NewIntegration {
            name: "one-more".parse().unwrap(),
            host_name: "contoso.azure-devices.net".to_owned(),
            policy: "p".to_owned(),
            connection_string: SecretString::from("HostName=contoso.azure-devices.net"),
            settings: Settings::new("t".parse().unwrap()),
        };
        let one = registry.add_integration(new, Vec::new()).await;
        assert_eq!(most(one.unwrap_err()), ("integrations", MAX_INTEGRATIONS));
    }
}
