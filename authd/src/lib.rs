//! The authd daemon as a library; `main.rs` only starts it.
//!
//! ```text
//!   domain ◄── auth ◄── { http, admin, jobs }
//!      ▲                       ▲
//!      ├── store, limit, crypto
//!      └── feature/*  ─────────┘        daemon sees all
//! ```
//! `domain` holds nouns, rules and the traits at their boundary; `auth` the use cases, one file a verb;
//! `store`, `limit` and `crypto` implement the traits; `http`, `admin` and `jobs` call `auth`; `daemon` is the only
//! place that names concrete types together. `tests/it/imports.rs` enforces the arrows.

pub mod admin;
pub mod auth;
pub mod cli;
pub mod config;
pub mod crypto;
pub mod daemon;
pub mod domain;
pub mod feature;
pub mod http;
pub mod jobs;
pub mod lifecycle;
pub mod limit;
pub mod listener;
pub mod log;
pub mod metrics;
pub mod spool;
pub mod store;
pub mod sys;
pub mod tasks;
