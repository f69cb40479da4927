//! The harness of the tests: real daemons, real databases, clients for every surface, and a reader of the source tree.

pub mod rust_source;
