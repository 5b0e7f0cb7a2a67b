//! `hubward send`: publishes as a device, by MQTT, as the device would.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use clap::{ArgGroup, Args};
use hubward_api::shapes::devices::DeviceShow;
use hubward_api::shapes::misc::About;
use hubward_model::{DeviceKind, pybytes};
use hubward_mqtt::client::{Client as MqttClient, ClientError, ConnectOptions};
use hubward_mqtt::protocol::{Publish, Qos, Version};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tokio::net::TcpStream;

use super::api::{ApiArgs, segment};
use super::{Failure, output, secrets};

/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Largest payload that is read from a file.
const MAX_PAYLOAD: u64 = 16 * 1024 * 1024;

/// `hubward send`
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(group(ArgGroup::new("what").required(true).args(["signal", "topic"])))]
#[command(group(ArgGroup::new("value").args(["int", "float", "text"]).requires("signal")))]
pub struct SendArgs {
    #[command(flatten)]
    api: ApiArgs,
    /// Name or id of the device
    device: String,
    /// File with its password (kind mqtt) or token (kind pycom); '-' reads standard input
    #[arg(long, value_name = "FILE")]
    secret_file: PathBuf,
    /// Signal number, with --int, --float or --text; a Pybytes frame if the device is of kind pycom
    #[arg(long, value_name = "N", requires = "value")]
    signal: Option<u8>,
    /// A whole number
    #[arg(long, value_name = "V", allow_hyphen_values = true)]
    int: Option<i32>,
    /// A number
    #[arg(long, value_name = "V", allow_hyphen_values = true)]
    float: Option<f32>,
    /// A text
    #[arg(long, value_name = "V", allow_hyphen_values = true)]
    text: Option<String>,
    /// Topic; without slash or filters of the device's own it goes below devices/ID/signals/
    #[arg(long, value_name = "T", requires = "file")]
    topic: Option<String>,
    /// File with the payload; '-' reads standard input
    #[arg(long, value_name = "FILE", requires = "topic")]
    file: Option<PathBuf>,
    /// Quality of service: 0, 1 or 2
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,
    /// Address of the MQTT listener [default: what the server says]
    #[arg(long, value_name = "HOST:PORT")]
    mqtt: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  hubward send kitchen --secret-file kitchen.txt --signal 1 --float 21.5
  hubward send board-7 --secret-file token.txt --signal 0 --int 42
  hubward send kitchen --secret-file kitchen.txt --topic temperature --file reading.bin --qos 2";

pub(super) async fn run(args: SendArgs, json: bool) -> Result<(), Failure> {
    let secret = secrets::read(&args.secret_file, "device's secret")?;
    if args.file.as_deref() == Some(Path::new("-")) && args.secret_file == Path::new("-") {
        return Err(Failure::usage("standard input cannot hold both secret and payload", "put one into a file"));
    }
    let client = args.api.client()?;
    let device: DeviceShow = client.get(&format!("/api/v1/devices/{}", segment(&args.device)), &[]).await?;
    let address = match args.mqtt.clone() {
        Some(address) => address,
        None => {
            let about: About = client.get("/api/v1/about", &[]).await?;
            reachable(about.mqtt, client.base())?
        }
    };
    let (topic, payload) = message(&args, &device, &secret)?;
    let size = payload.len();
    let qos = Qos::try_from(args.qos).map_err(|_| Failure::usage("--qos is 0, 1 or 2", "give one of them"))?;
    let work = publish(&address, &device, secret, Publish::new(topic.clone(), payload).with_qos(qos));
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => done?,
        Err(_) => {
            return Err(Failure::new(
                "no_answer",
                format!("{address} did not acknowledge the message within {} s", PATIENCE.as_secs()),
                "look at the server's log; what was not acknowledged may be sent again",
            ));
        }
    }
    // The topic of a Pycom device holds its token.
    let shown = if device.row.kind == DeviceKind::Pycom { "u…".to_owned() } else { topic };
    if json {
        return output::json(&json!({
            "device": device.row.name, "id": device.row.id, "topic": shown, "size": size, "qos": args.qos,
            "acknowledged": args.qos > 0,
        }));
    }
    let word = if args.qos > 0 { "sent, on disk and acknowledged" } else { "sent (QoS 0 is not acknowledged)" };
    let bytes = if size == 1 { "byte" } else { "bytes" };
    output::line(&format!("{word}: {size} {bytes} on {shown} as {}", device.row.name))
}

/// The listener as this program reaches it: a server that listens on every address is dialled where its API is.
fn reachable(mqtt: Option<String>, api: &str) -> Result<String, Failure> {
    let address = mqtt.ok_or_else(|| {
        Failure::new(
            "mqtt_off",
            "the server has no MQTT listener in clear text",
            "name an address with --mqtt HOST:PORT",
        )
    })?;
    let port = address.rsplit_once(':').map_or("1883", |(_, port)| port);
    if !address.starts_with("0.0.0.0:") && !address.starts_with("[::]:") {
        return Ok(address);
    }
    let host = api.split_once("://").map_or(api, |(_, rest)| rest);
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    Ok(format!("{host}:{port}"))
}

/// Topic and payload that were asked for.
fn message(args: &SendArgs, device: &DeviceShow, secret: &SecretString) -> Result<(String, Bytes), Failure> {
    let pycom = device.row.kind == DeviceKind::Pycom;
    if let Some(number) = args.signal {
        if pycom {
            let frame = match (args.int, args.float, &args.text) {
                (Some(value), _, _) => pybytes::int_signal(number, value),
                (_, Some(value), _) => pybytes::float_signal(number, value),
                (_, _, text) => pybytes::text_signal(number, text.as_deref().unwrap_or_default()),
            };
            return Ok((format!("u{}", secret.expose_secret()), Bytes::from(frame)));
        }
        let text = match (args.int, args.float, &args.text) {
            (Some(value), _, _) => value.to_string(),
            (_, Some(value), _) => value.to_string(),
            (_, _, text) => text.clone().unwrap_or_default(),
        };
        return Ok((format!("devices/{}/signals/{number}", device.row.id), Bytes::from(text)));
    }
    let topic = args.topic.clone().unwrap_or_default();
    let topic = match device.row.kind {
        DeviceKind::Pycom => {
            let up = format!("u{}", secret.expose_secret());
            if topic.is_empty() || topic.starts_with(&up) { topic } else { format!("{up}/{topic}") }
        }
        DeviceKind::Mqtt if device.topics.is_empty() && !topic.starts_with("devices/") => {
            format!("devices/{}/signals/{topic}", device.row.id)
        }
        DeviceKind::Mqtt => topic,
    };
    let file = args.file.as_deref().unwrap_or(Path::new("-"));
    Ok((topic, read_payload(file)?))
}

fn read_payload(file: &Path) -> Result<Bytes, Failure> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let result = if file == Path::new("-") {
        std::io::stdin().lock().take(MAX_PAYLOAD + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(MAX_PAYLOAD + 1).read_to_end(&mut bytes))
    };
    match result {
        Ok(_) if bytes.len() as u64 <= MAX_PAYLOAD => Ok(Bytes::from(bytes)),
        Ok(_) => Err(Failure::new("file_too_large", "the payload has more than 16 MiB", "send it in parts")),
        Err(error) => Err(Failure::new(
            "file_unreadable",
            format!("the payload cannot be read from {}: {error}", file.display()),
            "name a file that exists and that you may read, or '-' for standard input",
        )),
    }
}

async fn publish(address: &str, device: &DeviceShow, secret: SecretString, publish: Publish) -> Result<(), Failure> {
    let stream = TcpStream::connect(address).await.map_err(|error| {
        Failure::new(
            "no_server",
            format!("no MQTT server answers at {address}: {error}"),
            "start one with 'hubward up', or name another with --mqtt HOST:PORT",
        )
    })?;
    let _ = stream.set_nodelay(true);
    let id = device.row.id.as_str();
    let (client_id, username) = match device.row.kind {
        DeviceKind::Mqtt => (format!("{id}-send-{}", std::process::id()), device.username.as_deref().unwrap_or(id)),
        DeviceKind::Pycom => (secret.expose_secret().to_owned(), device.username.as_deref().unwrap_or("hubward")),
    };
    let options = ConnectOptions::new(Version::V311, client_id).with_login(username, secret.expose_secret().to_owned());
    let (mut client, _) = MqttClient::connect(stream, options).await.map_err(|error| told(address, &error))?;
    client.publish(publish).await.map_err(|error| told(address, &error))?;
    client.disconnect().await.map_err(|error| told(address, &error))
}

fn told(address: &str, error: &ClientError) -> Failure {
    match error {
        ClientError::Refused { .. } => Failure::new(
            "refused",
            format!("{address} refused the login: {error}"),
            "check that the file holds this device's secret; 'hubward device rotate NAME' makes a new one",
        ),
        _ => Failure::new(
            "not_sent",
            format!("{address} did not take the message: {error}"),
            "check that the topic is one of the device's own; the server's log says why it refused",
        ),
    }
}
