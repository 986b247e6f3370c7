use std::io::Write;
use std::process::{Command, Stdio};

use super::*;

fn proxies(variables: &[(&str, &str)]) -> Proxies {
    Proxies::from_variables(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

#[test]
fn variable_is_chosen_by_the_scheme() {
    let chosen = |variables: &[(&str, &str)], tls| {
        proxies(variables).choose(tls, "example.com", 1).map(|(variable, url)| format!("{variable} {url}"))
    };
    let http = [("HTTP_PROXY", "http://p:1")];
    assert_eq!(chosen(&http, false).unwrap(), "http_proxy http://p:1");
    assert_eq!(chosen(&http, true), None);
    let both = [("http_proxy", "http://p:1"), ("Https_Proxy", "http://s:1")];
    assert_eq!(chosen(&both, false).unwrap(), "https_proxy http://s:1");
    assert_eq!(chosen(&both, true).unwrap(), "https_proxy http://s:1");
    let own = [("wss_proxy", "w"), ("ws_proxy", "v"), ("https_proxy", "s"), ("socks_proxy", "k")];
    assert_eq!(chosen(&own, true).unwrap(), "wss_proxy w");
    assert_eq!(chosen(&own, false).unwrap(), "ws_proxy v");
    assert_eq!(chosen(&[], true), None);
}

#[test]
fn url_of_a_proxy_may_have_credentials() {
    let proxy = parse("https_proxy", "http://me%40home:s%3Acret@proxy.example:3128/").unwrap();
    assert_eq!(proxy.host, Host::new("proxy.example", Some(3128)));
    assert_eq!(
        proxy.authorization.unwrap(),
        format!("Basic {}", data_encoding::BASE64.encode(b"me@home:s:cret"))
    );
    assert_eq!(parse("https_proxy", "proxy").unwrap().host, Host::new("proxy", Some(80)));
    assert_eq!(parse("https_proxy", "HTTP://[::1]:3128").unwrap().host, Host::new("::1", Some(3128)));
    for bad in
        ["", "http://", "http://:3128", "http://h:port", "https://h:1", "socks5h://h:1", "http://a b:1"]
    {
        assert!(parse("https_proxy", bad).is_err(), "{bad:?}");
    }
}

#[test]
fn no_password_is_shown() {
    let proxies = proxies(&[("https_proxy", "http://me:secret@h:1")]);
    assert!(!format!("{proxies:?}").contains("secret"));
    let unusable = super::tests::proxies(&[("https_proxy", "https://me:secret@h:1")]);
    let Err((place, error)) = unusable.find(true, "h", 1) else { panic!("it is usable") };
    assert!(!format!("{place} {error} {error:?}").contains("secret"));
}

/// Reads lines of JSON, each a list of variables, a host and a port, and prints for each whether Python bypasses the
/// proxy, and all proxies that it knows.
const JUDGE: &str = r#"
import json, os, sys, urllib.request
for line in sys.stdin:
    variables, host = json.loads(line)
    os.environ.clear()
    os.environ.update(variables)
    print(json.dumps([bool(urllib.request.proxy_bypass_environment(host)), urllib.request.getproxies_environment()]))
"#;

#[test]
fn variables_are_understood_as_python_does() {
    let available =
        Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success());
    if !available {
        let _ = writeln!(std::io::stderr(), "skipped: python3 is needed to compare with its urllib");
        return;
    }
    let cases: Vec<_> = (1..=3000).map(generate).collect();
    let verdicts = judge(&cases);
    assert_eq!(verdicts.len(), cases.len());
    let mut bypassed = 0;
    for ((variables, host, port), verdict) in cases.iter().zip(verdicts) {
        let proxies = Proxies::from_variables(variables.clone());
        let ours = serde_json::json!([proxies.is_bypassed(host, *port), proxies.urls]);
        assert_eq!(ours, verdict, "{variables:?} {host} {port}");
        bypassed += usize::from(proxies.is_bypassed(host, *port));
    }
    assert!((300..2700).contains(&bypassed), "{bypassed}");
}

type Case = (Vec<(String, String)>, String, u16);

fn judge(cases: &[Case]) -> Vec<serde_json::Value> {
    let mut child = Command::new("python3")
        .args(["-c", JUDGE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let line = |(variables, host, port): &Case| {
        let variables: HashMap<_, _> = variables.iter().cloned().collect();
        format!("{}\n", serde_json::json!([variables, format!("{host}:{port}")]))
    };
    let input: String = cases.iter().map(line).collect();
    let writing = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap().unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Random variables and a random server. No two names end with `_proxy` and differ before it in case: which of them
/// counts depends on the order of the environment.
fn generate(seed: u64) -> Case {
    const NAMES: [[&str; 2]; 4] = [
        ["http_proxy", "HTTP_PROXY"],
        ["https_proxy", "Https_Proxy"],
        ["no_proxy", "NO_PROXY"],
        ["ws_proxy", "WS_PROXY"],
    ];
    const ENTRIES: [&str; 12] = [
        "*",
        "example.com",
        ".example.com",
        "EXAMPLE.com:8686",
        "com",
        "localhost",
        " ::1 ",
        "127.0.0.1",
        "",
        "10.0.0.0/8",
        "ample.com",
        "*.example.com",
    ];
    const HOSTS: [&str; 7] =
        ["example.com", "a.Example.COM", "badexample.com", "localhost", "::1", "127.0.0.1", "h"];
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut pick = |bound: usize| {
        // xorshift64
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % bound as u64) as usize
    };
    let mut variables = Vec::new();
    for names in NAMES {
        for name in names {
            let value = match pick(4) {
                0 => continue,
                1 if pick(2) == 0 => String::new(),
                _ if names[0] != "no_proxy" => format!("http://{name}:{}", pick(9)),
                _ => (0..=pick(2)).map(|_| ENTRIES[pick(ENTRIES.len())]).collect::<Vec<_>>().join(","),
            };
            variables.push((name.to_owned(), value));
        }
    }
    if pick(5) == 0 {
        variables.push(("REQUEST_METHOD".to_owned(), "GET".to_owned()));
    }
    (variables, HOSTS[pick(HOSTS.len())].to_owned(), [80, 8686][pick(2)])
}
