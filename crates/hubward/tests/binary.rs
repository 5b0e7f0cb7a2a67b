//! The real binary, started as a user starts it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A server of its own, in a folder of its own, on ports of its own.
struct Up {
    child: Child,
    folder: tempfile::TempDir,
    ports: Value,
}

fn hubward() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hubward"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HUBWARD_")) {
        command.env_remove(name);
    }
    command
}

impl Up {
    fn start(args: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::start_in(folder, args)
    }

    fn start_in(folder: tempfile::TempDir, args: &[&str]) -> Self {
        let port_file = folder.path().join("ports.json");
        let _ = fs::remove_file(&port_file);
        let mut child = hubward()
            .args(["up", "--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0", "--log", "debug"])
            .args(args)
            .arg("--data")
            .arg(folder.path().join("data"))
            .arg("--port-file")
            .arg(&port_file)
            .stdout(Stdio::piped())
            .stderr(fs::File::create(folder.path().join("log.txt")).unwrap())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while !port_file.exists() {
            assert!(child.try_wait().unwrap().is_none(), "{}", log(folder.path()));
            assert!(Instant::now() < deadline, "the server does not come up\n{}", log(folder.path()));
            std::thread::park_timeout(Duration::from_millis(10));
        }
        // It appears whole: what is there is JSON at once.
        let ports = serde_json::from_slice(&fs::read(&port_file).unwrap()).unwrap();
        Self { child, folder, ports }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, args: &[&str]) -> Output {
        hubward().args(args).arg("--data").arg(self.path("data")).output().unwrap()
    }

    fn json(&self, args: &[&str]) -> Value {
        let output = self.run(&[args, &["--json"]].concat());
        assert!(output.status.success(), "{args:?}\n{}{}", text(&output.stderr), log(self.folder.path()));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn stop(mut self) -> tempfile::TempDir {
        terminate(&self.child);
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}\n{}", log(self.folder.path()));
        self.folder
    }
}

fn terminate(child: &Child) {
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
}

fn log(folder: &Path) -> String {
    fs::read_to_string(folder.join("log.txt")).unwrap_or_default()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_demo_shows_signals_arriving_and_loses_none() {
    let output = hubward().args(["demo", "--for", "3s"]).output().unwrap();
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{shown}{}", text(&output.stderr));
    assert!(shown.contains("lost 0") && shown.contains("http://127.0.0.1:"), "{shown}");
    for device in ["kitchen", "cellar", "pycom-board"] {
        assert!(shown.lines().any(|line| line.contains(device) && line.contains("after")), "{device}\n{shown}");
    }
    assert!(!shown.contains('\u{1b}'), "plain lines without a terminal\n{shown}");
}

#[test]
fn the_demo_ends_in_order_when_interrupted_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = hubward().arg("demo").env("TMPDIR", folder.path()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("in the hub as")));
    let id = demo.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let rest: Vec<String> = lines.collect();
    assert!(demo.wait().unwrap().success());
    assert!(rest.iter().any(|line| line.starts_with("Summary: ") && line.ends_with("lost 0")), "{rest:?}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn files_with_secrets_are_for_their_owner_alone_and_beside_the_data() {
    let up = Up::start(&["--local-hub"]);
    for file in ["ports.json", "data.admin.json", "data.key", "data.local-hub/connection.json"] {
        assert_eq!(mode(&up.path(file)), 0o600, "{file}");
    }
    assert_eq!(mode(&up.path("data")), 0o700);
    let admin: Value = serde_json::from_slice(&fs::read(up.path("data.admin.json")).unwrap()).unwrap();
    assert_eq!(admin["url"], up.ports["http"]);
    for field in ["name", "host_name", "https", "amqps", "amqp", "ca_file", "connection_strings"] {
        assert!(up.ports["local_hub"].get(field).is_some(), "{field}");
    }
    up.stop();
}

#[test]
fn start_lines_say_what_listens_where() {
    let mut up = Up::start(&[]);
    let mut lines = BufReader::new(up.child.stdout.take().unwrap()).lines();
    let mut shown = String::new();
    while !shown.contains("Boards on the network") {
        shown.push_str(&lines.next().unwrap().unwrap());
        shown.push('\n');
    }
    let data = up.path("data");
    for part in [up.ports["mqtt"].as_str().unwrap(), up.ports["http"].as_str().unwrap(), data.to_str().unwrap()] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    up.stop();
}

#[test]
fn a_signal_sent_by_command_reaches_the_local_hub_and_survives_a_restart_with_the_same_ports() {
    let up = Up::start(&["--local-hub"]);
    let device = up.json(&["device", "add", "kitchen"]);
    fs::write(up.path("secret"), device["password"].as_str().unwrap()).unwrap();
    let strings = up.ports["local_hub"]["connection_strings"].clone();
    fs::write(up.path("rw"), strings["registryReadWrite"].as_str().unwrap()).unwrap();
    fs::write(up.path("events"), strings["eventhubs_tls"].as_str().unwrap()).unwrap();
    let (rw, secret) = (up.path("rw"), up.path("secret"));
    let shown = up.json(&[
        "integration",
        "add",
        "azure",
        "--name",
        "azure",
        "--connection-string-file",
        rw.to_str().unwrap(),
        "--topic",
        "Temp",
        "--device",
        "kitchen",
    ]);
    let hub_id = shown["devices"][0]["hub_device_id"].as_str().unwrap().to_owned();
    assert_eq!((shown["state"].as_str(), shown["service"].as_str()), (Some("active"), Some("azure-iot-hub")));

    let folder = up.stop();
    let up = Up::start_in(folder, &["--local-hub"]);
    assert_eq!(up.ports["local_hub"]["connection_strings"], strings, "the hub keeps its ports and keys");
    let sent =
        up.run(&["send", "kitchen", "--secret-file", secret.to_str().unwrap(), "--signal", "1", "--float", "21.5"]);
    assert!(sent.status.success(), "{}", text(&sent.stderr));
    let (events, ca) = (up.path("events"), up.path("data.local-hub/ca.pem"));
    let monitor = |more: &[&str]| {
        let output = hubward()
            .args(["hub-monitor", "--from-start", "--count", "1", "--for", "30s", "--json"])
            .args(["--connection-string-file", events.to_str().unwrap()])
            .args(more)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let event = monitor(&["--hub-ca", ca.to_str().unwrap()]);
    assert_eq!(monitor(&["--data", up.path("data").to_str().unwrap()]), event, "its own local hub is known");
    assert_eq!((event["device_id"].as_str(), event["body_base64"].as_str()), (Some(hub_id.as_str()), Some("MjEuNQ==")));
    assert_eq!(event["properties"]["topic"], "Temp");
    let tested = up.json(&["integration", "test", "azure"]);
    assert_eq!(tested[0]["accepted"], true);
    let removed = up.json(&["integration", "remove", "azure"]);
    assert_eq!((removed["deleted"].as_u64(), removed["failed"].as_array().unwrap().len()), (Some(1), 0));
    up.stop();
}

#[test]
fn a_taken_port_is_told_with_port_and_flag_in_two_lines() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let output = hubward()
        .args(["up", "--http", &address, "--mqtt", "127.0.0.1:0", "--data"])
        .arg(folder.path().join("d"))
        .output();
    let output = output.unwrap();
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(error.lines().count(), 2, "{error}");
    assert!(error.contains(&taken.local_addr().unwrap().port().to_string()) && error.contains("--http"), "{error}");
    assert!(!folder.path().join("d").exists(), "nothing is made before the ports are taken");
}

#[test]
fn a_second_server_on_the_same_data_is_refused_and_names_the_first() {
    let up = Up::start(&[]);
    let output = hubward()
        .args(["up", "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--json", "--data"])
        .arg(up.path("data"))
        .output()
        .unwrap();
    let problem: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!((output.status.code(), problem["code"].as_str()), (Some(1), Some("data_folder_in_use")));
    assert!(problem["message"].as_str().unwrap().contains(&up.child.id().to_string()), "{problem}");
    up.stop();
}

#[test]
fn a_flag_that_cannot_be_honoured_is_refused_not_ignored() {
    for (args, code) in [
        (vec!["--ws", "127.0.0.1:0"], "not_there_yet"),
        (vec!["--mqtts", "127.0.0.1:0"], "no_certificate"),
        (vec!["--http", "0.0.0.0:0"], "insecure_http"),
        (vec!["--mqtt", "somewhere"], "bad_value"),
        (vec!["--log", "=,="], "bad_value"),
        (vec!["--allow-hub", "not a host"], "bad_value"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let output = hubward()
            .args(["up", "--json", "--data"])
            .arg(folder.path().join("d"))
            .args(if args.contains(&"--mqtt") { vec![] } else { vec!["--mqtt", "127.0.0.1:0"] })
            .args(if args.contains(&"--http") { vec![] } else { vec!["--http", "127.0.0.1:0"] })
            .args(&args)
            .output()
            .unwrap();
        let problem: Value =
            serde_json::from_slice(&output.stderr).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
        assert_eq!((output.status.code(), problem["code"].as_str()), (Some(1), Some(code)), "{args:?}: {problem}");
    }
}

#[test]
fn commands_without_a_server_say_how_to_start_one() {
    let folder = tempfile::tempdir().unwrap();
    let output = hubward().args(["device", "list", "--data"]).arg(folder.path().join("d")).output().unwrap();
    let error = text(&output.stderr);
    assert_eq!((output.status.code(), error.lines().count()), (Some(1), 2));
    assert!(error.contains("hubward up"), "{error}");
    let usage = hubward().args(["devise"]).output().unwrap();
    assert_eq!(usage.status.code(), Some(2));
}

#[test]
fn over_tls_the_api_is_reached_with_the_certificate_it_was_given() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let (certificate, key) = (certificate.to_str().unwrap().to_owned(), key.to_str().unwrap().to_owned());
    let up = Up::start_in(
        folder,
        &["--https", "127.0.0.1:0", "--mqtts", "127.0.0.1:0", "--tls-cert", &certificate, "--tls-key", &key],
    );
    assert!(up.ports["mqtts"].is_string());
    let admin: Value = serde_json::from_slice(&fs::read(up.path("data.admin.json")).unwrap()).unwrap();
    let url = up.ports["https"].as_str().unwrap().replace("127.0.0.1", "localhost");
    let list = |more: &[&str]| {
        let token = admin["token"].as_str().unwrap();
        hubward().args(["device", "list", "--json", "--url", &url]).args(more).env("HUBWARD_TOKEN", token).output()
    };
    let trusted = list(&["--ca", &certificate]).unwrap();
    assert!(trusted.status.success(), "{}", text(&trusted.stderr));
    let untrusted = list(&[]).unwrap();
    assert_eq!(untrusted.status.code(), Some(1), "a certificate nobody vouches for is refused");
    up.stop();
}

#[test]
fn a_connection_that_stays_open_does_not_hold_up_the_stop() {
    let up = Up::start(&[]);
    let http = up.ports["http"].as_str().unwrap().trim_start_matches("http://").to_owned();
    let idle: Vec<TcpStream> =
        [http.as_str(), up.ports["mqtt"].as_str().unwrap()].iter().map(|a| TcpStream::connect(a).unwrap()).collect();
    up.stop();
    drop(idle);
}
