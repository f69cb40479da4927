//! Accept loop with deadlines and caps.
