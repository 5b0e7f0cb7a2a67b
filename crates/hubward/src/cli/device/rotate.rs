//! `hubward device rotate`: a new secret for one device, or for many.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use hubward_api::shapes::devices::{Credentials, DeviceRow, Rotate, Rotated};
use reqwest::Method;
use serde_json::json;

use super::{Client, Failure, output, path, print_credentials, secrets};

/// Devices of one request. Secrets that were made stand in its answer alone, so they are written before the next one.
const AT_A_TIME: usize = 100;
/// The columns of the file, as the console's has them.
const HEAD: &str = "name,id,kind,username,password,token,old_until\r\n";

pub(super) const EXAMPLES: &str = "\
One device: prints what to put on it, as 'device add' does. Many: prints CSV, a line each
(name,id,kind,username,password,token,old_until), or writes it with --out, part by part.

Hubward keeps only hashes of secrets: one that is lost is rotated once more.
Without --overlap a device must get its new secret before it can connect again.
With it both count meanwhile; what a device opened with the old one is closed at the end.

Examples:
  hubward device rotate kitchen
  hubward device rotate kitchen --overlap 24h
  hubward device rotate kitchen hall cellar --out secrets.csv
  hubward device rotate --all --overlap 7d --out secrets.csv
  hubward device rotate --integration plant --kind pycom --overlap 24h --out secrets.csv
  hubward device rotate --from-file lost-boards.txt --json";

#[derive(Debug, Args)]
pub(super) struct RotateArgs {
    /// Names or ids
    #[arg(value_name = "NAME", required_unless_present_any = ["all", "from_file", "search", "kind", "integration", "state"])]
    names: Vec<String>,
    /// Every device
    #[arg(long, conflicts_with_all = ["names", "from_file", "search", "kind", "integration", "state"])]
    all: bool,
    /// Those that this file names, by name or id, one a line; '-' reads standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["names", "search", "kind", "integration", "state"])]
    from_file: Option<PathBuf>,
    /// Those whose name or id holds this
    #[arg(long, value_name = "TEXT", conflicts_with = "names")]
    search: Option<String>,
    /// Those of this kind
    #[arg(long, value_parser = ["mqtt", "pycom"], conflicts_with = "names")]
    kind: Option<String>,
    /// Those of this integration
    #[arg(long, value_name = "NAME", conflicts_with = "names")]
    integration: Option<String>,
    /// Those in this state
    #[arg(long, value_parser = ["connected", "late", "idle", "never_seen", "refused"], conflicts_with = "names")]
    state: Option<String>,
    /// The old secrets count for so long beside the new ones, at most 30d; what they opened is closed then
    #[arg(long, value_name = "DURATION", value_parser = crate::units::duration)]
    overlap: Option<Duration>,
    /// Write the new secrets into this new file, as CSV that only you can read, instead of printing them
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) async fn run(client: &Client, args: RotateArgs, json: bool) -> Result<(), Failure> {
    let overlap = args.overlap.unwrap_or_default();
    let overlap = overlap.as_secs() + u64::from(overlap.subsec_nanos() > 0);
    if let ([name], None) = (args.names.as_slice(), &args.out) {
        return one(client, name, overlap, json).await;
    }
    let chosen = chosen(client, &args).await?;
    if chosen.is_empty() {
        let remedy = "see which there are: hubward device list";
        return Err(Failure::new("no_devices", "no device is chosen by that", remedy));
    }
    many(client, &chosen, overlap, args.out.as_deref(), json).await
}

async fn one(client: &Client, name: &str, overlap: u64, json: bool) -> Result<(), Failure> {
    let made: Credentials = client.post(&format!("{}/rotate?overlap={overlap}", path(name))).await?;
    print_credentials(client, &made, json).await?;
    match made.old_until {
        Some(until) if !json => output::line(&format!("\nThe old secret counts until {until}.")),
        _ => Ok(()),
    }
}

/// Ids of the devices that are meant, each once; a name that is nobody's is told before any secret is made.
async fn chosen(client: &Client, args: &RotateArgs) -> Result<Vec<String>, Failure> {
    let names = match &args.from_file {
        Some(file) => named_in(file)?,
        None => args.names.clone(),
    };
    let filters =
        [("q", &args.search), ("kind", &args.kind), ("integration", &args.integration), ("state", &args.state)];
    let filters: Vec<(&str, String)> =
        filters.into_iter().filter_map(|(field, value)| Some((field, value.clone()?))).collect();
    let rows: Vec<DeviceRow> = client.all_of("/api/v1/devices", &filters).await?;
    if names.is_empty() {
        return Ok(rows.into_iter().map(|row| row.id.to_string()).collect());
    }
    found(&names, &rows)
}

fn found(names: &[String], rows: &[DeviceRow]) -> Result<Vec<String>, Failure> {
    let ids = rows.iter().map(|row| (row.id.as_str(), row.id.as_str()));
    let known: HashMap<&str, &str> = ids.chain(rows.iter().map(|row| (row.name.as_str(), row.id.as_str()))).collect();
    let mut chosen = Vec::with_capacity(names.len());
    let mut once = HashSet::new();
    for name in names {
        let Some(id) = known.get(name.as_str()) else {
            let remedy = "no secret was changed; see which there are: hubward device list";
            return Err(Failure::new("not_found", format!("there is no device {name:?}"), remedy));
        };
        // Named twice, its first new secret would count for nothing.
        if once.insert(*id) {
            chosen.push((*id).to_owned());
        }
    }
    Ok(chosen)
}

/// A name or id on each line.
fn named_in(file: &Path) -> Result<Vec<String>, Failure> {
    let text = secrets::read_long_text(file, "list of devices")?;
    let names: Vec<String> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if names.is_empty() {
        return Err(Failure::new("no_devices", "the list names no device", "write a name or an id on each line"));
    }
    Ok(names)
}

async fn many(client: &Client, chosen: &[String], overlap: u64, out: Option<&Path>, json: bool) -> Result<(), Failure> {
    let mut file = out.map(Sheet::create).transpose()?;
    let mut all = Rotated::default();
    if file.is_none() && !json {
        output::part(HEAD)?;
    }
    for part in chosen.chunks(AT_A_TIME) {
        let wanted = Rotate { devices: part.to_vec(), overlap: Some(overlap) };
        let answer: Result<Rotated, Failure> =
            client.send(Method::POST, "/api/v1/device-credentials/rotate", &wanted).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(failure) if all.rotated.is_empty() => {
                if let Some(file) = file {
                    file.drop_empty();
                }
                return Err(failure);
            }
            // What was made must be seen all the same.
            Err(failure) => return Err(ended(&all, chosen.len(), failure, json && out.is_none())),
        };
        let lines: String = answer.rotated.iter().map(line).collect();
        match &mut file {
            Some(file) => file.add(&lines)?,
            None if json => {}
            None => output::part(&lines).map_err(|_| closed(all.rotated.len(), chosen.len()))?,
        }
        all.rotated.extend(answer.rotated);
        all.failed.extend(answer.failed);
    }
    let until = all.rotated.iter().find_map(|one| one.old_until);
    if let (true, Some(path)) = (json, out) {
        // The secrets are in the file, and nowhere else.
        let told = json!({ "file": path, "rotated": all.rotated.len(), "failed": all.failed, "old_until": until });
        output::json(&told)?;
    } else if json {
        output::json(&all)?;
    } else if let Some(path) = out {
        let until = until.map_or_else(String::new, |until| format!(" The old ones count until {until}."));
        output::line(&format!(
            "{} new secrets are in {}, which only you can read.{until}",
            all.rotated.len(),
            path.display()
        ))?;
    }
    if all.failed.is_empty() {
        return Ok(());
    }
    if !json {
        for one in &all.failed {
            eprintln!("not rotated: {}: {}", one.id, one.message);
        }
    }
    Err(Failure::said())
}

/// Nobody reads the secrets any more.
fn closed(written: usize, of: usize) -> Failure {
    let message = format!("the output was closed after {written} of {of} new secrets");
    Failure::new(
        "output_closed",
        message,
        "rotate again those that were not written; --out FILE writes them into a file",
    )
}

/// A part of the devices could not be rotated after others were.
fn ended(all: &Rotated, of: usize, failure: Failure, json: bool) -> Failure {
    if json && output::json(all).is_err() {
        return failure;
    }
    let Some(problem) = failure.problem else { return Failure::said() };
    let message = format!("{} of {of} devices have new secrets, then: {}", all.rotated.len(), problem.message);
    Failure::new(&problem.code, message, format!("keep what was written; {}", problem.remedy))
}

/// A line of the file, quoted where a field needs it.
fn line(made: &Credentials) -> String {
    let field = |text: &str| match text.contains([',', '"', '\r', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    };
    let fields = [
        made.name.clone(),
        made.id.to_string(),
        made.kind.to_string(),
        made.username.clone().unwrap_or_default(),
        made.password.clone().unwrap_or_default(),
        made.token.clone().unwrap_or_default(),
        made.old_until.map(|until| until.to_string()).unwrap_or_default(),
    ];
    format!("{}\r\n", fields.map(|text| field(&text)).join(","))
}

/// The file that secrets are written into.
struct Sheet {
    file: File,
    path: PathBuf,
}

impl Sheet {
    /// A new file that only its owner can read. One that is there already may hold secrets that nobody has elsewhere.
    fn create(path: &Path) -> Result<Self, Failure> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path).map_err(|error| {
            let message = format!("{} cannot be made: {error}", path.display());
            let remedy = "no secret was changed; name a file that is not there yet, in a folder you may write to";
            Failure::new("file_unwritable", message, remedy)
        })?;
        let mut sheet = Self { file, path: path.to_owned() };
        sheet.add(HEAD)?;
        Ok(sheet)
    }

    /// Adds lines, and has them on disk.
    fn add(&mut self, lines: &str) -> Result<(), Failure> {
        self.file.write_all(lines.as_bytes()).and_then(|()| self.file.sync_all()).map_err(|error| {
            let message = format!("{} cannot be written: {error}", self.path.display());
            let remedy = "free some room, then rotate again those devices that are not in the file";
            Failure::new("file_unwritable", message, remedy)
        })
    }

    /// Takes a file away that holds no secret.
    fn drop_empty(self) {
        drop(self.file);
        // It holds only its head, and the command tells what went wrong.
        let _ = std::fs::remove_file(self.path);
    }
}

#[cfg(test)]
mod tests {
    use hubward_model::DeviceKind;

    use super::*;

    #[test]
    fn a_line_is_quoted_where_a_name_needs_it() {
        let made = Credentials {
            id: "k2m9x7qb0swz436b".parse().unwrap(),
            name: "hall, \"north\"".to_owned(),
            kind: DeviceKind::Mqtt,
            username: Some("hall".to_owned()),
            password: Some("s3cret".to_owned()),
            token: None,
            old_until: None,
        };
        assert_eq!(line(&made), "\"hall, \"\"north\"\"\",k2m9x7qb0swz436b,mqtt,hall,s3cret,,\r\n");
        assert_eq!(line(&made).matches(',').count(), HEAD.matches(',').count() + 1);
    }

    #[test]
    fn a_file_that_is_there_is_left_as_it_is_and_a_new_one_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secrets.csv");
        let mut sheet = Sheet::create(&path).unwrap();
        sheet.add("a\r\n").unwrap();
        assert_eq!(Sheet::create(&path).err().unwrap().problem.unwrap().code, "file_unwritable");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{HEAD}a\r\n"));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_list_has_a_name_on_each_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list.txt");
        std::fs::write(&path, "kitchen window\r\n\n  k2m9x7qb0swz436b \n").unwrap();
        assert_eq!(named_in(&path).unwrap(), ["kitchen window", "k2m9x7qb0swz436b"]);
        std::fs::write(&path, "\n").unwrap();
        assert_eq!(named_in(&path).unwrap_err().problem.unwrap().code, "no_devices");
    }

    #[test]
    fn a_device_that_is_named_twice_gets_one_new_secret() {
        let row = |id: &str, name: &str| {
            let row =
                json!({ "id": id, "name": name, "kind": "mqtt", "connected": false, "last_seen": null, "signals": 0 });
            serde_json::from_value::<DeviceRow>(row).unwrap()
        };
        let rows = [row("k2m9x7qb0swz436b", "kitchen"), row("a1b2c3d4e5f6g7h8", "hall")];
        let named = |names: &[&str]| found(&names.iter().map(ToString::to_string).collect::<Vec<_>>(), &rows);
        assert_eq!(
            named(&["kitchen", "hall", "k2m9x7qb0swz436b", "hall"]).unwrap(),
            ["k2m9x7qb0swz436b", "a1b2c3d4e5f6g7h8"]
        );
        assert_eq!(named(&["kitchen", "attic"]).unwrap_err().problem.unwrap().code, "not_found");
    }
}
