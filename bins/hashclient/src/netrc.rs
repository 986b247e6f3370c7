//! Logins from a netrc file.

use std::io;
use std::path::{Path, PathBuf};

/// A netrc file cannot be used. What is in it is never told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetrcError {
    #[error("cannot read {path} to look for a login (use --no-netrc to do without)", path = path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{path}, line {line}: {reason} (use --no-netrc to do without)", path = path.display())]
    Syntax { path: PathBuf, line: usize, reason: &'static str },
}

/// The user name and the token for a server, from `$NETRC` or `~/.netrc`. The latter need not exist.
pub(crate) fn login(address: &str) -> Result<Option<(String, String)>, NetrcError> {
    let chosen = std::env::var_os("NETRC").filter(|path| !path.is_empty()).map(PathBuf::from);
    let usual = || std::env::home_dir().map(|home| home.join(".netrc"));
    let must_exist = chosen.is_some();
    let Some(path) = chosen.or_else(usual) else { return Ok(None) };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !must_exist => return Ok(None),
        Err(source) => return Err(NetrcError::Read { path, source }),
    };
    find(&text, address).map_err(|error| error.within(&path))
}

/// What is wrong, and in which line.
#[derive(Debug, PartialEq, Eq)]
struct SyntaxError {
    line: usize,
    reason: &'static str,
}

impl SyntaxError {
    fn within(self, path: &Path) -> NetrcError {
        NetrcError::Syntax { path: path.to_owned(), line: self.line, reason: self.reason }
    }
}

#[derive(Default)]
struct Entry {
    /// `None` for `default`.
    machine: Option<String>,
    login: Option<String>,
    password: Option<String>,
}

/// The login of the first entry for `machine`, else of `default`, which is only good with a token.
fn find(text: &str, machine: &str) -> Result<Option<(String, String)>, SyntaxError> {
    let entries = entries(text)?;
    let entry = entries
        .iter()
        .find(|entry| entry.machine.as_deref() == Some(machine))
        .or_else(|| entries.iter().find(|entry| entry.machine.is_none()));
    Ok(entry.and_then(|entry| entry.login.clone().zip(entry.password.clone())))
}

fn entries(text: &str) -> Result<Vec<Entry>, SyntaxError> {
    let mut tokens = Tokens { rest: text, line: 1 };
    let mut entries: Vec<Entry> = Vec::new();
    while let Some(keyword) = tokens.next()? {
        // A comment is only one where a keyword is expected: a token may begin with that character.
        if keyword.starts_with('#') {
            tokens.skip_line();
            continue;
        }
        match keyword.as_str() {
            "machine" => entries.push(Entry { machine: Some(tokens.value()?), ..Entry::default() }),
            "default" => entries.push(Entry::default()),
            "macdef" => tokens.skip_macro(),
            "login" | "user" | "password" | "account" => {
                let value = tokens.value()?;
                let entry = entries.last_mut().ok_or_else(|| tokens.error("no machine comes before this"))?;
                match keyword.as_str() {
                    "password" => entry.password = Some(value),
                    "account" => {}
                    _ => entry.login = Some(value),
                }
            }
            _ => return Err(tokens.error("machine, default, login, password, account or macdef expected")),
        }
    }
    Ok(entries)
}

/// Words between blanks; in double quotes they may have blanks, and after a backslash any character.
struct Tokens<'a> {
    rest: &'a str,
    line: usize,
}

impl Tokens<'_> {
    fn next(&mut self) -> Result<Option<String>, SyntaxError> {
        let mut token = String::new();
        let start = self.rest.trim_start();
        self.advance(self.rest.len() - start.len());
        if start.is_empty() {
            return Ok(None);
        }
        let quoted = start.starts_with('"');
        let mut characters = start.char_indices().skip(usize::from(quoted));
        while let Some((at, character)) = characters.next() {
            match character {
                '\\' => token.extend(characters.next().map(|(_, escaped)| escaped)),
                '"' if quoted => {
                    self.advance(at + 1);
                    return Ok(Some(token));
                }
                blank if blank.is_whitespace() && !quoted => {
                    self.advance(at);
                    return Ok(Some(token));
                }
                other => token.push(other),
            }
        }
        if quoted {
            return Err(self.error("a quotation mark is not closed"));
        }
        self.advance(start.len());
        Ok(Some(token))
    }

    fn value(&mut self) -> Result<String, SyntaxError> {
        self.next()?.ok_or_else(|| self.error("a value is missing"))
    }

    fn skip_line(&mut self) {
        self.advance(self.rest.find('\n').unwrap_or(self.rest.len()));
    }

    /// A macro ends with an empty line.
    fn skip_macro(&mut self) {
        self.advance(self.rest.find("\n\n").unwrap_or(self.rest.len()));
    }

    fn advance(&mut self, count: usize) {
        let (passed, rest) = self.rest.split_at(count);
        self.line += passed.matches('\n').count();
        self.rest = rest;
    }

    fn error(&self, reason: &'static str) -> SyntaxError {
        SyntaxError { line: self.line, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<(String, String)> {
        find(text, "ws://host:1/ws").unwrap()
    }

    fn login(username: &str, token: &str) -> Option<(String, String)> {
        Some((username.to_owned(), token.to_owned()))
    }

    #[test]
    fn an_entry_is_found_by_the_whole_address() {
        let text = "machine host login a password b\nmachine ws://host:1/ws\n\tlogin u\n\tpassword t\n";
        assert_eq!(found(text), login("u", "t"));
        assert_eq!(found("machine host login a password b"), None);
        assert_eq!(found(""), None);
    }

    #[test]
    fn default_is_the_last_resort() {
        let text = "default login d password e\nmachine ws://host:1/ws login u password t";
        assert_eq!(found(text), login("u", "t"));
        assert_eq!(find(text, "other").unwrap(), login("d", "e"));
    }

    #[test]
    fn comments_are_skipped_but_not_within_values() {
        let text = "# machine x\n#login y\nmachine ws://host:1/ws # here\nlogin u password #t # \"unclosed\n";
        assert_eq!(found(text), login("u", "#t"));
    }

    #[test]
    fn values_may_be_quoted() {
        let text = r#"machine "ws://host:1/ws" login "a \"b\" c" password d\ e"#;
        assert_eq!(found(text), login("a \"b\" c", "d e"));
    }

    #[test]
    fn macros_are_skipped() {
        let text = "machine a login b password c\nmacdef init\nmachine ws://host:1/ws\nlogin no\n\n\
                    machine ws://host:1/ws account x login u password t\n";
        assert_eq!(found(text), login("u", "t"));
        assert_eq!(found("macdef init\nmachine ws://host:1/ws login a password b"), None);
    }

    #[test]
    fn an_entry_without_a_token_is_no_login() {
        assert_eq!(found("machine ws://host:1/ws login u"), None);
    }

    #[test]
    fn errors_name_the_line_and_nothing_that_stands_in_it() {
        for (text, line) in [
            ("\nlogin u", 2),
            ("machine", 1),
            ("machine a\nlogin u\npassword", 3),
            ("machine a login u pasword secret", 1),
            ("machine a login u password \"secret\n\n", 1),
        ] {
            let error = find(text, "a").unwrap_err();
            assert_eq!(error.line, line, "{text:?}");
            assert!(!error.within(Path::new("f")).to_string().contains("secret"));
        }
    }
}
