//! Settings that must not be started with, found before anything is opened.

use hubward_model::Problem;

use crate::config::{Address, Settings};

/// Refuses what cannot be honoured, instead of ignoring it.
pub fn check(settings: &Settings) -> Result<(), Problem> {
    for (flag, address) in [("ws", &settings.ws), ("wss", &settings.wss)] {
        if address.is_some() {
            return Err(Problem::new(
                "not_there_yet",
                format!("--{flag}: this version does not speak MQTT over WebSocket yet"),
                "use --mqtt or --mqtts",
            )
            .with_field(flag));
        }
    }
    let tls = settings.tls_cert.is_some() && settings.tls_key.is_some();
    for (flag, address) in [("mqtts", &settings.mqtts), ("https", &settings.https)] {
        if address.is_some() && !tls {
            return Err(Problem::new(
                "no_certificate",
                format!("--{flag} speaks TLS and there is no certificate"),
                "give --tls-cert FILE and --tls-key FILE (PEM)",
            )
            .with_field(flag));
        }
    }
    if settings.tls_cert.is_some() != settings.tls_key.is_some() {
        let (given, missing) =
            if settings.tls_cert.is_some() { ("--tls-cert", "--tls-key") } else { ("--tls-key", "--tls-cert") };
        return Err(Problem::new(
            "no_certificate",
            format!("{given} is given without {missing}"),
            format!("give {missing} FILE too (PEM)"),
        ));
    }
    if settings.mqtt.is_none() && settings.mqtts.is_none() {
        return Err(Problem::new(
            "no_listener",
            "MQTT is off: no device could reach this server",
            "give --mqtt HOST:PORT or --mqtts HOST:PORT",
        ));
    }
    if settings.http.is_none() && settings.https.is_none() {
        return Err(Problem::new(
            "no_listener",
            "HTTP is off: no command could reach this server",
            "give --http HOST:PORT or --https HOST:PORT",
        ));
    }
    match &settings.http {
        Some(address) if !(address.is_loopback() || settings.trust_proxy || settings.insecure_http) => {
            Err(clear_text(address))
        }
        _ => Ok(()),
    }
}

fn clear_text(address: &Address) -> Problem {
    Problem::new(
        "insecure_http",
        format!("--http {address} can be reached from other machines, and without TLS tokens can be read on the way"),
        "use --https with --tls-cert and --tls-key, put a TLS proxy in front and say --trust-proxy, or accept it with --insecure-http",
    )
    .with_field("http")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Flag, Layers};

    fn checked(flags: &[(&'static str, &str)]) -> Result<(), String> {
        let flags: Vec<Flag> =
            flags.iter().map(|(key, value)| Flag { key, values: vec![(*value).to_owned()] }).collect();
        let layers = Layers::merge(None, std::iter::empty(), &flags).unwrap();
        check(&Settings::from_layers(&layers).unwrap()).map_err(|problem| problem.code)
    }

    #[test]
    fn http_beyond_this_machine_needs_tls_a_proxy_or_the_users_word() {
        assert_eq!(checked(&[]), Ok(()));
        let open = ("http", "0.0.0.0:8080");
        assert_eq!(checked(&[open]), Err("insecure_http".into()));
        assert_eq!(checked(&[open, ("trust_proxy", "true")]), Ok(()));
        assert_eq!(checked(&[open, ("insecure_http", "true")]), Ok(()));
        assert_eq!(checked(&[("http", "[::1]:8080")]), Ok(()));
        assert_eq!(checked(&[("http", "hubward.example:8080")]), Err("insecure_http".into()));
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        assert_eq!(checked(&[("ws", "127.0.0.1:0")]), Err("not_there_yet".into()));
        assert_eq!(checked(&[("mqtts", "127.0.0.1:0")]), Err("no_certificate".into()));
        assert_eq!(checked(&[("tls_cert", "x")]), Err("no_certificate".into()));
        assert_eq!(checked(&[("mqtt", "off")]), Err("no_listener".into()));
        assert_eq!(checked(&[("http", "off")]), Err("no_listener".into()));
    }
}
