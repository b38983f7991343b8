//! Who may call: tokens, hosts, origins.

use sexton_server::api::{Code, Health, Status};

use crate::client::Request;
use crate::world::{TOKEN, World};

#[tokio::test]
async fn without_the_token_only_health_is_answered() {
    let world = World::new().await;
    let bare = |path: &str| Request::new(world.address, "GET", path).send();
    assert_eq!(bare("/healthz").await.is::<Health>(200).status, "ok");
    assert_eq!(bare("/readyz").await.is::<Health>(200).status, "ready");
    for path in ["/v1/status", "/v1/jobs", "/v1/events", "/openapi.json", "/nowhere"] {
        let answer = bare(path).await;
        let problem = answer.problem(Code::Unauthorized);
        assert!(problem.hint.unwrap().contains("SEXTON_TOKEN"));
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
}

#[tokio::test]
async fn a_wrong_token_opens_nothing_and_the_right_one_in_any_case_of_bearer() {
    let world = World::new().await;
    let call = |value: String| world.call("GET", "/v1/status").header("authorization", &value);
    for wrong in ["Bearer nonsense", "Bearer", "Basic YTpi", "Bearer ", TOKEN] {
        call(wrong.to_owned()).send().await.problem(Code::Unauthorized);
    }
    call(format!("Bearer {TOKEN}x")).send().await.problem(Code::Unauthorized);
    call(format!("bearer {TOKEN}")).send().await.is::<Status>(200);
}

#[tokio::test]
async fn a_host_that_is_not_ours_is_refused_even_with_the_token() {
    let world = World::new().await;
    let call = |host: &str| world.call("GET", "/v1/status").header("host", host).send();
    for wrong in
        ["evil.example", "localhost.evil.example", "192.0.2.7:4747", "a b", "127.0.0.1.nip.io"]
    {
        let problem = call(wrong).await.problem(Code::WrongHost);
        assert_eq!(problem.value.as_deref(), Some(wrong));
    }
    let port = world.address.port();
    for ours in ["localhost", "LOCALHOST:1", "[::1]:99", "sexton.example", "127.0.0.1"] {
        call(ours).await.is::<Status>(200);
    }
    call(&format!("127.0.0.1:{port}")).await.is::<Status>(200);
    // Liveness is asked for by whatever address a supervisor uses.
    let probe = Request::new(world.address, "GET", "/healthz").header("host", "10.1.2.3");
    probe.send().await.is::<Health>(200);
}

#[tokio::test]
async fn a_page_of_another_site_is_refused() {
    let world = World::new().await;
    let call = |origin: &str| world.call("GET", "/v1/status").header("origin", origin).send();
    for wrong in ["https://evil.example", "null", "http://localhost:1", "http://127.0.0.1"] {
        call(wrong).await.problem(Code::WrongOrigin);
    }
    call(&format!("http://{}", world.address)).await.is::<Status>(200);
}
