//! Schemas of words that `domain` defines: the lists come from the types themselves, so that the
//! document cannot drift.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use sexton_domain::event::EventType;
use sexton_domain::hook::DeadReason;
use sexton_domain::key::SessionKind;
use sexton_domain::run::Outcome;
use sexton_domain::session::EndReason;

/// The word that stands for a value on the wire.
pub(crate) fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

macro_rules! schemas {
    ($($name:ident = $schema:tt;)*) => {$(
        pub(super) struct $name;

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )*};
}

schemas! {
    Id = { "type": "string", "format": "uuid" };
    OutcomeWord = { "type": "string", "enum": Outcome::ALL };
    EndReasonWord = { "type": "string", "enum": EndReason::ALL };
    KindWord = { "type": "string", "enum": SessionKind::ALL };
    DeadReasonWord = { "type": "string", "enum": DeadReason::ALL };
    EventTypeWord = { "type": "string", "enum": EventType::ALL };
}
