//! Each command but those for users, over every transport.

use hashserv_tests::{
    CHUNK, METHOD, RawClient, TestServer, Transport, get, hash, report, report_of, task_of, unihash_of,
};
use serde_json::{Value, json};

use crate::everywhere::{each_place, everywhere};

#[tokio::test]
async fn ping_and_look_ups() {
    everywhere(async |server| {
        let mut client = server.connect().await;
        client.ping().await;
        assert_eq!(client.ask(get(&task_of("a"))).await, Value::Null);
        let reply = client.ask(report("a")).await;
        let known = json!({"method": METHOD, "taskhash": task_of("a"), "unihash": unihash_of("a")});
        assert_eq!(reply, known);
        assert_eq!(client.ask(get(&task_of("a"))).await, known);
        let row = client.ask(get_all(&task_of("a"))).await;
        assert_eq!(row["outhash"], hash("out a"));
        assert_eq!(row["gc_mark"], "");
        assert_eq!(row["outhash_siginfo"], Value::Null);
    })
    .await;
}

#[tokio::test]
async fn an_outhash_is_found_with_or_without_its_unihash() {
    everywhere(async |server| {
        let mut client = server.connect().await;
        client.ask(report("a")).await;
        let ask = |with_unihash: bool| {
            json!({"get-outhash": {"method": METHOD, "outhash": hash("out a"), "taskhash": "any", "with_unihash": with_unihash}})
        };
        let row = client.ask(ask(true)).await;
        assert_eq!(row["unihash"], unihash_of("a"));
        let row = client.ask(ask(false)).await;
        assert_eq!(row["taskhash"], task_of("a"));
        assert!(row.get("unihash").is_none(), "{row}");
        let unknown = json!({"get-outhash": {"method": METHOD, "outhash": "none", "taskhash": "any"}});
        assert_eq!(client.ask(unknown).await, Value::Null);
    })
    .await;
}

#[tokio::test]
async fn tasks_with_the_same_output_share_the_oldest_unihash() {
    everywhere(async |server| {
        let mut client = server.connect().await;
        client.ask(report_of("t1", "same", &unihash_of("1"))).await;
        let reply = client.ask(report_of("t2", "same", &unihash_of("2"))).await;
        assert_eq!(reply["unihash"], unihash_of("1"));
        let reply = client.ask(report_of("t1", "other", &unihash_of("3"))).await;
        assert_eq!(reply["unihash"], unihash_of("1"), "the first writer wins");
        let equivalence =
            json!({"report-equiv": {"method": METHOD, "taskhash": "t4", "unihash": unihash_of("4")}});
        assert_eq!(client.ask(equivalence).await["unihash"], unihash_of("4"));
        let again = json!({"report-equiv": {"method": METHOD, "taskhash": "t1", "unihash": unihash_of("4")}});
        assert_eq!(client.ask(again).await["unihash"], unihash_of("1"));
    })
    .await;
}

#[tokio::test]
async fn streams_answer_each_line_in_order() {
    everywhere(async |server| {
        let mut client = server.connect().await;
        client.ask(report("a")).await;
        assert_eq!(client.unihashes(&[task_of("a"), task_of("b")]).await, [unihash_of("a"), String::new()]);
        client.send_lines(&["{\"exists-stream\": null}", &unihash_of("a"), &unihash_of("b"), ""]).await;
        for expected in ["\"ok\"", "true", "false", "ok"] {
            assert_eq!(client.line().await, expected);
        }
        let mark = json!({"mark": "M", "where": {"unihash": unihash_of("a")}}).to_string();
        client.send_lines(&["{\"gc-mark-stream\": null}", &mark, &mark, "END"]).await;
        assert_eq!(client.line().await, "\"ok\"");
        for _ in 0..2 {
            assert_eq!(client.message().await, json!({"count": 1}));
        }
        assert_eq!(client.line().await, "ok");
        client.ping().await;
    })
    .await;
}

#[tokio::test]
async fn a_long_pipeline_is_answered_in_order() {
    everywhere(async |server| {
        let mut client = server.connect().await;
        let names: Vec<String> = (0..300).map(|number| number.to_string()).collect();
        for name in &names {
            client.send(&report(name)).await;
        }
        for name in &names {
            assert_eq!(client.message().await["unihash"], unihash_of(name));
        }
        let asked: Vec<String> = (0..5000).map(|number| task_of(&(number % 600).to_string())).collect();
        let unihashes = client.unihashes(&asked).await;
        for (number, unihash) in unihashes.iter().enumerate() {
            let number = number % 600;
            let expected = if number < 300 { unihash_of(&number.to_string()) } else { String::new() };
            assert_eq!(*unihash, expected);
        }
    })
    .await;
}

#[tokio::test]
async fn statistics_are_counted_and_reset() {
    everywhere(async |server| {
        let mut client = server.connect().await;
        client.ping().await;
        let before = client.ask(json!({"get-stats": null})).await;
        let requests = before["requests"]["num"].as_u64().expect("a number");
        assert!(requests >= 1, "{before}");
        for key in ["total_time", "max_time", "average", "stdev"] {
            assert!(before["requests"][key].is_f64(), "{key}: {before}");
        }
        client.unihashes(&["a", "b", "c"]).await;
        server.connect().await.ask_refused(&json!({"get": {}})).await;
        let after = client.ask(json!({"reset-stats": null})).await;
        // Asking for them, the switch, every line, and what was refused.
        assert_eq!(after["requests"]["num"].as_u64(), Some(requests + 1 + 1 + 3 + 1), "{after}");
        let reset = client.ask(json!({"get-stats": null})).await;
        assert_eq!(reset["requests"]["num"].as_u64(), Some(1), "{reset}");
        assert_eq!(client.ask(json!({"backfill-wait": null})).await, json!({"tasks": 0}));
    })
    .await;
}

#[tokio::test]
async fn the_database_tells_its_columns_and_figures() {
    everywhere(async |server| {
        let mut client = server.connect().await;
        client.ask(report("a")).await;
        let usage = client.ask(json!({"get-db-usage": {}})).await;
        assert_eq!(usage["usage"]["unihashes_v3"]["rows"], 1);
        assert_eq!(usage["usage"]["outhashes_v2"]["rows"], 1);
        assert_eq!(usage["usage"]["users"]["rows"], 0);
        let reply = client.ask(json!({"get-db-query-columns": null})).await;
        let mut columns: Vec<&str> =
            reply["columns"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
        columns.sort_unstable();
        let expected = "PN PR PV gc_mark method outhash outhash_siginfo owner task taskhash unihash";
        assert_eq!(columns.join(" "), expected);
    })
    .await;
}

#[tokio::test]
async fn rows_are_removed_and_cleaned() {
    everywhere(async |server| {
        let mut client = server.connect().await;
        for name in ["a", "b", "c"] {
            client.ask(report(name)).await;
        }
        let remove = |conditions: Value| json!({"remove": {"where": conditions}});
        assert_eq!(client.ask(remove(json!({"taskhash": task_of("a")}))).await, json!({"count": 2}));
        assert_eq!(client.ask(get(&task_of("a"))).await, Value::Null);
        assert_eq!(client.ask(remove(json!({}))).await, json!({"count": 0}));
        assert_eq!(client.ask(remove(json!({"owner": null, "PN": null}))).await, json!({"count": 0}));
        assert_eq!(client.ask(remove(json!({"unihash": unihash_of("b")}))).await, json!({"count": 1}));
        let clean = |age: u64| json!({"clean-unused": {"max_age_seconds": age}});
        assert_eq!(client.ask(clean(3600)).await, json!({"count": 0}), "it is younger");
        assert_eq!(client.ask(clean(0)).await, json!({"count": 1}));
        assert_eq!(client.ask(get(&task_of("c"))).await["unihash"], unihash_of("c"));
    })
    .await;
}

#[tokio::test]
async fn garbage_is_marked_and_swept() {
    everywhere(async |server| {
        let mut client = server.connect().await;
        for name in ["a", "b"] {
            client.ask(report(name)).await;
        }
        let status = client.ask(json!({"gc-status": {}})).await;
        assert_eq!(status, json!({"keep": 2, "remove": 0, "mark": null}));
        let mark = json!({"gc-mark": {"mark": "M", "where": {"unihash": unihash_of("a")}}});
        assert_eq!(client.ask(mark).await, json!({"count": 1}));
        client.ask(report("new")).await;
        let status = client.ask(json!({"gc-status": {}})).await;
        assert_eq!(status, json!({"keep": 2, "remove": 1, "mark": "M"}));
        let refusal = client.ask_refused(&json!({"gc-sweep": {"mark": "N"}})).await;
        assert_eq!(refusal, "'N' is not the current mark. Refusing to sweep");
        let mut client = server.connect().await;
        assert_eq!(client.ask(json!({"gc-sweep": {"mark": "M"}})).await, json!({"count": 1}));
        assert_eq!(client.ask(get(&task_of("b"))).await, Value::Null);
        assert_eq!(client.ask(get(&task_of("new"))).await["unihash"], unihash_of("new"));
    })
    .await;
}

#[tokio::test]
async fn a_text_of_megabytes_comes_back_as_it_was() {
    everywhere(async |server| {
        let mut client = server.connect().await;
        let text = "drwxr-xr-x root  root   ./usr/share/Straße/☃ \t\r\n\u{1f600}  ".repeat(20_000);
        client.ask(report_with_text(&text)).await;
        let row = client.ask(get_all(&task_of("large"))).await;
        assert!(row["outhash_siginfo"] == text.as_str(), "the text has changed");
        client.ping().await;
    })
    .await;
}

#[tokio::test]
async fn a_reply_is_sent_in_chunks_from_the_bound_on() {
    each_place(async |backend, transport| {
        let server = TestServer::new(backend, transport).await;
        let mut client = server.connect().await;
        let empty = reply_with_text(&mut client, "").await.text.len();
        for (length, chunked) in [(CHUNK - 1, false), (CHUNK, true), (CHUNK + 1, true), (3 * CHUNK, true)] {
            let reply = reply_with_text(&mut client, &"x".repeat(length - empty)).await;
            assert_eq!(reply.text.len(), length);
            assert_eq!(reply.chunked, chunked && !transport.is_websocket(), "{length} over {transport:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_server_listens_on_several_transports_at_once() {
    for backend in hashserv_tests::Backend::all() {
        let launch = hashserv_tests::Launch::new(backend, Transport::Unix);
        let server = launch.and(Transport::Tcp).and(Transport::Ws).and(Transport::Wss).start().await;
        assert_eq!(server.addresses().len(), 4);
        RawClient::open(server.address()).await.ask(report("a")).await;
        for address in server.addresses() {
            let reply = RawClient::open(address).await.ask(get(&task_of("a"))).await;
            assert_eq!(reply["unihash"], unihash_of("a"), "{address}");
        }
    }
}

/// The reply to `get` with all for a task whose text is this.
async fn reply_with_text(client: &mut RawClient, text: &str) -> hashserv_tests::Message {
    client.ask(json!({"remove": {"where": {"method": METHOD}}})).await;
    client.ask(report_with_text(text)).await;
    // Identifiers and times may have more digits; the rows without them are what is measured.
    let request = json!({"get": {"method": METHOD, "taskhash": task_of("large"), "all": true}});
    client.send(&request).await;
    client.try_message().await.expect("a message").expect("a reply")
}

fn report_with_text(text: &str) -> Value {
    let mut report = report("large");
    report["report"]["outhash_siginfo"] = text.into();
    report
}

fn get_all(taskhash: &str) -> Value {
    json!({"get": {"method": METHOD, "taskhash": taskhash, "all": true}})
}
