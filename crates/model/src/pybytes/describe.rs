//! A payload in words, for people: what a console shows of frames that go nowhere.

use serde_json::{Map, Value as Json, json};

use super::files::FileAnswer;
use super::frame::{Body, Frame, Header, Malformed, Reason, decode};
use super::info::{Info, InfoTail, ScanInfo};
use super::signals::{ANALOG, DIGITAL, Pins, SIGNAL, Signal, TERMINAL, Value};

/// What a payload from a device is, as JSON with a word for everything; what is wrong with it under `malformed`.
#[must_use]
pub fn describe(payload: &[u8]) -> Json {
    let mut out = Map::new();
    match decode(payload) {
        Ok(frame) => of_frame(&frame, &mut out),
        Err(malformed) => of_malformed(&malformed, &mut out),
    }
    Json::Object(out)
}

fn of_frame(frame: &Frame<'_>, out: &mut Map<String, Json>) {
    of_header(frame.header, out);
    match &frame.body {
        Body::Ping(rest) | Body::Pong(rest) if rest.is_empty() => {}
        Body::Ping(rest) | Body::Pong(rest) => put(out, "extra_body_hex", hex(rest)),
        Body::Info(info) => of_info(info, out),
        Body::NetworkInfo { mac, ip } => {
            put(out, "mac", address(mac));
            put(out, "ip", std::net::Ipv4Addr::from(*ip).to_string());
        }
        Body::ScanInfo(scan) => of_scan(scan, out),
        Body::Battery(level) => put(out, "level", *level),
        Body::Ota(result) => {
            put(out, "result", *result);
            let meanings = ["failed", "already newest", "done, the device restarts"];
            put(out, "meaning", *meanings.get(usize::from(*result)).unwrap_or(&"unknown"));
        }
        Body::Files(answer) => of_files(answer, out),
        Body::User(rest) | Body::Other(rest) => put(out, "body_hex", hex(rest)),
        Body::Pymesh(pins) | Body::Pybytes(pins) => of_pins(pins, out),
    }
}

fn of_header(header: Header, out: &mut Map<String, Json>) {
    put(out, "network", header.network.name());
    put(out, "type", header.frame_type.name());
    put(out, "type_code", header.frame_type.code());
    if header.legacy {
        put(out, "legacy_system_bit", true);
        put(out, "persistent_bit", header.persistent);
    }
}

fn of_info(info: &Info, out: &mut Map<String, Json>) {
    put(out, "device", info.device_name());
    put(out, "firmware", info.firmware.to_string());
    if let InfoTail::Protocol(protocol) = info.tail {
        put(out, "protocol", protocol);
    }
    if let Some(release) = info.app_release() {
        put(out, "app_release", release);
    }
    if let Some(kind) = info.firmware_type() {
        put(out, "fw_type", kind);
    }
}

fn of_scan(scan: &ScanInfo, out: &mut Map<String, Json>) {
    let networks = scan.networks.iter();
    let networks =
        networks.map(|seen| json!({ "bssid": address(&seen.bssid), "channel": seen.channel, "rssi": seen.rssi }));
    put(out, "networks", networks.collect::<Json>());
    if let Some(rssi) = scan.lora_rssi {
        put(out, "lora_rssi", rssi);
    }
}

fn of_files(answer: &FileAnswer<'_>, out: &mut Map<String, Json>) {
    match answer {
        FileAnswer::Hierarchy(_) => {
            put(out, "kind", "hierarchy");
            put(out, "paths", answer.paths().collect::<Json>());
        }
        FileAnswer::File { path, size, content } => {
            put(out, "kind", "file");
            put(out, "path", *path);
            put(out, "size", *size);
            put(out, "content", *content);
        }
        FileAnswer::Activity(activity) => {
            put(out, "kind", "ping");
            put(out, "activity", *activity);
        }
    }
}

fn of_pins(pins: &Pins<'_>, out: &mut Map<String, Json>) {
    match pins {
        Pins::Signal(signal) => {
            of_pin(SIGNAL, signal.number, out);
            of_signal(signal, out);
        }
        Pins::Terminal(text) => {
            of_pin(SIGNAL, TERMINAL, out);
            put(out, "text", *text);
        }
        Pins::Digital { pin, value } => {
            of_pin(DIGITAL, *pin, out);
            put(out, "value", *value);
        }
        Pins::Analog { pin, value } => {
            of_pin(ANALOG, *pin, out);
            put(out, "value", *value);
        }
        Pins::Other { command, pin, rest } => {
            of_pin(*command, *pin, out);
            put(out, "body_hex", hex(rest));
        }
    }
}

fn of_pin(command: u8, pin: u8, out: &mut Map<String, Json>) {
    put(out, "command", command);
    put(out, "pin", pin);
    let kind = match (command, pin) {
        (SIGNAL, TERMINAL) => "terminal",
        (SIGNAL, _) => "signal",
        (DIGITAL, _) => "digital pin",
        (ANALOG, _) => "analog pin",
        _ => "unknown",
    };
    put(out, "kind", kind);
    if kind == "signal" {
        put(out, "signal", pin);
    }
}

fn of_signal(signal: &Signal<'_>, out: &mut Map<String, Json>) {
    let legacy = out.contains_key("legacy_system_bit");
    match signal.value {
        Value::Int(value) => {
            put(out, "value_type", "int");
            put(out, "value", value);
        }
        Value::Float(value) => {
            put(out, "value_type", "float");
            put(out, "value", number(value));
        }
        Value::Text(value) => {
            put(out, "value_type", if legacy { "string (no trailer)" } else { "string" });
            put(out, "value", value);
        }
        Value::Number(bytes) => {
            put(out, "value_type", "number of unknown type (no trailer)");
            put(out, "as_int", i32::from_le_bytes(bytes));
            put(out, "as_float", number(f32::from_le_bytes(bytes)));
            return;
        }
    }
    put(out, "json", signal.to_json());
}

fn of_malformed(malformed: &Malformed<'_>, out: &mut Map<String, Json>) {
    if let Some(header) = malformed.header {
        of_header(header, out);
    }
    if let Some((command, pin)) = malformed.pin {
        of_pin(command, pin, out);
        if (command, pin) == (SIGNAL, TERMINAL) {
            // Firmware cuts what the terminal prints inside a character.
            put(out, "text", String::from_utf8_lossy(malformed.rest));
        }
    }
    if let Some(value_type) = malformed.value_type {
        put(out, "value_type", value_type);
        put(out, "value_hex", hex(malformed.rest));
    }
    if malformed.reason == Reason::Scan {
        // What came before the cut.
        let whole = malformed.rest.len() / 8 * 8;
        ScanInfo::decode(&malformed.rest[..whole]).iter().for_each(|scan| of_scan(scan, out));
    }
    put(out, "malformed", malformed.reason.to_string());
}

/// A number, or the word for what JSON has no number for.
fn number(value: f32) -> Json {
    match f64::from(value) {
        value if value.is_nan() => "NaN".into(),
        f64::INFINITY => "Infinity".into(),
        f64::NEG_INFINITY => "-Infinity".into(),
        value => value.into(),
    }
}

fn address(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn put(out: &mut Map<String, Json>, key: &str, value: impl Into<Json>) {
    out.insert(key.to_owned(), value.into());
}
