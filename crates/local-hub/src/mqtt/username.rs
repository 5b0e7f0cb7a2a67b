//! The user name of CONNECT (IoT Hub wire reference, 4.1): `{host}/{device}[/{module}][/?api-version=…&…]`.

use percent_encoding::percent_decode_str;

/// Longest model id that is kept.
const MAX_MODEL_ID: usize = 256;

/// A user name taken apart. Host and ids stand in it as they are, the query's values are percent-encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserName {
    /// The hub's host, perhaps with a port.
    pub(crate) host: String,
    /// What comes between host and query; the client id of CONNECT is the same.
    pub(crate) client_id: String,
    /// The version asked for; hand-written clients leave it out.
    pub(crate) api_version: Option<String>,
    /// The Plug and Play model the device follows.
    pub(crate) model_id: Option<String>,
}

/// Why a text is no such user name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UserNameError {
    #[error("the user name is {{host}}/{{device id}}/?api-version=…")]
    Form,
    #[error("the user name's model-id cannot be read")]
    Model,
}

impl UserName {
    /// Takes `text` apart. What else stands in the query is passed over: some clients append to it without care.
    pub(crate) fn parse(text: &str) -> Result<Self, UserNameError> {
        let (left, query) = text.split_once("/?").unwrap_or((text, ""));
        let (host, client_id) = left.split_once('/').ok_or(UserNameError::Form)?;
        let client_id = client_id.strip_suffix('/').unwrap_or(client_id);
        if host.is_empty() || client_id.is_empty() {
            return Err(UserNameError::Form);
        }
        let value = |name: &str| {
            query.split('&').find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name).map(|(_, v)| v))
        };
        let model_id = value("model-id").map(|text| match percent_decode_str(text).decode_utf8() {
            Ok(decoded) if decoded.len() <= MAX_MODEL_ID => Ok(decoded.into_owned()),
            _ => Err(UserNameError::Model),
        });
        Ok(Self {
            host: host.to_owned(),
            client_id: client_id.to_owned(),
            api_version: value("api-version").map(str::to_owned),
            model_id: model_id.transpose()?,
        })
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn the_sdks_user_names_are_understood() {
        for (text, client_id, version, model) in [
            (
                "localhost/dev-1/?api-version=2021-04-12&DeviceClientType=azure-iot-device%2F1.18.4%20(node%20v20)",
                "dev-1",
                Some("2021-04-12"),
                None,
            ),
            (
                "hub1.azure-devices.net/dev-1/?api-version=2020-09-30&DeviceClientType=py%2F2.14.0%29None\
                 &model-id=dtmi%3Acom%3Aexample%3BThermostat",
                "dev-1",
                Some("2020-09-30"),
                Some("dtmi:com:example;Thermostat"),
            ),
            ("localhost:8883/dev/mod/?api-version=2019-10-01", "dev/mod", Some("2019-10-01"), None),
            ("localhost/dev", "dev", None, None),
            ("localhost/dev/", "dev", None, None),
            // A question mark may stand in an id.
            ("localhost/d?v#1/?api-version=2021-04-12", "d?v#1", Some("2021-04-12"), None),
        ] {
            let user = UserName::parse(text).unwrap();
            assert_eq!(user.client_id, client_id, "{text}");
            assert_eq!(user.api_version.as_deref(), version, "{text}");
            assert_eq!(user.model_id.as_deref(), model, "{text}");
        }
    }

    #[test]
    fn what_is_no_such_user_name_is_refused() {
        for text in ["", "dev", "/dev", "localhost/", "localhost//?api-version=1", "/?api-version=1"] {
            assert_eq!(UserName::parse(text), Err(UserNameError::Form), "{text}");
        }
        assert_eq!(UserName::parse("h/d/?model-id=%ff"), Err(UserNameError::Model));
    }
}
