use super::*;
use crate::identity::{Authentication, AuthenticationKind, Condition, Draft, Status};

fn open(dir: &Path) -> Identities {
    Identities::open(&dir.join("registry.log"), None, Clock::system()).unwrap()
}

fn draft(id: &str) -> Draft {
    Draft { device_id: id.to_owned(), ..Draft::default() }
}

fn one(identities: &Identities, command: Command) -> Outcome {
    identities.run(&[command]).unwrap().remove(0)
}

#[test]
fn what_was_answered_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let identities = open(dir.path());
    one(&identities, Command::Create(draft("a"))).unwrap();
    one(&identities, Command::Create(draft("b"))).unwrap();
    one(&identities, Command::Delete("a".to_owned(), Condition::Any)).unwrap();
    let b = identities.get("b").unwrap();
    drop(identities);
    let identities = open(dir.path());
    assert_eq!(identities.get("b").unwrap(), b);
    assert_eq!(identities.get("a"), None);
}

#[test]
fn a_torn_last_line_is_cut_and_damage_before_it_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.log");
    let identities = open(dir.path());
    one(&identities, Command::Create(draft("a"))).unwrap();
    let whole = std::fs::read(&path).unwrap();
    one(&identities, Command::Create(draft("b"))).unwrap();
    drop(identities);
    let both = std::fs::read(&path).unwrap();
    for end in whole.len() + 1..both.len() {
        std::fs::write(&path, &both[..end]).unwrap();
        let identities = open(dir.path());
        assert!(identities.get("a").is_some() && identities.get("b").is_none());
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    }
    let mut damaged = both;
    damaged[whole.len() - 10] ^= 1;
    std::fs::write(&path, &damaged).unwrap();
    assert!(matches!(Identities::open(&path, None, Clock::system()), Err(LogError::Damaged { line: 2, .. })));
}

#[test]
fn a_log_that_is_mostly_history_is_rewritten() {
    let dir = tempfile::tempdir().unwrap();
    let identities = open(dir.path());
    let mut commands = vec![Command::Create(draft("a"))];
    for _ in 0..6_000 {
        commands.push(Command::Create(draft("b")));
        commands.push(Command::Delete("b".to_owned(), Condition::Any));
    }
    let outcomes = identities.run(&commands).unwrap();
    assert!(outcomes.iter().all(Result::is_ok));
    one(&identities, Command::Create(draft("c"))).unwrap();
    drop(identities);
    let lines = std::fs::read_to_string(dir.path().join("registry.log")).unwrap().lines().count();
    assert!(lines < 10, "{lines}");
    assert_eq!(open(dir.path()).count(), (2, 2));
}

#[test]
fn an_id_created_again_has_another_generation() {
    let dir = tempfile::tempdir().unwrap();
    let identities = open(dir.path());
    let outcomes = identities
        .run(&[
            Command::Create(draft("a")),
            Command::Delete("a".to_owned(), Condition::Any),
            Command::Create(draft("a")),
        ])
        .unwrap();
    let generation = |outcome: &Outcome| outcome.clone().unwrap().unwrap().generation_id.clone();
    assert_ne!(generation(&outcomes[0]), generation(&outcomes[2]));
}

#[test]
fn a_change_needs_the_etag_it_names() {
    let dir = tempfile::tempdir().unwrap();
    let identities = open(dir.path());
    let a = one(&identities, Command::Create(draft("a"))).unwrap().unwrap();
    let stale = Condition::ETag("stale".to_owned());
    let disabled = Draft { status: Some(Status::Disabled), ..draft("a") };
    assert_eq!(
        one(&identities, Command::Update(disabled.clone(), stale.clone())),
        Err(Refused::Precondition("a".to_owned()))
    );
    assert_eq!(one(&identities, Command::Delete("a".to_owned(), stale)), Err(Refused::Precondition("a".to_owned())));
    let changed = one(&identities, Command::Update(disabled, Condition::parse(&format!("\"{}\"", a.etag)))).unwrap();
    let changed = changed.unwrap();
    assert_ne!(changed.etag, a.etag);
    assert_eq!(changed.generation_id, a.generation_id);
    assert_eq!(changed.authentication, a.authentication, "keys stay when none are given");
    assert!(changed.status_updated_at.is_some());
    one(&identities, Command::Delete("a".to_owned(), Condition::parse("W/\"*\""))).unwrap();
}

#[test]
fn at_the_cap_no_more_are_created_until_one_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let identities = Identities::open(&dir.path().join("r"), Some(2), Clock::system()).unwrap();
    let commands = ["a", "b", "c"].map(|id| Command::Create(draft(id)));
    let outcomes = identities.run(&commands).unwrap();
    assert!(outcomes[0].is_ok() && outcomes[1].is_ok());
    assert_eq!(outcomes[2], Err(Refused::Full(2)));
    one(&identities, Command::Delete("a".to_owned(), Condition::Any)).unwrap();
    one(&identities, Command::Create(draft("c"))).unwrap();
}

#[test]
fn what_no_identity_can_be_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let identities = open(dir.path());
    let with = |authentication| Draft { authentication: Some(authentication), ..draft("a") };
    for bad in [
        draft("a b"),
        draft(""),
        Draft { status_reason: Some("x".repeat(129)), ..draft("a") },
        with(Authentication { primary_key: Some("no key".to_owned()), ..Authentication::default() }),
        with(Authentication { kind: AuthenticationKind::SelfSigned, ..Authentication::default() }),
        with(Authentication { primary_thumbprint: Some("xyz".to_owned()), ..Authentication::default() }),
    ] {
        assert!(matches!(one(&identities, Command::Create(bad)), Err(Refused::Invalid(_))));
    }
}

#[test]
fn pages_follow_the_ids() {
    let dir = tempfile::tempdir().unwrap();
    let identities = open(dir.path());
    identities.run(&["c", "a", "b"].map(|id| Command::Create(draft(id)))).unwrap();
    let ids = |after, limit| identities.page(after, limit).iter().map(|i| i.device_id.to_string()).collect::<Vec<_>>();
    assert_eq!(ids(None, 2), ["a", "b"]);
    assert_eq!(ids(Some("b"), 2), ["c"]);
}
