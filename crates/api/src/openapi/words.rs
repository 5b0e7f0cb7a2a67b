//! How the document shows the types of the model: texts with a form, and words of a short list.

use hubward_model as model;
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{KnownFormat, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// A schema that stands in the document under the type's own name.
macro_rules! word {
    ($(#[$doc:meta])* $name:ident, $schema:expr) => {
        $(#[$doc])*
        pub(crate) struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                RefOr::T(Schema::Object($schema))
            }
        }

        impl ToSchema for $name {}
    };
}

fn text(description: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).description(Some(description))
}

fn one_of(description: &str, words: impl IntoIterator<Item = &'static str>) -> Object {
    text(description).enum_values(Some(words)).build()
}

/// A word of the model: the list is the model's own.
macro_rules! model_words {
    ($($(#[$doc:meta])* $name:ident: $text:literal),+ $(,)?) => {
        $(word!($(#[$doc])* $name, one_of($text, model::$name::ALL.iter().map(|word| word.as_str())));)+
    };
}

word!(
    /// A point in time.
    Timestamp,
    text("A point in time, RFC 3339 with milliseconds, UTC")
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .examples(["2026-11-22T22:19:00.123Z"])
        .build()
);
word!(
    /// A place in the journal.
    Offset,
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(0))
        .description(Some("A place in the journal: ordered, with gaps"))
        .build()
);
word!(
    /// A device's public id.
    DeviceId,
    text("A device's public id").build()
);
word!(
    /// An integration's id.
    IntegrationId,
    text("An integration's id").build()
);
word!(
    /// What a hub knows a message by.
    MessageId,
    text("What a hub knows a message by: the same for every repeat of it").build()
);
word!(
    /// What an alarm is about.
    AlarmKind,
    one_of("What an alarm is about", hubward_registry::AlarmKind::ALL.iter().map(|kind| kind.as_str()))
);
word!(
    /// Why a message was dropped.
    DropReason,
    one_of("Why a message was dropped", hubward_broker::DropReason::ALL.iter().map(|reason| reason.as_str()))
);
word!(
    /// What a user may do.
    Role,
    one_of("What a user may do", hubward_registry::Role::ALL.iter().map(|role| role.as_str()))
);
model_words! {
    /// How a device speaks.
    DeviceKind: "How a device speaks to the server",
    /// What a body is.
    BodyFormat: "What the body of a message to the hub is",
    /// The way up.
    Transport: "The way up to the hub",
    /// An existing identity.
    OnExisting: "What to do when the hub has an identity of the wanted id already",
    /// A missing identity.
    OnMissing: "What to do when an identity was deleted outside",
    /// Keys of an identity made again.
    OnMissingKeys: "Which keys an identity gets that is made again",
    /// A full backlog.
    OnFull: "What to do when a backlog reaches its limit",
    /// A hub's tier.
    Tier: "A tier of IoT Hub",
    /// What an integration does.
    IntegrationState: "What an integration is doing",
    /// What a device in it does.
    BindingState: "What a device in an integration is doing",
}
