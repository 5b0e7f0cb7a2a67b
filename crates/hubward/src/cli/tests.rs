use clap::{CommandFactory, Parser};

use super::*;

fn parsed(line: &str) -> Result<Cli, String> {
    Cli::try_parse_from(line.split(' ')).map_err(|error| grammar_error::text(&error))
}

#[test]
fn the_grammar_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_of_the_contract_is_understood() {
    for line in [
        "hubward up --mqtt 127.0.0.1:0 --http 127.0.0.1:0 --data d --key-file k --local-hub --allow-hub h:1 --allow-webhook h:2 --port-file p --log debug",
        "hubward up --token-lifetime 30m --quota-probe 5m",
        "hubward up --mqtts a:1 --ws a:1 --wss a:1 --https a:1 --tls-cert c --tls-key k --trust-proxy --insecure-http --config f",
        "hubward local-hub --https 127.0.0.1:1 --amqps 127.0.0.1:2 --amqp 127.0.0.1:3 --name n --host-name h --data d --port-file p",
        "hubward local-hub --standard-ports --admin 127.0.0.1:5 --tier S1 --units 2",
        "hubward local-hub --mqtts 127.0.0.1:4 --tier s3 --burst 2 --queue 500ms --metering per-transfer --retention 7d",
        "hubward local-hub fault outage --as reset --for 10s --count 3 --data d",
        "hubward local-hub fault delay 250ms --device d1 --json",
        "hubward local-hub fault throttle --count 3",
        "hubward local-hub fault quota --for 1h",
        "hubward local-hub fault drop --after 10 --lost --count 1",
        "hubward local-hub fault no-disposition --device d1",
        "hubward local-hub fault poison --containing bad --property a=b --larger-than 1000",
        "hubward local-hub fault poison --containing bad --close --count 3",
        "hubward local-hub fault token-refused --policy service",
        "hubward local-hub fault disabled --device d1 --for 1m",
        "hubward local-hub fault deleted --device d1",
        "hubward local-hub fault rekeyed --device d1",
        "hubward local-hub fault link-stolen --device d1 --count 2",
        "hubward local-hub fault certificate --as other-name",
        "hubward local-hub fault list",
        "hubward local-hub fault clear 1 2",
        "hubward local-hub fault clear --all --data d",
        "hubward local-hub clock --advance 1h",
        "hubward local-hub connections --reset 3",
        "hubward local-hub usage --data d",
        "hubward local-hub state",
        "hubward demo --for 10s",
        "hubward device add n --kind pycom --token-file f --username u --topic a/+ --topic b",
        "hubward device add n --password-file f --json --data d --url http://x --token t",
        "hubward device list",
        "hubward device show n",
        "hubward device rotate n",
        "hubward device rotate n m --overlap 24h --out f",
        "hubward device rotate --all --overlap 24h --out f",
        "hubward device rotate --search a --kind pycom --integration i --state never_seen --json",
        "hubward device rotate --from-file -",
        "hubward device rename n m",
        "hubward device remove n --discard-backlog",
        "hubward device config n --rotate",
        "hubward integration add azure --name N --connection-string-file - --topic T --device a --device b=c --body json --transport amqp-ws --device-id-template {id} --on-existing adopt --on-missing hold --on-missing-keys new --hub-ca f --hub-endpoint https=h:1,amqps=h:2",
        "hubward integration add azure --name N --connection-string-file f --topic T --all-devices",
        "hubward integration login --connection-string-file f",
        "hubward integration list",
        "hubward integration show n",
        "hubward integration test n",
        "hubward integration pause n",
        "hubward integration resume n",
        "hubward integration reconcile n",
        "hubward integration drift n",
        "hubward integration edit n --name m --topic t --body raw --connection-string-file f --add-device a --add-device b --remove-device c --discard-backlog",
        "hubward integration remove n --keep-identities --discard-backlog",
        "hubward deadletter list",
        "hubward deadletter show 1",
        "hubward deadletter retry 1 2",
        "hubward deadletter discard --all",
        "hubward deadletter export --all",
        "hubward alarm list",
        "hubward alarm list --cleared",
        "hubward alarm list --all --kind hub_away --integration n --device d",
        "hubward alarm show 1",
        "hubward alarm acknowledge 1 2",
        "hubward alarm acknowledge --all",
        "hubward alarm webhook set --url-file f --secret-file f --ca f",
        "hubward alarm webhook set --url-file -",
        "hubward alarm webhook show",
        "hubward alarm webhook test",
        "hubward alarm webhook remove",
        "hubward device silence n",
        "hubward device silence n --ignore",
        "hubward device silence n --watch",
        "hubward signals n --follow",
        "hubward trace n --offset 7",
        "hubward watch",
        "hubward user add n --password-file f",
        "hubward user add n --role operator --password-file f",
        "hubward user role n admin",
        "hubward user list",
        "hubward user remove n",
        "hubward user password n --password-file f",
        "hubward token create n --scope read",
        "hubward token list",
        "hubward token revoke n",
        "hubward key rotate",
        "hubward journal info",
        "hubward journal verify",
        "hubward check",
        "hubward check hub-name v",
        "hubward check resource-group v",
        "hubward check connection-string-file f",
        "hubward azure script --hub n --group g --region r --tier S1 --units 1",
        "hubward send n --secret-file f --signal 1 --int -4",
        "hubward send n --secret-file f --signal 1 --float -4.5 --qos 0",
        "hubward send n --secret-file f --signal 1 --text hello --qos 2",
        "hubward send n --secret-file f --topic t --file -",
        "hubward hub-monitor --connection-string-file f --hub-ca c --hub-endpoint amqps=h:1 --from-start --count 3 --for 5s --json",
        "hubward config print",
    ] {
        if let Err(error) = parsed(line) {
            panic!("{line}\n{error}");
        }
    }
}

#[test]
fn wrong_usage_is_told_in_two_lines_with_the_nearest_word() {
    for (line, message, remedy) in [
        (
            "hubward devise list",
            "error: unrecognized subcommand 'devise'\n",
            "did you mean device? hubward --help shows the usage",
        ),
        (
            "hubward device add n --knd pycom",
            "error: unexpected argument '--knd' found\n",
            "did you mean --kind? hubward device add --help shows the usage",
        ),
        (
            "hubward send n --secret-file f",
            "error: the following required arguments were not provided:",
            "hubward send --help shows the usage",
        ),
        ("hubward send n --secret-file f --signal 1 --int 2 --topic t --file f", "error: ", "hubward send --help"),
        ("hubward send n --secret-file f --signal 1", "error: ", "hubward send --help"),
        ("hubward deadletter retry", "error: ", "hubward deadletter retry --help"),
        ("hubward integration add azure --name n --connection-string-file f --topic t", "error: ", "--help"),
        ("hubward demo --for tomorrow", "error: invalid value 'tomorrow' for '--for <DURATION>'", "--help"),
    ] {
        let text = parsed(line).expect_err(line);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{line}\n{text}");
        assert!(text.starts_with(message), "{line}\n{text}");
        assert!(lines[1].starts_with("to do: ") && lines[1].contains(remedy), "{line}\n{text}");
    }
}

/// Help that users see first. When it changes on purpose: HELP_GOLDEN=write cargo test -p hubward golden
#[test]
fn golden_help() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for words in ["", "up", "device add", "integration add azure", "send", "local-hub", "local-hub fault"] {
        let mut command = Cli::command().term_width(100);
        command.build();
        let found = words.split_whitespace().try_fold(&mut command, |command, word| command.find_subcommand_mut(word));
        let help = found.unwrap_or_else(|| panic!("{words}")).clone().term_width(100).render_long_help().to_string();
        // What the environment holds is not part of the text.
        let help: String = help.lines().map(|line| format!("{}\n", line.trim_end())).collect();
        let file = folder.join(format!("help {words}").trim_end().replace(' ', "-")).with_extension("txt");
        if std::env::var_os("HELP_GOLDEN").is_some_and(|value| value == "write") {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&file, &help).unwrap();
        }
        let golden = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(help, golden, "{} (HELP_GOLDEN=write writes it)", file.display());
    }
}

#[test]
fn every_command_has_help_with_examples() {
    fn visit(command: &clap::Command, path: &str) {
        let path = format!("{path} {}", command.get_name());
        if command.get_name() == "help" {
            return;
        }
        if command.has_subcommands() {
            command.get_subcommands().for_each(|inner| visit(inner, &path));
            return;
        }
        let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(after.contains("Examples:\n") && after.contains("  hubward"), "{path} has no examples");
        assert!(command.get_about().is_some(), "{path} does not say what it is for");
        for argument in command.get_arguments().filter(|a| !["help", "version"].contains(&a.get_id().as_str())) {
            assert!(argument.get_help().is_some(), "{path}: {} is not explained", argument.get_id());
        }
    }
    visit(&Cli::command(), "");
}

#[test]
fn no_secret_can_be_given_as_an_argument_alone() {
    fn visit(command: &clap::Command) {
        for argument in command.get_arguments() {
            let Some(long) = argument.get_long() else { continue };
            let secret = ["password", "secret", "connection-string", "key"].iter().any(|word| long.contains(word));
            // A file, and the word for what to do about keys that are gone.
            let harmless = long.ends_with("-file") || ["tls-key", "on-missing-keys"].contains(&long);
            assert!(!secret || harmless, "{}: --{long}", command.get_name());
        }
        command.get_subcommands().for_each(visit);
    }
    visit(&Cli::command());
}
