//! The document says what the server does.

use hubward_api::openapi;
use serde_json::Value;

/// When the interface changes on purpose: make openapi
#[test]
fn the_committed_document_is_the_one_that_is_served() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let text = openapi::text();
    if std::env::var_os("OPENAPI").is_some_and(|value| value == "write") {
        std::fs::write(&file, &text).unwrap();
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(committed == text, "{} is not what the routes say: make openapi writes it", file.display());
}

/// Method, path and what the document says, of every operation.
pub(crate) fn operations() -> Vec<(String, String, Value)> {
    let document: Value = serde_json::from_str(&openapi::text()).unwrap();
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            all.push((method.to_uppercase(), path.clone(), operation.clone()));
        }
    }
    all
}

#[test]
fn every_operation_has_its_own_name_a_summary_a_group_and_says_who_may_ask() {
    let document: Value = serde_json::from_str(&openapi::text()).unwrap();
    let tags: Vec<&str> = document["tags"].as_array().unwrap().iter().filter_map(|tag| tag["name"].as_str()).collect();
    let mut names = std::collections::HashSet::new();
    for (method, path, operation) in operations() {
        let name = operation["operationId"].as_str().unwrap().to_owned();
        assert!(names.insert(name.clone()), "{name} twice");
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path}: no summary");
        assert!(tags.contains(&operation["tags"][0].as_str().unwrap_or_default()), "{method} {path}: no known tag");
        assert!(operation["security"].is_array(), "{method} {path}: does not say who may ask");
        for (status, response) in operation["responses"].as_object().unwrap() {
            assert!(status.parse::<u16>().is_ok(), "{method} {path}: {status}");
            let said = response["description"].as_str().or(response["$ref"].as_str());
            assert!(said.is_some_and(|text| !text.is_empty()), "{method} {path} {status}");
        }
    }
}

/// A route that is registered any other way than with its description would stand in no test of rights.
#[test]
fn no_route_is_registered_without_its_description() {
    let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for forbidden in [".route(", ".route_service(", ".nest_service("] {
                assert!(!text.contains(forbidden), "{} uses {forbidden}: use routes!(handler)", path.display());
            }
        }
    }
}
