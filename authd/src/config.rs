//! Configuration: where values come from, what they mean, what is wrong with them.
