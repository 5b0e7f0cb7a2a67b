use super::*;

fn merge(file: &str, env: &[(&str, &str)], flags: &[Flag]) -> Result<Layers, ConfigError> {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Layers::merge(Some((Path::new("h.toml"), file)), env, flags)
}

#[test]
fn a_flag_beats_a_variable_beats_the_file_beats_the_default_and_each_is_named() {
    let flags = [Flag { key: "http", values: vec!["127.0.0.1:3".into()] }];
    let layers = merge(
        "mqtt = '127.0.0.1:1'\nhttp = '127.0.0.1:1'\ndata = 'd'\n",
        &[("HUBWARD_MQTT", "127.0.0.1:2"), ("HUBWARD_HTTP", "127.0.0.1:2"), ("PATH", "/bin")],
        &flags,
    )
    .unwrap();
    let shown = |name: &str| {
        let (values, origin) = layers.get(name);
        (values.join(","), origin.to_string())
    };
    assert_eq!(shown("http"), ("127.0.0.1:3".into(), "--http".into()));
    assert_eq!(shown("mqtt"), ("127.0.0.1:2".into(), "HUBWARD_MQTT".into()));
    assert_eq!(shown("data"), ("d".into(), "h.toml".into()));
    assert_eq!(shown("log"), ("info".into(), "default".into()));
}

#[test]
fn an_unknown_key_is_an_error_that_names_the_nearest() {
    let error = merge("mqqt = '1'", &[], &[]).unwrap_err();
    assert_eq!(error.to_string(), "\"mqqt\" in h.toml is no setting");
    assert_eq!(error.problem().remedy, "did you mean \"mqtt\"?");
    let error = merge("[journal]\nhistroy = '1d'", &[], &[]).unwrap_err();
    assert_eq!(error.problem().remedy, "did you mean \"journal.history\"?");
    let error = merge("", &[("HUBWARD_MQTTZ", "x")], &[]).unwrap_err();
    assert_eq!(error.problem().remedy, "did you mean HUBWARD_MQTT?");
}

#[test]
fn variables_of_the_commands_are_no_settings_and_no_errors() {
    assert!(merge("", &[("HUBWARD_URL", "x"), ("HUBWARD_TOKEN", "y")], &[]).is_ok());
}

#[test]
fn lists_come_from_arrays_and_from_commas() {
    assert_eq!(merge("allow_hub = ['a', 'b:1']", &[], &[]).unwrap().get("allow_hub").0, ["a", "b:1"]);
    assert_eq!(merge("", &[("HUBWARD_ALLOW_HUB", "a, b:1")], &[]).unwrap().get("allow_hub").0, ["a", "b:1"]);
    let error = merge("mqtt = ['a']", &[], &[]).unwrap_err();
    assert!(error.to_string().starts_with("mqtt from h.toml: a list"), "{error}");
}
