//! The document is the API: every route is in it, and it changes only on purpose.

use sexton_server::api::Code;
use sexton_server::openapi;

use crate::world::World;

#[test]
fn the_document_is_the_one_that_was_reviewed() {
    insta::assert_snapshot!(serde_json::to_string_pretty(openapi()).unwrap());
}

/// A path of the document that the router does not know, or a method it does not take, and the
/// other way round.
#[tokio::test]
async fn every_documented_route_answers_and_no_other_method_does() {
    let world = World::new().await;
    let served: serde_json::Value = world.get("/openapi.json").await.is(200);
    assert_eq!(&served, openapi());
    let paths = openapi()["paths"].as_object().unwrap();
    assert!(paths.len() >= 18, "{}", paths.len());
    for (path, operations) in paths {
        let target = path.replace("{id}", "00000000-0000-7000-8000-000000000000");
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            if target == "/v1/events" && method == "GET" {
                continue;
            }
            // An unknown parameter ends every request before it does anything.
            let answer = world.call(method, &format!("{target}?unheard_of=1")).send().await;
            if operations.get(method.to_ascii_lowercase()).is_some() {
                answer.problem(Code::UnknownParameter);
            } else {
                answer.problem(Code::MethodNotAllowed);
                assert!(!answer.header("allow").is_empty(), "{answer:?}");
            }
        }
    }
}

#[test]
fn every_reference_of_the_document_leads_somewhere() {
    let text = openapi().to_string();
    let references = text.split("\"$ref\":\"#").skip(1).map(|it| it.split('"').next().unwrap());
    for reference in references {
        assert!(openapi().pointer(reference).is_some(), "{reference}");
    }
}
