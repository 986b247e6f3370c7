//! Databases for single tests.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::programs::{psql, run};

/// The encoding that servers need.
pub(crate) const UTF8: &str = "UTF8";

/// A database, dropped with this value.
#[derive(Debug)]
pub struct Database {
    name: String,
    url: String,
    server: String,
}

impl Database {
    /// Makes a database on a server, of which some database is named.
    pub(crate) fn create(server: &str, encoding: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("hashserv_test_{}_{number}", std::process::id());
        let database = Database { url: with_database(server, &name), name, server: server.to_owned() };
        let drop = format!("DROP DATABASE IF EXISTS {}", database.name);
        let locale = if encoding == UTF8 { "" } else { "LC_COLLATE 'C' LC_CTYPE 'C'" };
        let create =
            format!("CREATE DATABASE {} TEMPLATE template0 ENCODING '{encoding}' {locale}", database.name);
        psql_run(server, &[&drop, &create]);
        database
    }

    /// The URL for `--database`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The name of the database on its server.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Holds what SQL locks until the value that is returned is dropped.
    ///
    /// # Panics
    ///
    /// Where it fails.
    #[must_use]
    pub fn hold(&self, sql: &str) -> Hold {
        Hold::begin(&self.url, sql)
    }

    /// Runs SQL as a client of PostgreSQL would; gives the rows as lines, their columns separated by `|`.
    ///
    /// # Panics
    ///
    /// Where it fails.
    pub fn run(&self, sql: &str) -> String {
        psql_run(&self.url, &[sql])
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        // The server may be stopped, and everything with it.
        let _ = psql_command(&self.server, &[&drop]).output();
    }
}

/// A transaction of another client that is under way, and rolled back with this value.
#[derive(Debug)]
pub struct Hold(Child);

impl Hold {
    fn begin(url: &str, sql: &str) -> Self {
        let mut command = psql_command(url, &[]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("psql runs");
        let input = child.stdin.as_mut().expect("it is piped");
        input.write_all(format!("BEGIN;\n{sql};\n\\echo held\n").as_bytes()).expect("psql reads");
        let output = BufReader::new(child.stdout.as_mut().expect("it is piped"));
        assert!(output.lines().map_while(Result::ok).any(|line| line == "held"), "{sql} fails");
        Hold(child)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn psql_run(url: &str, statements: &[&str]) -> String {
    run(&mut psql_command(url, statements))
}

fn psql_command(url: &str, statements: &[&str]) -> Command {
    let mut command = Command::new(psql());
    command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url]);
    for statement in statements {
        command.args(["-c", statement]);
    }
    command.env("PGOPTIONS", "-c client_min_messages=warning");
    command
}

/// The URL with another database.
fn with_database(url: &str, name: &str) -> String {
    let (head, query) = url.split_once('?').map_or((url, None), |(head, query)| (head, Some(query)));
    let authority_starts = head.find("://").map_or(0, |at| at + 3);
    let authority_ends = head[authority_starts..].find('/').map_or(head.len(), |at| authority_starts + at);
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("{}/{name}{query}", &head[..authority_ends])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_database_keeps_the_rest_of_the_url() {
        for (url, expected) in [
            ("postgresql://u@h:1/a", "postgresql://u@h:1/b"),
            ("postgresql://u@h", "postgresql://u@h/b"),
            ("postgresql://u@h/a?sslmode=require", "postgresql://u@h/b?sslmode=require"),
            ("postgresql:///a?host=/run", "postgresql:///b?host=/run"),
        ] {
            assert_eq!(with_database(url, "b"), expected);
        }
    }
}
