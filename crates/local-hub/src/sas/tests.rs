use super::*;

const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// One token of each producer of section 1.2 and 1.3, made with Python's `hmac`.
const SPELLINGS: [(&str, &str); 8] = [
    (
        "Python device: sr, sig, se",
        "SharedAccessSignature sr=hub.azure-devices.net%2Fdevices%2Fdev-1&sig=D0TibaF%2BGb58bmniGPHXEm53G2H%2FTlyBdEBjKAD3rMo%3D&se=1795386533",
    ),
    (
        "plus and slash of the signature not escaped, other order",
        "SharedAccessSignature sig=D0TibaF+Gb58bmniGPHXEm53G2H/TlyBdEBjKAD3rMo=&se=1795386533&sr=hub.azure-devices.net%2Fdevices%2Fdev-1",
    ),
    (
        "Node device: parentheses escaped, port in the host",
        "SharedAccessSignature sr=localhost%3A18883%2Fdevices%2Fdev%281%29&sig=Pm5Gf0NBZ6JGW9%2FhJHgS2IaCmyubMJHW1dUbZYjYG5Y%3D&se=1795386533",
    ),
    (
        "Node service: resource not escaped, policy before expiry",
        "SharedAccessSignature sr=hub.azure-devices.net&sig=FXfiMiWPQHvevCFDPXnfkMEjWpNR1tUZMuKBW1st4kc%3D&skn=iothubowner&se=1795386533",
    ),
    (
        "Python service: policy last",
        "SharedAccessSignature sr=hub.azure-devices.net&sig=FXfiMiWPQHvevCFDPXnfkMEjWpNR1tUZMuKBW1st4kc%3D&se=1795386533&skn=iothubowner",
    ),
    (
        "az CLI: lower-case hex",
        "SharedAccessSignature sr=hub.azure-devices.net&sig=FXfiMiWPQHvevCFDPXnfkMEjWpNR1tUZMuKBW1st4kc%3d&se=1795386533&skn=iothubowner",
    ),
    (
        "Event Hubs: the key's text signs",
        "SharedAccessSignature sr=sb%3A%2F%2Flocalhost%3A5672%2Fhub1&sig=jDuPj8IIeK%2BD99%2BuyBYF3CI1SVoW6bLex%2B15qqJT4l8%3D&se=1795386533&skn=service",
    ),
    (
        ".NET: the id escaped once more",
        "SharedAccessSignature sr=hub.azure-devices.net%2Fdevices%2Fa%2523b&sig=KM0DisZ7rtToeP6WvJ%2BvLx0I1o02QGqwqZ77k5TlOgc%3D&se=1795386533",
    ),
];

fn token(text: &str) -> Token {
    Token::parse(text).unwrap()
}

#[test]
fn every_sdks_spelling_is_verified() {
    for (name, text) in SPELLINGS {
        assert!(token(text).is_signed_by(KEY), "{name}");
    }
}

#[test]
fn no_spelling_is_verified_with_another_key_or_after_a_change() {
    for (name, text) in SPELLINGS {
        assert!(!token(text).is_signed_by("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWc="), "{name}");
        let later = text.replace("1795386533", "1795386534");
        assert!(!token(&later).is_signed_by(KEY), "{name}: later expiry");
        let elsewhere = text.replace("hub", "hab").replace("localhost", "localhast");
        assert!(!token(&elsewhere).is_signed_by(KEY), "{name}: other resource");
    }
}

#[test]
fn the_two_endpoints_read_the_key_differently() {
    let [.., event_hubs, _] = SPELLINGS;
    let as_hub = event_hubs.1.replace("sr=sb%3A%2F%2F", "sr=");
    assert!(!token(&as_hub).is_signed_by(KEY));
    assert_eq!(token(event_hubs.1).scope.key_form, KeyForm::Text);
}

#[test]
fn what_is_no_token_is_refused_without_being_quoted() {
    for (text, error) in [
        ("", TokenError::Scheme),
        ("Bearer abc", TokenError::Scheme),
        ("SharedAccessSignature sr=h&sig=AAAA", TokenError::Missing("se")),
        ("SharedAccessSignature sig=AAAA&se=1", TokenError::Missing("sr")),
        ("SharedAccessSignature sr=&sig=AAAA&se=1", TokenError::Missing("sr")),
        ("SharedAccessSignature sr=h&se=1", TokenError::Missing("sig")),
        ("SharedAccessSignature sr=h&sr=h&sig=AAAA&se=1", TokenError::Twice("sr")),
        ("SharedAccessSignature sr=h&sig=*&se=1", TokenError::Unreadable("sig")),
        ("SharedAccessSignature sr=h&sig=AAAA&se=soon", TokenError::Unreadable("se")),
        ("SharedAccessSignature sr=%FF&sig=AAAA&se=1", TokenError::Unreadable("sr")),
        ("SharedAccessSignature sr=/&sig=AAAA&se=1", TokenError::Unreadable("sr")),
    ] {
        assert_eq!(Token::parse(text), Err(error), "{text}");
    }
    assert_eq!(Token::parse(&format!("SharedAccessSignature {}", "x".repeat(9000))), Err(TokenError::Long));
}

#[test]
fn a_scope_covers_what_lies_below_it_segment_by_segment() {
    let scope = |text| Scope::parse(text).unwrap();
    assert!(scope("h").covers(&["devices", "a"]));
    assert!(scope("h/devices").covers(&["devices", "a"]));
    assert!(scope("h/devices/a").covers(&["devices", "a", "messages", "events"]));
    assert!(!scope("h/devices/a").covers(&["devices", "ab"]));
    assert!(!scope("h/devices/a").covers(&["devices", "A"]));
    assert!(!scope("h/devices/a/messages").covers(&["devices", "a"]));
    assert!(scope("h/Devices/a").covers(&["devices", "a"]));
    assert!(scope("https://h:443/").covers(&["messages", "events"]));
    assert!(scope("sb://h/hub1/consumergroups/$Default").covers(&["hub1", "ConsumerGroups", "$default", "Partitions"]));
    assert!(!scope("sb://h/hub2").covers(&["hub1"]));
}

#[test]
fn the_device_of_a_token_may_be_spelled_twice_and_a_module_is_none() {
    let devices = |text| Scope::parse(text).unwrap().device().map(Cow::into_owned).collect::<Vec<_>>();
    assert_eq!(devices("h/devices/a"), ["a"]);
    assert_eq!(devices("h/devices/a%23b"), ["a%23b", "a#b"]);
    assert!(devices("h/devices/a/modules/m").is_empty());
    assert!(devices("h").is_empty());
}
