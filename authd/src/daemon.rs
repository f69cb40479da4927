//! The dependency container: builds every part and joins them.
