//! The text of a netrc file, understood as Python's `netrc` module does, which BitBake's client uses.

use std::collections::HashMap;

use hashserv_client::Login;

/// Name that the `default` entry is stored under.
const DEFAULT: &str = "default";

/// Problem with the text, and the line where it was noticed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    pub(super) line: usize,
    pub(super) reason: &'static str,
}

#[derive(Debug, Default)]
struct Entry {
    login: String,
    password: String,
}

/// Returns the login for `machine`: that of its last entry, else of the last `default`. An entry without a name or
/// without a token is no login.
pub(super) fn find(text: &str, machine: &str) -> Result<Option<Login>, SyntaxError> {
    let entry = entry(text, machine)?;
    Ok(entry
        .filter(|entry| !entry.login.is_empty() && !entry.password.is_empty())
        .map(|entry| Login::new(entry.login, entry.password)))
}

fn entry(text: &str, machine: &str) -> Result<Option<Entry>, SyntaxError> {
    // Python reads all line ends as \n.
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut entries = Parser { lexer: Lexer::new(&text), pushed_back: None }.entries()?;
    Ok(entries.remove(machine).or_else(|| entries.remove(DEFAULT)))
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    /// Token that ended an entry and is read again.
    pushed_back: Option<String>,
}

impl Parser<'_> {
    fn entries(&mut self) -> Result<HashMap<String, Entry>, SyntaxError> {
        let mut entries = HashMap::new();
        loop {
            let line_before = self.lexer.newlines;
            let keyword = self.token();
            match keyword.as_str() {
                "" => return Ok(entries),
                // Only a lone # that is followed by more on its line makes that a comment.
                "#" if self.lexer.newlines == line_before => self.lexer.skip_line(),
                comment if comment.starts_with('#') => {}
                "machine" => {
                    let name = self.token();
                    if name.is_empty() {
                        return Err(self.error("the name of the machine is missing"));
                    }
                    let entry = self.entry()?;
                    entries.insert(name, entry);
                }
                DEFAULT => {
                    let entry = self.entry()?;
                    entries.insert(DEFAULT.to_owned(), entry);
                }
                "macdef" => self.skip_macro()?,
                _ => return Err(self.error("machine, default or macdef expected")),
            }
        }
    }

    /// Reads what follows the name of a machine.
    fn entry(&mut self) -> Result<Entry, SyntaxError> {
        let mut entry = Entry::default();
        loop {
            let line_before = self.lexer.newlines;
            let keyword = self.token();
            match keyword.as_str() {
                comment if comment.starts_with('#') => {
                    if self.lexer.newlines == line_before {
                        self.lexer.skip_line();
                    }
                }
                "" | "machine" | "default" | "macdef" => {
                    self.pushed_back = Some(keyword);
                    return Ok(entry);
                }
                "login" | "user" => entry.login = self.token(),
                "password" => entry.password = self.token(),
                "account" => drop(self.token()),
                _ => return Err(self.error("login, user, password or account expected")),
            }
        }
    }

    /// A macro ends with an empty line.
    fn skip_macro(&mut self) -> Result<(), SyntaxError> {
        self.token();
        loop {
            match self.lexer.skip_line_of() {
                "" => return Err(self.error("a macro has no empty line at its end")),
                "\n" => return Ok(()),
                _ => {}
            }
        }
    }

    fn token(&mut self) -> String {
        self.pushed_back.take().unwrap_or_else(|| self.lexer.token())
    }

    fn error(&self, reason: &'static str) -> SyntaxError {
        SyntaxError { line: self.lexer.line(), reason }
    }
}

/// Words between blanks. In double quotes they may have blanks, and after a backslash any character.
struct Lexer<'a> {
    text: &'a str,
    rest: &'a str,
    /// Line ends that were read in and between tokens, not in comments and macros.
    newlines: usize,
}

impl<'a> Lexer<'a> {
    fn new(text: &'a str) -> Self {
        Lexer { text, rest: text, newlines: 0 }
    }

    /// The next token; empty at the end of the text.
    fn token(&mut self) -> String {
        let first = loop {
            match self.next() {
                Some(blank) if is_blank(blank) => {}
                Some(first) => break first,
                None => return String::new(),
            }
        };
        let is_quoted = first == '"';
        let mut token = String::new();
        let mut next = if is_quoted { self.next() } else { Some(first) };
        while let Some(character) = next {
            match character {
                '"' if is_quoted => break,
                blank if !is_quoted && is_blank(blank) => break,
                '\\' => token.extend(self.next()),
                other => token.push(other),
            }
            next = self.next();
        }
        token
    }

    fn next(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let next = characters.next();
        self.rest = characters.as_str();
        self.newlines += usize::from(next == Some('\n'));
        next
    }

    fn skip_line(&mut self) {
        self.skip_line_of();
    }

    /// Skips the rest of the line and returns it with its end.
    fn skip_line_of(&mut self) -> &'a str {
        let end = self.rest.find('\n').map_or(self.rest.len(), |end| end + 1);
        let (line, rest) = self.rest.split_at(end);
        self.rest = rest;
        line
    }

    /// Number of the line that the last token ended in.
    fn line(&self) -> usize {
        let read = &self.text[..self.text.len() - self.rest.len()];
        read.strip_suffix('\n').unwrap_or(read).matches('\n').count() + 1
    }
}

fn is_blank(character: char) -> bool {
    matches!(character, '\n' | '\t' | '\r' | ' ')
}

#[cfg(test)]
mod tests;
