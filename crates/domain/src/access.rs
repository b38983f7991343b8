//! Tokens and idempotency keys: who may call, and what a repeated call is answered.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::change::Version;
use crate::id::TokenId;

/// What a token may do. Each scope includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Look.
    Read,
    /// Run, cancel, pin, redeliver.
    Operate,
    /// Everything.
    Admin,
}

/// A bearer token, known only by its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Its identity.
    pub id: TokenId,
    /// What its owner calls it.
    pub name: String,
    /// SHA-256 of the secret, in lower-case hex.
    pub hash: String,
    /// What it may do.
    pub scope: Scope,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last opened a door.
    pub last_used_at: Option<Timestamp>,
    /// For compare-and-swap.
    pub version: Version,
}

/// The identity of a remembered write: who sent which key to which route.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IdempotencyKey {
    /// The caller; none is the local admin token.
    pub token: Option<TokenId>,
    /// Method and path.
    pub route: String,
    /// What the caller sent as `Idempotency-Key`.
    pub key: String,
}

/// What a repeated write is answered. Kept for 24 hours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idempotency {
    /// Whose call this answers.
    pub id: IdempotencyKey,
    /// SHA-256 of the request body: the same key with another body is an error.
    pub body_sha256: String,
    /// The HTTP status of the answer.
    pub status: u16,
    /// The answer.
    pub result: String,
    /// When it was given.
    pub at: Timestamp,
}
