//! Routes: each is declared once, for the router and for the document.

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware;
use axum::routing::{MethodFilter, MethodRouter, on};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use sexton_engine::handle::Handle;

use crate::large::{self, Room};
use crate::query::{self, Param};

/// One method of one path.
#[derive(Debug)]
pub(crate) struct Route {
    /// How it is called.
    pub method: Method,
    /// Where; `{…}` is a segment of the caller's.
    pub path: &'static str,
    /// One line for the document.
    pub summary: &'static str,
    /// The parameters and headers it knows; others in the query are refused.
    pub params: &'static [Param],
    /// What it reads.
    pub body: Option<Content>,
    /// What it answers when it does what was asked for.
    pub answers: Vec<Answer>,
    /// Its answers may have megabytes.
    large: bool,
    handler: MethodRouter<Handle>,
}

/// An answer that is not a problem.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// What it carries.
    pub content: Content,
}

/// A media type and the shape of what is in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Content {
    /// The media type.
    pub media: &'static str,
    /// The shape.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
}

impl Content {
    /// JSON of this type.
    pub fn json<T: JsonSchema>() -> Self {
        Self { media: "application/json", schema: SchemaGenerator::subschema_for::<T> }
    }
}

impl Route {
    fn new<H, T>(filter: MethodFilter, method: Method, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, Handle>,
        T: 'static,
    {
        let handler = on(filter, handler);
        let (summary, params, body, answers) = ("", &[][..], None, Vec::new());
        Self { method, path, summary, params, body, answers, large: false, handler }
    }

    pub fn get<H: Handler<T, Handle>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self::new(MethodFilter::GET, Method::GET, path, handler)
    }

    pub fn post<H: Handler<T, Handle>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self::new(MethodFilter::POST, Method::POST, path, handler)
    }

    pub fn put<H: Handler<T, Handle>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self::new(MethodFilter::PUT, Method::PUT, path, handler)
    }

    pub fn patch<H: Handler<T, Handle>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self::new(MethodFilter::PATCH, Method::PATCH, path, handler)
    }

    pub fn delete<H: Handler<T, Handle>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self::new(MethodFilter::DELETE, Method::DELETE, path, handler)
    }

    pub fn summary(self, summary: &'static str) -> Self {
        Self { summary, ..self }
    }

    pub fn params(self, params: &'static [Param]) -> Self {
        Self { params, ..self }
    }

    pub fn reads<T: JsonSchema>(self) -> Self {
        Self { body: Some(Content::json::<T>()), ..self }
    }

    pub fn answers<T: JsonSchema>(self, status: u16) -> Self {
        self.answers_with(status, Content::json::<T>())
    }

    pub fn answers_with(mut self, status: u16, content: Content) -> Self {
        self.answers.push(Answer { status, content });
        self
    }

    /// Only so many of its answers are in memory at once.
    pub fn large(self) -> Self {
        Self { large: true, ..self }
    }

    /// Adds it to a router.
    pub fn add_to(self, router: Router<Handle>, room: &Room) -> Router<Handle> {
        let handler = match self.large {
            true => self
                .handler
                .layer(middleware::from_fn_with_state(room.clone(), large::when_there_is_room)),
            false => self.handler,
        };
        let only = middleware::from_fn_with_state(self.params, query::only);
        router.route(self.path, handler.layer(only))
    }
}
