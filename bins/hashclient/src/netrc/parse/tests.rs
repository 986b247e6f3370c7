use std::io::Write;
use std::process::{Command, Stdio};

use super::*;

const MACHINE: &str = "ws://host:1/ws";

/// Number of generated files that are compared with Python's reading of them.
const GENERATED_FILES: usize = 5000;

fn found(text: &str) -> Option<Login> {
    find(text, MACHINE).unwrap()
}

fn login(username: &str, token: &str) -> Option<Login> {
    Some(Login::new(username, token))
}

#[test]
fn an_entry_is_found_by_the_whole_address() {
    let text = "machine host login a password b\nmachine ws://host:1/ws\n\tlogin u\n\tpassword t\n";
    assert_eq!(found(text), login("u", "t"));
    assert_eq!(found("machine host login a password b"), None);
    assert_eq!(found(""), None);
}

#[test]
fn last_entry_of_a_machine_wins() {
    let text = "machine ws://host:1/ws login a password b\nmachine ws://host:1/ws login u password t\n";
    assert_eq!(found(text), login("u", "t"));
    assert_eq!(found(&format!("{text}machine ws://host:1/ws\n")), None, "an empty one too");
}

#[test]
fn default_is_the_last_resort() {
    let text = "default login d password e\nmachine ws://host:1/ws login u password t";
    assert_eq!(found(text), login("u", "t"));
    assert_eq!(find(text, "other").unwrap(), login("d", "e"));
}

#[test]
fn lines_may_end_as_on_windows() {
    let text = "macdef init\r\nmachine x\r\n\r\nmachine ws://host:1/ws\r\nlogin u\r\npassword t\r\n";
    assert_eq!(found(text), login("u", "t"));
}

#[test]
fn errors_name_the_line() {
    for (text, line) in [
        ("\nlogin u", 2),
        ("machine", 1),
        ("machine a login u pasword secret", 1),
        ("machine a login u\npassword x\nmacdef m\nfoo\n", 4),
    ] {
        assert_eq!(find(text, "a").unwrap_err().line, line, "{text:?}");
    }
}

/// Reads texts as JSON, one a line, and prints what the netrc module makes of each: the login and password for
/// the machine, `null` without an entry, or `"error"`.
const JUDGE: &str = r#"
import json, netrc, sys, tempfile
with tempfile.NamedTemporaryFile() as file:
    for line in sys.stdin:
        with open(file.name, "wb") as out:
            out.write(json.loads(line).encode())
        try:
            found = netrc.netrc(file.name).authenticators(sys.argv[1])
        except netrc.NetrcParseError:
            print('"error"')
            continue
        print(json.dumps(found and [found[0], found[2]]))
"#;

#[test]
fn files_are_understood_as_python_does() {
    let Some(()) = python_is_new_enough() else { return };
    let texts: Vec<String> = (1..=GENERATED_FILES).map(|seed| generate(seed as u64)).collect();
    let verdicts = judge(&texts);
    assert_eq!(verdicts.len(), texts.len());
    let mut kinds = [0; 3];
    for (text, verdict) in texts.iter().zip(verdicts) {
        let ours = match entry(text, MACHINE) {
            Err(_) => serde_json::json!("error"),
            Ok(None) => serde_json::Value::Null,
            Ok(Some(entry)) => serde_json::json!([entry.login, entry.password]),
        };
        assert_eq!(ours, verdict, "{text:?}");
        kinds[if verdict.is_array() { 0 } else { usize::from(verdict.is_null()) + 1 }] += 1;
    }
    assert!(kinds.iter().all(|count| *count > GENERATED_FILES / 50), "found, malformed, nothing: {kinds:?}");
}

/// Older releases read netrc files by other rules.
fn python_is_new_enough() -> Option<()> {
    let version =
        Command::new("python3").args(["-c", "import sys; sys.exit(sys.version_info < (3, 11))"]).status();
    if version.is_ok_and(|status| status.success()) {
        return Some(());
    }
    let _ = writeln!(
        std::io::stderr(),
        "skipped: python3, 3.11 or later, is needed to compare with its netrc module"
    );
    None
}

fn judge(texts: &[String]) -> Vec<serde_json::Value> {
    let mut child = Command::new("python3")
        .args(["-c", JUDGE, MACHINE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input: String = texts.iter().map(|text| format!("{}\n", serde_json::json!(text))).collect();
    let writing = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A file of random pieces: mostly entries in good order, and all that a lexer can stumble over.
fn generate(seed: u64) -> String {
    const PIECES: [&str; 40] = [
        "machine ",
        "machine ",
        "machine ws://host:1/ws ",
        "machine ws://host:1/ws\n",
        "default ",
        "default\n",
        "ws://host:1/ws ",
        "host",
        "login u ",
        "login other\n",
        "user x ",
        "user",
        "password t ",
        "password p\n",
        "password \"a b\" ",
        "password a\\ b\n",
        "account c ",
        "account",
        "macdef init\n",
        "macdef\n\n",
        "\n",
        "\n\n",
        "\r\n",
        "\r\n\r\n",
        "\r",
        " ",
        "\t",
        "#",
        "# ",
        "# comment here\n",
        "#comment\n",
        "\"",
        "\"\" ",
        "\\",
        "\\\n",
        "password #t\n",
        "é ",
        "\u{a0}",
        "\u{c}",
        "login \"",
    ];
    // Entries in good order make up half of the pieces, else nearly every file is malformed.
    const ENTRIES: [&str; 6] = [
        "machine ws://host:1/ws login u password t\n",
        "machine ws://host:1/ws\r\n\tlogin v\r\n\tpassword s\r\n",
        "machine other login a password b\n",
        "default login d password e\n",
        "macdef init\nmachine ws://host:1/ws login no password no\n\n",
        "# a comment\n",
    ];
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut pick = |bound: usize| {
        // xorshift64
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % bound as u64) as usize
    };
    let count = pick(8);
    let wildness = pick(4);
    (0..count)
        .map(|_| if pick(4) < wildness { PIECES[pick(PIECES.len())] } else { ENTRIES[pick(ENTRIES.len())] })
        .collect()
}
