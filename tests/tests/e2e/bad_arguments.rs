//! Arguments that are missing, of the wrong type, or not what they should be.

use hashserv_tests::{Launch, METHOD, TestServer, hash};
use serde_json::{Value, json};

use crate::everywhere::{everywhere, everywhere_with};

/// Each command that takes arguments, with good ones, and which of them may be missing.
fn good_requests() -> Vec<(&'static str, Value, &'static [&'static str])> {
    let unihash = hash("unihash");
    let report = json!({
        "method": METHOD, "taskhash": "T", "outhash": "O", "unihash": unihash, "owner": "o", "PN": "p", "PV": "v",
        "PR": "r", "task": "t", "outhash_siginfo": "s",
    });
    vec![
        ("get", json!({"method": METHOD, "taskhash": "T", "all": false}), &["all"]),
        (
            "get-outhash",
            json!({"method": METHOD, "outhash": "O", "taskhash": "T", "with_unihash": true}),
            &["with_unihash"],
        ),
        ("report", report, &["owner", "PN", "PV", "PR", "task", "outhash_siginfo"]),
        ("report-equiv", json!({"method": METHOD, "taskhash": "T", "unihash": unihash}), &[]),
        ("remove", json!({"where": {"method": METHOD}}), &[]),
        ("clean-unused", json!({"max_age_seconds": 5}), &[]),
        ("gc-mark", json!({"mark": "M", "where": {"method": METHOD}}), &[]),
        ("gc-sweep", json!({"mark": "M"}), &[]),
        ("auth", json!({"username": "admin", "token": "secret"}), &[]),
        ("become-user", json!({"username": "admin"}), &[]),
        ("get-user", json!({"username": "admin"}), &["username"]),
        ("new-user", json!({"username": "new", "permissions": []}), &[]),
        ("set-user-perms", json!({"username": "admin", "permissions": []}), &[]),
        ("refresh-token", json!({"username": "admin"}), &["username"]),
        ("delete-user", json!({"username": "admin"}), &["username"]),
    ]
}

/// A value of each type.
fn values() -> Vec<Value> {
    vec![json!(null), json!(true), json!(5), json!("text"), json!(["text"]), json!({"text": "text"})]
}

#[tokio::test]
async fn a_missing_argument_is_refused() {
    everywhere_with(with_admin, async |server| {
        for (command, arguments, optional) in good_requests() {
            for name in names(&arguments).into_iter().filter(|name| !optional.contains(&name.as_str())) {
                let mut arguments = arguments.clone();
                arguments.as_object_mut().expect("arguments").remove(&name);
                is_refused(server, &json!({command: arguments}), &name).await;
            }
        }
        nothing_has_changed(server).await;
    })
    .await;
}

#[tokio::test]
async fn an_argument_of_the_wrong_type_is_refused() {
    everywhere_with(with_admin, async |server| {
        for (command, arguments, optional) in good_requests() {
            for name in names(&arguments) {
                for value in values().into_iter().filter(|value| !same_type(value, &arguments[&name])) {
                    // Without a value, what is optional counts as missing.
                    if value.is_null() && optional.contains(&name.as_str()) {
                        continue;
                    }
                    let mut arguments = arguments.clone();
                    arguments[&name] = value;
                    is_refused(server, &json!({command: arguments}), "").await;
                }
            }
        }
        nothing_has_changed(server).await;
    })
    .await;
}

#[tokio::test]
async fn arguments_that_are_no_object_are_refused() {
    everywhere_with(with_admin, async |server| {
        for (command, _, optional) in good_requests() {
            for arguments in [json!([]), json!("x"), json!(5), json!(true)] {
                is_refused(server, &json!({command: arguments}), "").await;
            }
            if optional != ["username"] {
                is_refused(server, &json!({command: null}), "").await;
                is_refused(server, &json!({command: {}}), "").await;
            }
        }
        nothing_has_changed(server).await;
    })
    .await;
}

#[tokio::test]
async fn a_unihash_that_is_no_hash_is_never_stored() {
    everywhere(async |server| {
        let good = hash("good");
        for unihash in [
            "",
            "text",
            &good[1..],
            &format!("{good}0"),
            &good.to_uppercase(),
            &format!("{}g", &good[1..]),
            &format!("{}\n", &good[1..]),
            &format!(" {}", &good[1..]),
            &format!("{}\u{0660}", &good[2..]),
            "${@os.system('true')}${@os.system('true')}${@os.system('true')}${@",
        ] {
            let report = json!({"method": METHOD, "taskhash": "T", "outhash": "O", "unihash": unihash});
            let mut client = server.connect().await;
            assert_eq!(
                client.ask_refused(&json!({"report": report})).await,
                "Invalid unihash",
                "{unihash:?}"
            );
            let equivalence = json!({"method": METHOD, "taskhash": "T", "unihash": unihash});
            let mut client = server.connect().await;
            let refusal = client.ask_refused(&json!({"report-equiv": equivalence})).await;
            assert_eq!(refusal, "Invalid unihash", "{unihash:?}");
        }
        nothing_has_changed(server).await;
    })
    .await;
}

#[tokio::test]
async fn malformed_lines_of_a_stream_of_marks_are_refused() {
    everywhere(async |server| {
        for line in
            ["x", "5", "[]", "null", "{}", "[\"M\", {}]", "{\"mark\": \"M\"}", "{\"mark\": 1, \"where\": {}}"]
        {
            let mut client = server.connect().await;
            client.send_lines(&["{\"gc-mark-stream\": null}", line]).await;
            assert_eq!(client.line().await, "\"ok\"");
            client.refusal().await;
        }
        nothing_has_changed(server).await;
    })
    .await;
}

#[tokio::test]
async fn malformed_line_of_a_stream_ends_it_without_a_further_line() {
    everywhere(async |server| {
        let long = "x".repeat(1025);
        let (method, taskhash) = (format!("{long} T"), format!("M {long}"));
        for (command, reply, line) in [
            ("get-stream", "", "one"),
            ("get-stream", "", "a b c"),
            ("get-stream", "", "M a\0b"),
            ("get-stream", "", &method),
            ("get-stream", "", &taskhash),
            ("exists-stream", "false", "a\0b"),
            ("exists-stream", "false", &long),
        ] {
            let mut client = server.connect().await;
            // What came before is answered; two words are a query, whatever they are.
            client.send_lines(&[&format!("{{\"{command}\": null}}"), "{\"ping\": {}}", line, "M T"]).await;
            assert_eq!(client.line().await, "\"ok\"");
            assert_eq!(client.line().await, reply);
            client.closed().await;
        }
        nothing_has_changed(server).await;
    })
    .await;
}

#[tokio::test]
async fn too_long_a_hash_is_refused_by_name() {
    everywhere(async |server| {
        for (command, arguments, _) in good_requests() {
            for name in ["method", "taskhash", "outhash", "mark"]
                .into_iter()
                .filter(|name| !arguments[name].is_null())
            {
                let mut arguments = arguments.clone();
                arguments[name] = "x".repeat(1025).into();
                is_refused(
                    server,
                    &json!({command: arguments}),
                    &format!("{name} is longer than 1024 bytes"),
                )
                .await;
            }
        }
        nothing_has_changed(server).await;
    })
    .await;
}

#[tokio::test]
async fn removal_by_an_unknown_column_removes_nothing() {
    everywhere(async |server| {
        let report = json!({"method": METHOD, "taskhash": "T", "outhash": "O", "unihash": hash("unihash")});
        let mut client = server.connect().await;
        client.ask(json!({"report": report})).await;
        let typing_error = json!({"remove": {"where": {"method": METHOD, "PNN": "x"}}});
        is_refused(server, &typing_error, "'PNN'").await;
        let conditions = json!({"method": METHOD, "id": "0", "created": "never"});
        assert_eq!(client.ask(json!({"remove": {"where": conditions}})).await, json!({"count": 0}));
        assert_eq!(client.ask(json!({"remove": {"where": {"method": METHOD}}})).await, json!({"count": 2}));
    })
    .await;
}

fn with_admin(launch: Launch) -> Launch {
    launch.with_admin("@read,@report,@db-admin")
}

fn names(arguments: &Value) -> Vec<String> {
    arguments.as_object().expect("arguments").keys().cloned().collect()
}

fn same_type(one: &Value, other: &Value) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
}

/// The request is refused with an explanation that contains `named`.
async fn is_refused(server: &TestServer, request: &Value, named: &str) {
    let mut client = match is_for_administrators(request) {
        true => server.log_in("admin", "secret").await,
        false => server.connect().await,
    };
    let refusal = client.ask_refused(request).await;
    assert!(refusal.contains(named) && refusal != "internal error", "{request}: {refusal}");
}

fn is_for_administrators(request: &Value) -> bool {
    let mut commands = request.as_object().into_iter().flat_map(|request| request.keys());
    commands.any(|command| command.contains("user") || command == "refresh-token")
}

/// No hash was stored, no user made, no collection begun.
async fn nothing_has_changed(server: &TestServer) {
    let mut client = server.connect().await;
    let usage = client.ask(json!({"get-db-usage": {}})).await;
    for table in ["unihashes_v3", "outhashes_v2"] {
        assert_eq!(usage["usage"][table]["rows"], 0, "{usage}");
    }
    assert!(usage["usage"]["users"]["rows"].as_u64() <= Some(1), "{usage}");
    assert_eq!(client.ask(json!({"gc-status": {}})).await["mark"], Value::Null);
}
