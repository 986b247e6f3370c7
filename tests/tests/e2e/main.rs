//! End-to-end tests: the real programs, over every transport and on every database.

mod bad_arguments;
mod bad_clients;
mod bad_input;
mod bitbake_client;
mod commands;
mod crashes;
mod databases;
mod everywhere;
mod golden;
mod hashclient;
mod layering;
mod packaging;
mod sharing;
mod starting;
mod stopping;
mod tls;
mod upstream;
mod users;
