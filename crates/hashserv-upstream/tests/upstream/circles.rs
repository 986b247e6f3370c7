//! Servers that are each other's upstream.

use std::sync::Arc;

use hashserv_log::CapturedLog;
use hashserv_protocol::Address;
use hashserv_service::Service;
use tokio::time::timeout;
use tracing::Level;

use crate::support::{GENEROUS_TIMEOUT, Running, hash, report, service, unihash, upstream};

/// Addresses at which nobody listens yet.
async fn free_addresses(count: usize) -> Vec<Address> {
    let mut listeners = Vec::new();
    for _ in 0..count {
        listeners.push(tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap());
    }
    listeners.iter().map(|listener| listener.local_addr().unwrap().to_string().parse().unwrap()).collect()
}

/// Servers of which each has the next one for its upstream, the last the first. Each knows the task of its
/// number, counted from 1.
async fn circle(count: usize) -> Vec<Running> {
    let addresses = free_addresses(count).await;
    let mut servers = Vec::new();
    for (number, address) in addresses.iter().enumerate() {
        let next = &addresses[(number + 1) % count];
        let (service, directory) = service(Some(Arc::new(upstream(next, GENEROUS_TIMEOUT)))).await;
        know(&service, number + 1).await;
        servers.push(Running::serve(&address.to_string(), service, directory).await);
    }
    servers
}

async fn know(service: &Service, number: usize) {
    let local = service.without_upstream();
    local.equivalence().report(vec![report(number, 100 + number)]).await.unwrap();
}

/// Asks a server in every way for what nobody knows, and for what it and the next server know.
async fn expect_answers(servers: &[Running], asked: usize) {
    let known = [asked + 1, (asked + 1) % servers.len() + 1];
    let mut client = servers[asked].client().await;
    let asking = async {
        let tasks = [known[0], 900 + asked, known[1]].map(|number| ("m", hash(number)));
        let found = client.get_stream().await.unwrap().unihashes(&tasks).await.unwrap();
        assert_eq!(found, [Some(hash(known[0])), None, Some(hash(known[1]))]);
        let unknown = hash(800 + asked);
        assert_eq!(client.exists_stream().await.unwrap().exist(&[&unknown]).await.unwrap(), [false]);
        assert!(client.get_row("m", &unknown).await.unwrap().is_none());
        assert!(client.get_outhash("m", &unknown, &unknown, true).await.unwrap().is_none());
        let row = client.get_outhash("m", &hash(100 + known[1]), &unknown, true).await.unwrap();
        assert_eq!(row.unwrap().unihash, Some(hash(known[1])));
        let new = report(700 + asked, 7000 + asked);
        let reported = servers[asked].service.equivalence().report(vec![new]).await.unwrap();
        assert_eq!(reported, [unihash(700 + asked)]);
    };
    timeout(GENEROUS_TIMEOUT / 2, asking).await.expect("no question goes round");
}

#[tokio::test]
async fn server_that_is_its_own_upstream_answers_at_once_and_warns() {
    let log = CapturedLog::start();
    let servers = circle(1).await;
    for _ in 0..2 {
        expect_answers(&servers, 0).await;
    }
    let warnings = log.lines(Level::WARN);
    assert!(warnings.len() == 1 && warnings[0].contains("is this server itself"), "{warnings:?}");
}

#[tokio::test]
async fn two_servers_with_each_other_for_upstream_answer_at_once_what_either_has() {
    let log = CapturedLog::start();
    let servers = circle(2).await;
    for asked in [0, 1, 0] {
        expect_answers(&servers, asked).await;
    }
    let warnings = log.lines(Level::WARN);
    let about_circles =
        warnings.iter().filter(|warning| warning.contains("asks this server in turn")).count();
    assert!((1..=2).contains(&about_circles) && warnings.len() == about_circles, "{warnings:?}");
}

#[tokio::test]
async fn two_servers_that_ask_each_other_at_the_same_time_do_not_wait_for_each_other() {
    let servers = circle(2).await;
    tokio::join!(expect_answers(&servers, 0), expect_answers(&servers, 1));
}

#[tokio::test]
async fn longer_circle_is_cut_at_one_place() {
    let log = CapturedLog::start();
    let servers = circle(4).await;
    expect_answers(&servers, 0).await;
    let mut client = servers[0].client().await;
    let found = client.get("m", &hash(4)).await.unwrap().unwrap();
    assert_eq!(found.unihash, hash(4), "the last server has it");
    for asked in 0..3 {
        expect_answers(&servers, asked).await;
    }
    let warnings = log.lines(Level::WARN);
    assert!(warnings.len() == 1 && warnings[0].contains("asks this server in turn"), "{warnings:?}");
}
