//! The heavy scenarios: a hundredth of their figures in an ordinary run, a fifth with `tests/run --full`, all of them
//! with `tests/run --soak`.
