//! The code blocks of docs/see-your-data.md do what the page says.

#![allow(clippy::unwrap_used, reason = "a test may fail at any step")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hubward_tests::{Device, World};
use serde_json::Value;

const PAGE: &str = include_str!("../../docs/see-your-data.md");
const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/model/tests/vectors/pybytes.json");

/// The code block whose first line names this file.
fn block(file: &str) -> &'static str {
    let blocks = PAGE.split("\n```").skip(1).step_by(2);
    let mut named = blocks.filter(|block| block.lines().nth(1).is_some_and(|line| line.ends_with(file)));
    let block = named.next().unwrap_or_else(|| panic!("the page has {file}"));
    block.split_once('\n').unwrap().1
}

/// Runs a decoder over every message of the vectors; a line for each: its id and what was decoded.
fn decoded(program: &str, folder: &Path, script: &str) -> Vec<(String, Value)> {
    let flag = if program == "node" { "-e" } else { "-c" };
    let ran = Command::new(program).args([flag, script, VECTORS]).current_dir(folder).output();
    let ran = ran.unwrap_or_else(|error| panic!("{program} runs: {error}"));
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let lines = String::from_utf8(ran.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What `body = json` sends for each message of the vectors that is a signal, by id.
fn expected() -> Vec<(String, Value)> {
    let file: Value = serde_json::from_str(&std::fs::read_to_string(VECTORS).unwrap()).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    let up =
        vectors.iter().filter(|vector| vector["direction"] == "device->server" && vector["payload_hex"].is_string());
    let decode = |vector: &Value| {
        let bytes: Vec<u8> = hex::decode(vector["payload_hex"].as_str().unwrap()).unwrap();
        let json = hubward_model::pybytes::signal_json(&bytes).unwrap_or_default();
        (vector["id"].as_str().unwrap().to_owned(), json)
    };
    up.map(decode).collect()
}

fn check(found: Vec<(String, Value)>) {
    let expected = expected();
    assert!(expected.len() > 60 && expected.iter().filter(|(_, json)| !json.is_null()).count() > 25);
    assert_eq!(found.len(), expected.len());
    for ((id, found), (expected_id, expected)) in found.into_iter().zip(expected) {
        assert_eq!(id, expected_id);
        let (a, b) = (&found["payload"], &expected["payload"]);
        let same = match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => (a - b).abs() <= f64::EPSILON * b.abs(),
            _ => a == b,
        };
        assert!(same && found["signal"] == expected["signal"], "{id}: {found}, expected {expected}");
    }
}

#[test]
#[ignore = "needs Python: scripts/test docs"]
fn the_decoder_in_python_reads_every_message_of_the_firmware() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("decode.py"), block("decode.py")).unwrap();
    let script = "
import json, math, sys
from decode import decode
def plain(found):
    if found and isinstance(found['payload'], float) and not math.isfinite(found['payload']):
        found['payload'] = None
    return found
for vector in json.load(open(sys.argv[1]))['vectors']:
    if vector['direction'] == 'device->server' and vector['payload_hex'] is not None:
        print(json.dumps([vector['id'], plain(decode(bytes.fromhex(vector['payload_hex'])))]))
";
    check(decoded("python3", folder.path(), script));
}

#[test]
#[ignore = "needs Node.js: scripts/test docs"]
fn the_decoder_in_javascript_reads_every_message_of_the_firmware() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("decode.cjs"), block("decode.cjs")).unwrap();
    let script = "
const { decode } = require('./decode.cjs');
for (const vector of JSON.parse(require('fs').readFileSync(process.argv[1], 'utf8')).vectors) {
  if (vector.direction !== 'device->server' || vector.payload_hex === null) continue;
  console.log(JSON.stringify([vector.id, decode(Buffer.from(vector.payload_hex, 'hex'))]));
}
";
    check(decoded("node", folder.path(), script));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the Node packages of tests/sdks: scripts/test docs"]
async fn the_back_end_in_node_prints_what_devices_sent() {
    let world = World::start().await.unwrap();
    let devices = world.add_devices(&["meter"]).await.unwrap();
    world.bind("lab", &["meter"]).await.unwrap();
    let mut device = Device::connect(world.server.mqtt(), &devices[0].id, &devices[0].password).await.unwrap();
    device.publish("28.1").await.unwrap();
    let id = world.hub_device_id("lab", "meter").await.unwrap();

    let file = world.server.folder().join("read.cjs");
    std::fs::write(&file, block("read.cjs")).unwrap();
    let log = world.server.folder().join("read.log");
    let mut reader = Command::new("node")
        .arg(&file)
        .env("NODE_PATH", concat!(env!("CARGO_MANIFEST_DIR"), "/sdks/node_modules"))
        .env("EVENTHUBS", world.hub.connection_string("eventhubs"))
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + hubward_tests::process::PATIENCE;
    let line = loop {
        let text = std::fs::read_to_string(&log).unwrap();
        if let Some((line, _)) = text.split_once('\n') {
            break serde_json::from_str::<Value>(line).unwrap();
        }
        if Instant::now() > deadline || reader.try_wait().unwrap().is_some() {
            let _ = reader.kill();
            panic!("the reader printed nothing: {text}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let _ = reader.kill();
    let _ = reader.wait();
    assert_eq!((line["device"].as_str(), line["topic"].as_str()), (Some(id.as_str()), Some("Temp")));
    // The SDK reads what looks like JSON as JSON.
    assert_eq!(line["body"], 28.1);
}
