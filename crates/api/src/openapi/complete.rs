//! What holds for every operation of the document, added by rule: so a handler says only what is special about it.

use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{Components, Object, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{ContentBuilder, InfoBuilder, LicenseBuilder, OpenApi, Ref, RefOr, Required, Schema};

/// Groups of operations, in the order a reader wants them.
const TAGS: &[(&str, &str)] = &[
    ("overview", "How everything is, at one look"),
    ("devices", "Devices, their credentials and connections"),
    ("signals", "What devices sent: history, traces, charts, events"),
    ("integrations", "The hubs that signals go to"),
    ("dead letters", "Signals that a hub refused for good"),
    ("alarms", "What needs somebody's eye, and who is told of it"),
    ("session", "Logging in and out; the first start"),
    ("access", "Users, API tokens, who changed what"),
    ("server", "Keys, journal, health, metrics, this document"),
];

const DESCRIPTION: &str = "Devices, integrations and signals of a Hubward server.\n\n\
Programs send `Authorization: Bearer TOKEN`; the console logs in and has a cookie, and then every request that may \
change something carries the header `X-CSRF-Token` with what the session said. Scopes and roles stand at each \
operation: read (viewer) is part of operate (operator), which is part of admin.\n\n\
A refusal is a problem (RFC 9457): `code` is stable, `detail` says what and why, `remedy` what to do, `field` which \
field is to blame.";

/// The refusals that any operation may answer, and what they mean.
const REFUSALS: &[(&str, &str)] = &[
    ("400", "The request is not understood"),
    ("401", "No token or session, or it ended"),
    ("403", "The host or origin is not this server's, the role or scope is too small, or the CSRF token is missing"),
    ("404", "There is no such thing"),
    ("409", "It contradicts what is there"),
    ("412", "It was changed since: read it again"),
    ("413", "The body is too large"),
    ("415", "The body is no JSON"),
    ("422", "It was understood, and what it names does not work"),
    ("428", "The header If-Match is missing"),
    ("429", "Too many attempts: the header Retry-After says when to try again"),
    ("500", "The server failed; its log says why"),
    ("503", "The server stops, or a part of it does not answer"),
];

/// Adds everything that is the same everywhere.
pub(super) fn complete(document: &mut OpenApi) {
    document.info = InfoBuilder::new()
        .title("Hubward")
        .version("1")
        .description(Some(DESCRIPTION))
        .license(Some(LicenseBuilder::new().name("MIT OR Apache-2.0").identifier(Some("MIT OR Apache-2.0")).build()))
        .build();
    document.tags =
        Some(TAGS.iter().map(|(name, text)| TagBuilder::new().name(*name).description(Some(*text)).build()).collect());
    let components = document.components.get_or_insert_with(Components::new);
    components.schemas.insert("Problem".to_owned(), problem());
    let refusals = REFUSALS.iter().map(|(status, text)| ((*status).to_owned(), problem_answer(text).into()));
    components.responses.extend(refusals);
    components.add_security_scheme(
        "token",
        SecurityScheme::Http(
            HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("An API token, with scopes")).build(),
        ),
    );
    components.add_security_scheme(
        "session",
        SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description(
            "__Host-hubward",
            "The console's session (plain `hubward` where the server speaks HTTP to other machines)",
        ))),
    );
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            complete_operation(path, method, operation);
        }
    }
}

/// The operations of a path, with the name of their method.
fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    [
        ("get", item.get.as_mut()),
        ("post", item.post.as_mut()),
        ("put", item.put.as_mut()),
        ("patch", item.patch.as_mut()),
        ("delete", item.delete.as_mut()),
    ]
    .into_iter()
    .filter_map(|(method, operation)| operation.map(|operation| (method, operation)))
}

fn complete_operation(path: &str, method: &str, operation: &mut Operation) {
    operation.operation_id = Some(operation_id(path, method));
    let secured = operation.security.iter().flatten().any(|requirement| {
        // The requirement without a scheme is that of open operations.
        serde_json::to_value(requirement).is_ok_and(|json| json.as_object().is_some_and(|map| !map.is_empty()))
    });
    let has_path = path.contains('{');
    let has_query = operation
        .parameters
        .iter()
        .flatten()
        .any(|parameter| matches!(parameter, RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Query));
    let has_body = operation.request_body.is_some();
    let changes = method != "get";

    let mut add = |wanted: bool, statuses: &[&str]| {
        for status in statuses.iter().filter(|_| wanted) {
            let reference = || RefOr::Ref(Ref::from_response_name(*status));
            operation.responses.responses.entry((*status).to_owned()).or_insert_with(reference);
        }
    };
    add(true, &["403", "500"]);
    add(secured, &["401"]);
    add(has_path || has_query || has_body, &["400"]);
    // A device or integration may be named in any of the three.
    add(secured && (has_path || has_query || has_body), &["404"]);
    add(has_body, &["413", "415"]);
    add(changes && path.starts_with("/api/v1"), &["409", "422", "503"]);
    add(method == "patch", &["412", "428"]);
    // Where passwords are tried.
    add(has_body && !secured, &["401", "429"]);
    add(path.ends_with("/session/password"), &["429"]);
    let text_schema = || ObjectBuilder::new().schema_type(Type::String).min_length(Some(1));
    let short = text_schema().max_length(Some(255)).pattern(Some("^[ -~]*$"));
    if method == "patch" {
        let text = "The ETag of what is edited, or * for whatever it is now";
        operation
            .parameters
            .get_or_insert_default()
            .push(header_parameter("If-Match", text, true, text_schema().build()).into());
    }
    let creates = operation.responses.responses.contains_key("201") && secured;
    if method == "post" && creates {
        let text = "Makes the request safe to repeat for a day: the same key and request get the same answer";
        operation
            .parameters
            .get_or_insert_default()
            .push(header_parameter("Idempotency-Key", text, false, short.build()).into());
    }
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response
            && response.description.is_empty()
        {
            response.description = "Done".to_owned();
        }
    }
}

/// `get_devices_device_signals`: from method and path, so that no two are alike.
fn operation_id(path: &str, method: &str) -> String {
    let path = path.trim_start_matches("/api/v1").trim_start_matches("/api");
    let words = path.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    std::iter::once(method).chain(words).collect::<Vec<_>>().join("_")
}

fn header_parameter(name: &str, text: &str, required: bool, schema: Object) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(if required { Required::True } else { Required::False })
        .description(Some(text))
        .schema(Some(schema))
        .build()
}

fn problem_answer(text: &str) -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new().description(text).content("application/problem+json", content).build()
}

fn problem() -> RefOr<Schema> {
    let text = |about: &str| ObjectBuilder::new().schema_type(Type::String).description(Some(about)).build();
    let field = ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        .description(Some("The field of the request that is to blame"));
    let mut object = ObjectBuilder::new()
        .description(Some("A refusal (RFC 9457)"))
        .property("type", text("Always about:blank"))
        .property("title", text("The status in words"))
        .property("status", ObjectBuilder::new().schema_type(Type::Integer).build())
        .property("detail", text("What was refused, and why"))
        .property("code", text("A stable word for programs"))
        .property("message", text("The same as detail"))
        .property("remedy", text("What to do"))
        .property("field", field.build());
    for name in ["type", "title", "status", "detail", "code", "message", "remedy", "field"] {
        object = object.required(name);
    }
    object.build().into()
}
