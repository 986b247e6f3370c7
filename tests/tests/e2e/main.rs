//! End-to-end tests: the real programs, over every transport and on every database.

mod golden;
