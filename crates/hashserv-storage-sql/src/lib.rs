//! Storage of a hash equivalence server in SQLite and PostgreSQL.
