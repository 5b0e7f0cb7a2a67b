//! A file of devices: checked line by line, then added.
//!
//! The answer is streamed, a line for each line of the file, with the secrets that were made: they stand there alone.
//! Who sends the same file again goes on where it ended: devices that are there already are passed over.

use std::collections::{HashMap, HashSet};

use axum::Json;
use axum::body::Body as HttpBody;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use hubward_model::DeviceKind;
use serde_json::json;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::Operate;
use crate::extract::Body;
use crate::shapes::devices::{Csv, CsvChecked, CsvLine, NewDevice};
use crate::{ApiError, Services, devices, integrations};

/// Most lines of a file.
const MAX_LINES: usize = 20_000;
/// Columns that a file may have.
const COLUMNS: [&str; 6] = ["name", "kind", "token", "username", "password", "topics"];

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Services> {
    OpenApiRouter::new().routes(routes!(check)).routes(routes!(run))
}

/// A line that was read.
struct Row {
    line: usize,
    fields: HashMap<&'static str, String>,
}

/// Check a file of devices, line by line. Nothing is added.
#[utoipa::path(post, path = "/devices/import/check", tag = "devices", request_body = Csv,
    responses((status = 200, body = CsvChecked)), security(("token" = ["operate"]), ("session" = ["operator"])))]
pub(crate) async fn check(
    State(services): State<Services>,
    _: Operate,
    Body(file): Body<Csv>,
) -> Result<Json<CsvChecked>, ApiError> {
    let (columns, rows) = read(&file.csv)?;
    let mut checker = Checker::new(&services);
    let lines: Vec<CsvLine> = rows.into_iter().map(|row| checker.check(row).0).collect();
    let count = |outcome: &str| lines.iter().filter(|line| line.outcome == outcome).count();
    Ok(Json(CsvChecked {
        columns: columns.into_iter().map(str::to_owned).collect(),
        ok: count("ok"),
        exists: count("exists"),
        refused: count("refused"),
        lines,
    }))
}

/// Add the devices of a file. The answer is streamed, a JSON object for each line, then the sums.
///
/// Sent again it goes on where it ended: devices that are there already are passed over.
#[utoipa::path(post, path = "/devices/import", tag = "devices", request_body = Csv,
    responses((status = 200, content_type = "application/x-ndjson", body = String)),
    security(("token" = ["operate"]), ("session" = ["operator"])))]
pub(crate) async fn run(
    State(services): State<Services>,
    Operate(caller): Operate,
    Body(file): Body<Csv>,
) -> Result<Response, ApiError> {
    let (_, rows) = read(&file.csv)?;
    services.audit_with(&caller, "device.import", "", json!({ "lines": rows.len() })).await;
    let checker = Checker::new(&services);
    let state = Some((services, checker, rows.into_iter(), [0usize; 3]));
    let lines = futures_util::stream::unfold(state, |state| async move {
        let (services, mut checker, mut rows, mut sums) = state?;
        // Whoever stops the server sends the file again.
        let next = if services.stop.is_cancelled() { None } else { rows.next() };
        let Some(row) = next else {
            let [added, exists, refused] = sums;
            let done = rows.len() == 0;
            let sums = json!({ "done": done, "added": added, "exists": exists, "refused": refused });
            return Some((Ok::<_, std::convert::Infallible>(format!("{sums}\n")), None));
        };
        let (mut line, new) = checker.check(row);
        if let Some(new) = new {
            add(&services, &mut line, new).await;
        }
        sums[match line.outcome.as_str() {
            "added" => 0,
            "exists" => 1,
            _ => 2,
        }] += 1;
        let text = serde_json::to_string(&line).unwrap_or_default();
        Some((Ok(format!("{text}\n")), Some((services, checker, rows, sums))))
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], HttpBody::from_stream(lines)).into_response())
}

/// Adds the device of a line.
async fn add(services: &Services, line: &mut CsvLine, new: hubward_registry::NewDevice) {
    match services.registry.add_device(new).await {
        Ok(made) => {
            integrations::device_added(services, &made.value).await;
            let credentials = devices::credentials(&made);
            line.outcome = "added".to_owned();
            line.id = Some(credentials.id);
            line.username = credentials.username;
            line.password = credentials.password;
            line.token = credentials.token;
        }
        Err(error) => {
            let problem = error.problem();
            let exists = problem.code == "name_taken";
            refuse(line, if exists { "exists" } else { "refused" }, &problem);
        }
    }
}

fn refuse(line: &mut CsvLine, outcome: &str, problem: &hubward_model::Problem) {
    line.outcome = outcome.to_owned();
    line.code = Some(problem.code.clone());
    line.message = Some(format!("{}: {}", problem.message, problem.remedy));
    line.field.clone_from(&problem.field);
}

/// Judges lines one after the other; it knows those before.
struct Checker {
    known: HashSet<String>,
    tokens: HashSet<String>,
    services: Services,
}

impl Checker {
    fn new(services: &Services) -> Self {
        let known = services.registry.choose_devices(|card| Some(card.name.to_string()));
        Self { known: known.into_iter().collect(), tokens: HashSet::new(), services: services.clone() }
    }

    /// What is to be said of a line, and the device to add if it may be.
    fn check(&mut self, mut row: Row) -> (CsvLine, Option<hubward_registry::NewDevice>) {
        let mut take = |column: &str| row.fields.remove(column).filter(|text| !text.is_empty());
        let (name, kind, token) = (take("name").unwrap_or_default(), take("kind"), take("token"));
        let mut line = CsvLine { line: row.line, name: name.clone(), ..CsvLine::default() };
        let kind = match kind.as_deref().map(str::parse::<DeviceKind>) {
            None if token.is_some() => DeviceKind::Pycom,
            None => DeviceKind::Mqtt,
            Some(Ok(kind)) => kind,
            Some(Err(_)) => {
                let problem = hubward_model::Problem::new("bad_kind", "the kind is none", "write mqtt or pycom");
                refuse(&mut line, "refused", &problem.with_field("kind"));
                return (line, None);
            }
        };
        line.kind = Some(kind);
        let wanted = NewDevice {
            name: name.clone(),
            kind: Some(kind),
            username: take("username"),
            password: take("password"),
            token: token.clone(),
            topics: take("topics")
                .map(|topics| topics.split_whitespace().map(str::to_owned).collect())
                .unwrap_or_default(),
        };
        let problem = match devices::new_device(wanted) {
            Err(error) => Some(("refused", error.problem)),
            Ok(_) if self.known.contains(&name) => {
                let message = format!("there is a device {name:?} already");
                Some((
                    "exists",
                    hubward_model::Problem::new("name_taken", message, "it is left as it is").with_field("name"),
                ))
            }
            Ok(new) => match token.as_deref().and_then(|token| self.token_problem(token)) {
                Some(problem) => Some(("refused", problem)),
                None => {
                    self.known.insert(name);
                    self.tokens.extend(token);
                    line.outcome = "ok".to_owned();
                    return (line, Some(new));
                }
            },
        };
        if let Some((outcome, problem)) = problem {
            refuse(&mut line, outcome, &problem);
        }
        (line, None)
    }

    fn token_problem(&self, token: &str) -> Option<hubward_model::Problem> {
        let problem = |code: &str, message: &str, remedy: &str| {
            Some(hubward_model::Problem::new(code, message, remedy).with_field("token"))
        };
        let is_uuid = token.len() == 36
            && token.bytes().enumerate().all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            });
        if !is_uuid {
            return problem(
                "bad_credential",
                "the token is not a UUID in text",
                "copy it from the board's configuration",
            );
        }
        if self.tokens.contains(token) {
            return problem("credential_taken", "a line before has this token", "a token belongs to one board");
        }
        if self.services.registry.device_of_token(token).is_some() {
            return problem("credential_taken", "another device has this token already", "remove that device first");
        }
        None
    }
}

/// The columns of a file and its lines. Separated by comma, semicolon or tab, whichever the first line has.
fn read(text: &str) -> Result<(Vec<&'static str>, Vec<Row>), ApiError> {
    let refused = |code: &str, message: String, remedy: &str| ApiError::bad_request(code, message, remedy).field("csv");
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let first = text.lines().next().unwrap_or_default();
    let separator =
        [',', ';', '\t'].into_iter().max_by_key(|separator| first.matches(*separator).count()).unwrap_or(',');
    let mut records = split(text, if first.contains(separator) { separator } else { ',' });
    if records.is_empty() {
        return Err(refused(
            "csv_empty",
            "the file is empty".to_owned(),
            "the first line names the columns: name,token",
        ));
    }
    let (_, header) = records.remove(0);
    let mut columns = Vec::new();
    for name in &header {
        let name = name.trim().to_ascii_lowercase();
        match COLUMNS.iter().find(|known| **known == name) {
            Some(known) if !columns.contains(known) => columns.push(*known),
            _ => {
                let message = format!("{name:?} in the first line is no column, or stands twice");
                return Err(refused("csv_column", message, "use name, kind, token, username, password, topics"));
            }
        }
    }
    if !columns.contains(&"name") {
        let message = "the first line names no column name".to_owned();
        return Err(refused("csv_column", message, "the first line names the columns, such as: name,token"));
    }
    if records.len() > MAX_LINES {
        let message = format!("the file has {} lines, at most {MAX_LINES} are taken", records.len());
        return Err(refused("csv_too_long", message, "split it"));
    }
    let rows = records.into_iter().map(|(line, fields)| Row {
        line,
        fields: columns.iter().copied().zip(fields.into_iter().map(|field| field.trim().to_owned())).collect(),
    });
    Ok((columns.clone(), rows.collect()))
}

/// The records of a CSV text (RFC 4180), each with the number of its line; empty lines are passed over.
fn split(text: &str, separator: char) -> Vec<(usize, Vec<String>)> {
    let mut records = Vec::new();
    let (mut fields, mut field, mut quoted, mut was_quoted) = (Vec::new(), String::new(), false, false);
    let (mut line, mut begun) = (1, 1);
    let mut letters = text.chars().peekable();
    let mut end_record = |fields: &mut Vec<String>, field: &mut String, begun: usize, was_quoted: &mut bool| {
        fields.push(std::mem::take(field));
        let record = std::mem::take(fields);
        if record.len() > 1 || !record[0].trim().is_empty() || *was_quoted {
            records.push((begun, record));
        }
        *was_quoted = false;
    };
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                field.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if field.is_empty() => (quoted, was_quoted) = (true, true),
            '\n' if !quoted => {
                end_record(&mut fields, &mut field, begun, &mut was_quoted);
                line += 1;
                begun = line;
            }
            '\r' if !quoted && letters.peek() == Some(&'\n') => {}
            letter if letter == separator && !quoted => fields.push(std::mem::take(&mut field)),
            letter => {
                line += usize::from(letter == '\n');
                field.push(letter);
            }
        }
    }
    if !field.is_empty() || !fields.is_empty() {
        end_record(&mut fields, &mut field, begun, &mut was_quoted);
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<(usize, String)> {
        read(text)
            .unwrap()
            .1
            .into_iter()
            .map(|mut row| (row.line, row.fields.remove("name").unwrap_or_default()))
            .collect()
    }

    #[test]
    fn a_file_is_read_whatever_separates_and_quotes() {
        assert_eq!(names("name\na\nb\n"), [(2, "a".to_owned()), (3, "b".to_owned())]);
        assert_eq!(
            names("\u{feff}token;name\r\n1;a\r\n\r\n2;\"b \"\"x\"\";y\"\r\n"),
            [(2, "a".to_owned()), (4, "b \"x\";y".to_owned())]
        );
        assert_eq!(names("name\ttoken\n\"two\nlines\"\t1\nc\t2"), [(2, "two\nlines".to_owned()), (4, "c".to_owned())]);
        let (columns, rows) = read("name,token,topics\nx,,a/+ b/#").unwrap();
        assert_eq!(columns, ["name", "token", "topics"]);
        assert_eq!(rows[0].fields["topics"], "a/+ b/#");
    }

    #[test]
    fn a_file_without_names_or_with_unknown_columns_is_refused() {
        for (text, code) in [
            ("", "csv_empty"),
            ("token\nx", "csv_column"),
            ("name,colour\nx,red", "csv_column"),
            ("name,name\na,b", "csv_column"),
        ] {
            assert_eq!(read(text).err().unwrap().problem.code, code, "{text}");
        }
        let long = format!("name\n{}", "x\n".repeat(MAX_LINES + 1));
        assert_eq!(read(&long).err().unwrap().problem.code, "csv_too_long");
    }
}
