//! All tests of the whole: one binary, a module a surface.

mod imports;
mod packages;
mod store;
