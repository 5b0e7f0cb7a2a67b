//! The demo that breaks everything tells the truth at its end.

use std::process::Stdio;

use hubward_tests::process::{PATIENCE, binary};

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_breaks_everything_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let run = tokio::process::Command::new(binary())
        .args(["demo", "--break"])
        .env("TMPDIR", folder.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE * 10, run).await.expect("it ends").unwrap();
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}\n{errors}");
    for blow in
        ["kill -9 of the server", "the hub goes away", "the hub comes back", "deletes", "disables", "enables", "rolls"]
    {
        assert!(text.lines().any(|line| line.contains("BLOW") && line.contains(blow)), "{blow}:\n{text}");
    }
    let summary = text.lines().find(|line| line.starts_with("Summary: ")).expect("a summary");
    let figure = |word: &str| {
        let rest = summary.split(&format!("{word} ")).nth(1).expect(word);
        rest.split(',').next().unwrap().parse::<u64>().expect(word)
    };
    assert!(figure("sent") > 20, "{summary}");
    assert_eq!(figure("accepted"), figure("sent"), "{summary}");
    assert_eq!((figure("dead letters"), figure("lost")), (0, 0), "{summary}");
    assert!(summary.contains("order kept"), "{summary}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "its temporary folder is removed");
}
