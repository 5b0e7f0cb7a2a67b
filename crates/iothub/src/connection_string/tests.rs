use super::*;

const KEY: &str = "dGhpcyBpcyBhIHRlc3Qga2V5IG9mIDMyIGJ5dGVzISE=";

fn service(text: &str) -> Result<ServiceString, ConnectionStringError> {
    text.parse()
}

fn good() -> String {
    format!("HostName=myhub.azure-devices.net;SharedAccessKeyName=registryReadWrite;SharedAccessKey={KEY}")
}

#[test]
fn a_hubs_string_is_read_whatever_was_copied_around_it() {
    let good = good();
    for text in [
        good.clone(),
        format!("  {good}\r\n"),
        format!("\"{good}\"\n"),
        format!("\n'{good}'"),
        format!("\u{feff}\u{201c}{good}\u{201d} \t"),
    ] {
        let parsed = service(&text).unwrap();
        assert_eq!(parsed.host_name.to_string(), "myhub.azure-devices.net");
        assert_eq!(parsed.host_name.hub_name(), "myhub");
        assert_eq!(parsed.policy, "registryReadWrite");
        assert_eq!(parsed.key.expose_base64(), KEY);
        assert_eq!(parsed.key.expose_bytes(), b"this is a test key of 32 bytes!!");
        assert_eq!(parsed.expose().expose_secret_text(), good);
    }
}

trait ExposeText {
    fn expose_secret_text(&self) -> String;
}

impl ExposeText for SecretString {
    fn expose_secret_text(&self) -> String {
        secrecy::ExposeSecret::expose_secret(self).to_owned()
    }
}

#[test]
fn each_mistake_has_its_code_and_its_field() {
    let base = "HostName=h.azure-devices.net;SharedAccessKeyName=p";
    let cases = [
        ("".to_owned(), "bad_connection_string", "connection_string"),
        ("\"\"".to_owned(), "bad_connection_string", "connection_string"),
        ("hello".to_owned(), "bad_connection_string", "connection_string"),
        (KEY.to_owned(), "unknown_field", "connection_string"),
        (format!("{};", good()), "bad_connection_string", "connection_string"),
        (format!("{base};;SharedAccessKey={KEY}"), "bad_connection_string", "connection_string"),
        (format!("{base};={KEY}"), "bad_connection_string", "connection_string"),
        (format!("{base};\r\nSharedAccessKey={KEY}"), "bad_connection_string", "connection_string"),
        (format!("{0}\n{0}", good()), "bad_connection_string", "connection_string"),
        (base.to_owned(), "missing_field", "SharedAccessKey"),
        (format!("{base};SharedAccessKey="), "missing_field", "SharedAccessKey"),
        (format!("SharedAccessKeyName=p;SharedAccessKey={KEY}"), "missing_field", "HostName"),
        (format!("HostName=h.azure-devices.net;SharedAccessKey={KEY}"), "missing_field", "SharedAccessKeyName"),
        (format!("{};HostName=x", good()), "duplicate_field", "HostName"),
        (format!("{};SharedAccessKey={KEY}", good()), "duplicate_field", "SharedAccessKey"),
        (format!("{base};SharedAccesKey={KEY}"), "unknown_field", "SharedAccesKey"),
        (format!("{};Color=blue", good()), "unknown_field", "Color"),
        (format!("{base};SharedAccessSignature=x"), "unknown_field", "SharedAccessSignature"),
        (format!("{base};SharedAccessKey=not!base64"), "bad_key", "SharedAccessKey"),
        (format!("{base};SharedAccessKey={}", KEY.trim_end_matches('=')), "bad_key", "SharedAccessKey"),
        (format!("HostName=h.azure-devices.net;DeviceId=d;SharedAccessKey={KEY}"), "device_string", "DeviceId"),
        ("HostName=h.azure-devices.net;DeviceId=d;x509=true".to_owned(), "device_string", "DeviceId"),
        (
            format!(
                "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=s;SharedAccessKey={KEY};EntityPath=h"
            ),
            "event_hubs_string",
            "connection_string",
        ),
        (good().replace("myhub.", "https://myhub."), "bad_connection_string", "HostName"),
        (good().replace(".net", ".net:x"), "bad_connection_string", "HostName"),
        (good().replace("myhub", "my_hüb"), "bad_connection_string", "HostName"),
    ];
    for (text, code, field) in cases {
        let error = service(&text).unwrap_err();
        assert_eq!((error.code(), error.field()), (code, field), "{text}");
        assert!(!error.message().is_empty() && !error.remedy().is_empty());
    }
}

#[test]
fn the_remedy_names_the_field_that_was_meant() {
    let base = "HostName=h.azure-devices.net;SharedAccessKeyName=p";
    let error = service(&format!("{base};sharedaccesskey={KEY}")).unwrap_err();
    assert!(error.remedy().contains("did you mean SharedAccessKey?"), "{}", error.remedy());
}

#[test]
fn no_error_repeats_anything_that_may_be_a_key() {
    let secret = "Zm9vYmFyYmF6cXV4c2VjcmV0";
    for text in [
        secret.to_owned(),
        format!("{secret}="),
        format!("{secret}=="),
        format!("{secret}=;{secret}=x"),
        format!("{}{secret}", good()),
        format!("{};{secret}9=", good()),
        format!("{};{secret}9=;{secret}9=", good()),
        format!("{};{secret}", good()),
        format!("HostName=h.azure-devices.net;SharedAccessKeyName=p;SharedAccessKey={secret}!"),
        format!("HostName={secret}{secret}{secret}{secret};SharedAccessKeyName=p;SharedAccessKey={KEY}"),
        format!("HostName=h.azure-devices.net;DeviceId=d;SharedAccessKey={secret}"),
    ] {
        if let Err(error) = service(&text) {
            let shown = format!("{error} {error:?} {} {}", error.remedy(), error.field());
            assert!(!shown.contains(secret) && !shown.contains(KEY), "{text}: {shown}");
        }
    }
    let shown = format!("{:?}", service(&good()).unwrap());
    assert!(!shown.contains(KEY), "{shown}");
}

#[test]
fn a_devices_string_is_read_in_its_three_forms() {
    let key: DeviceString =
        format!("HostName=h.azure-devices.net;DeviceId=d;SharedAccessKey={KEY};GatewayHostName=gw").parse().unwrap();
    assert_eq!(key.device_id, "d");
    assert_eq!(key.gateway.unwrap().host(), "gw");
    assert!(matches!(key.auth, DeviceAuth::Key(_)));
    let token: DeviceString =
        "HostName=h;DeviceId=d;SharedAccessSignature=SharedAccessSignature%20sr=h".parse().unwrap();
    assert!(matches!(token.auth, DeviceAuth::Token(_)));
    let x509: DeviceString = "HostName=h;DeviceId=d;ModuleId=m;x509=true".parse().unwrap();
    assert!(matches!(x509.auth, DeviceAuth::X509));
    assert_eq!(x509.module_id.as_deref(), Some("m"));

    let both = format!("HostName=h;DeviceId=d;x509=true;SharedAccessKey={KEY}").parse::<DeviceString>();
    assert_eq!(both.unwrap_err().code(), "bad_connection_string");
    assert_eq!(good().parse::<DeviceString>().unwrap_err().code(), "bad_connection_string");
}

#[test]
fn an_event_hubs_string_is_read_with_port_and_emulator_form() {
    let text = format!(
        "Endpoint=sb://localhost:15672/;SharedAccessKeyName=service;SharedAccessKey={KEY};EntityPath=hub;\
         UseDevelopmentEmulator=true"
    );
    let parsed: EventHubsString = text.parse().unwrap();
    assert_eq!((parsed.endpoint.host(), parsed.endpoint.port()), ("localhost", Some(15672)));
    assert_eq!((parsed.entity_path.as_deref(), parsed.emulator), (Some("hub"), true));
    assert!(good().parse::<EventHubsString>().is_err());
}

#[test]
fn a_host_name_may_carry_a_port_and_be_an_address() {
    let host: HostName = "localhost:10443".parse().unwrap();
    assert_eq!((host.host(), host.port(), host.hub_name()), ("localhost", Some(10443), "localhost"));
    let host: HostName = "[::1]:443".parse().unwrap();
    assert_eq!((host.host(), host.to_string().as_str()), ("::1", "[::1]:443"));
    assert_eq!("127.0.0.1:1".parse::<HostName>().unwrap().hub_name(), "127.0.0.1");
    for bad in ["", "a b", "-a", "a-", "a..b", "a:0", "a:70000", "a:", "x/y", "[::1", &"a".repeat(64)] {
        assert!(bad.parse::<HostName>().is_err(), "{bad}");
    }
}
