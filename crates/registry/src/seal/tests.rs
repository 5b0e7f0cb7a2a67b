use super::*;

const HERE: Place<'static> = Place { table: "bindings", row: "b1", column: "primary_key" };

fn sealer() -> Sealer {
    Sealer::new(&DataKey::random(), &[])
}

#[test]
fn what_is_sealed_opens_to_the_same_text_and_never_shows_it() {
    let sealer = sealer();
    for secret in ["", "a", "HostName=h;SharedAccessKey=ÄÖ=="] {
        let sealed = sealer.seal(HERE, &SecretString::from(secret));
        // A single letter may be among the random bytes.
        assert!(secret.len() < 8 || !sealed.windows(secret.len()).any(|w| w == secret.as_bytes()));
        assert_eq!(sealer.open(HERE, &sealed).unwrap().expose_secret(), secret);
    }
}

#[test]
fn the_same_secret_sealed_twice_looks_different() {
    let (sealer, secret) = (sealer(), SecretString::from("s"));
    assert_ne!(sealer.seal(HERE, &secret), sealer.seal(HERE, &secret));
}

#[test]
fn a_value_moved_to_another_table_row_or_column_does_not_open() {
    let sealer = sealer();
    let sealed = sealer.seal(HERE, &SecretString::from("s"));
    for place in [
        Place { table: "integrations", ..HERE },
        Place { row: "b2", ..HERE },
        Place { column: "secondary_key", ..HERE },
        Place { row: "b", column: "1primary_key", ..HERE },
    ] {
        assert_eq!(sealer.open(place, &sealed).unwrap_err(), place.refused());
    }
}

#[test]
fn a_damaged_or_cut_value_does_not_open() {
    let sealer = sealer();
    let sealed = sealer.seal(HERE, &SecretString::from("secret"));
    for at in [0, 9, 15, 25, sealed.len() - 1] {
        let mut damaged = sealed.clone();
        damaged[at] ^= 1;
        assert!(sealer.open(HERE, &damaged).is_err(), "byte {at}");
    }
    for length in 0..sealed.len() {
        assert!(sealer.open(HERE, &sealed[..length]).is_err(), "length {length}");
    }
}

#[test]
fn a_value_under_a_key_that_is_not_here_names_the_key() {
    let key = DataKey::random();
    let sealed = Sealer::new(&key, &[]).seal(HERE, &SecretString::from("s"));
    match sealer().open(HERE, &sealed) {
        Err(SealError::UnknownKey { key_id, .. }) => assert_eq!(key_id, key.id()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn after_a_change_of_keys_the_older_values_still_open() {
    let (old, new) = (DataKey::random(), DataKey::random());
    let sealed = Sealer::new(&old, &[]).seal(HERE, &SecretString::from("s"));
    let sealer = Sealer::new(&new, std::slice::from_ref(&old));
    assert_eq!(sealer.open(HERE, &sealed).unwrap().expose_secret(), "s");
    assert!(Sealer::new(&old, &[]).open(HERE, &sealer.seal(HERE, &SecretString::from("s"))).is_err());
}

#[test]
fn a_data_key_opens_under_its_master_key_alone() {
    let (master, other) = ([1u8; 32], [2u8; 32]);
    let key = DataKey::random();
    let wrapped = key.wrap(&master);
    assert_eq!(*DataKey::unwrap(&key.id(), &wrapped, &master).unwrap().key, *key.key);
    assert!(DataKey::unwrap(&key.id(), &wrapped, &other).is_err());
    assert!(DataKey::unwrap(&DataKey::random().id(), &wrapped, &master).is_err());
}
