//! The document: OpenAPI 3.1, made from the routes and the wire types themselves.

use std::sync::OnceLock;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::api::Problem;
use crate::once;
use crate::query::{Param, Place};
use crate::route::{Answer, Content, Route};
use crate::routes;

/// The document. It never changes while the process lives.
pub(crate) fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| write(&routes::all()))
}

fn write(routes: &[Route]) -> Value {
    let settings = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into());
    let mut schemas = settings.into_generator();
    let mut paths = Map::new();
    for route in routes {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.as_str().to_ascii_lowercase()] = operation(route, &mut schemas);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Sexton",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Keeper of AI agents' sessions. Lists are newest first and paged by cursor. \
                Every error is `application/problem+json` with a stable `code` and mostly a `hint`.",
        },
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": schemas.take_definitions(true),
        },
    })
}

fn operation(route: &Route, schemas: &mut SchemaGenerator) -> Value {
    let key = once::writes(&route.method).then(|| parameter(&once::KEY));
    let params = route.params.iter().map(parameter).chain(key);
    let parameters = segments(route.path).chain(params);
    let mut operation = json!({
        "summary": route.summary,
        "parameters": parameters.collect::<Vec<Value>>(),
        "responses": responses(&route.answers, schemas),
    });
    if let Some(body) = &route.body {
        let content = content(std::iter::once(body), schemas);
        operation["requestBody"] = json!({ "required": true, "content": content });
    }
    if !route.path.starts_with("/v1/") && route.path != "/openapi.json" {
        operation["security"] = json!([]);
    }
    operation
}

fn segments(path: &str) -> impl Iterator<Item = Value> {
    let names = path.split('/').filter_map(|it| it.strip_prefix('{')?.strip_suffix('}'));
    names.map(|name| {
        json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
    })
}

fn parameter(param: &Param) -> Value {
    let place = match param.place {
        Place::Query => "query",
        Place::Header => "header",
    };
    let schema = json!({ "type": "string" });
    json!({ "name": param.name, "in": place, "description": param.takes, "schema": schema })
}

fn responses(answers: &[Answer], schemas: &mut SchemaGenerator) -> Value {
    let mut responses = Map::new();
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.dedup();
    for status in statuses {
        let same = answers.iter().filter(|answer| answer.status == status);
        let content = content(same.map(|answer| &answer.content), schemas);
        let description = match status {
            201 => "It was made",
            202 => "It was accepted and goes on",
            _ => "It is so",
        };
        let response = json!({ "description": description, "content": content });
        responses.insert(status.to_string(), response);
    }
    let problem =
        json!({ "application/problem+json": { "schema": schemas.subschema_for::<Problem>() } });
    responses
        .insert("default".to_owned(), json!({ "description": "A problem", "content": problem }));
    Value::Object(responses)
}

/// Media types with their shapes; two shapes of one type are alternatives.
fn content<'a>(
    contents: impl Iterator<Item = &'a Content>,
    schemas: &mut SchemaGenerator,
) -> Value {
    let mut media: Map<String, Value> = Map::new();
    for content in contents {
        let schema = (content.schema)(schemas).to_value();
        match media.get_mut(content.media) {
            None => drop(media.insert(content.media.to_owned(), json!({ "schema": schema }))),
            Some(earlier) => {
                let first = earlier["schema"].take();
                *earlier = json!({ "schema": { "anyOf": [first, schema] } });
            }
        }
    }
    Value::Object(media)
}
