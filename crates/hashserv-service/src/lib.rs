//! The rules of hash equivalence: look-ups, reports, accounts, maintenance, upstream policy.
