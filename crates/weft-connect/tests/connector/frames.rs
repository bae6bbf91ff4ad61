//! What arrives on the socket, in whatever pieces, and the bytes that answer it.

use std::time::Duration;

use expect_test::{Expect, expect};

use crate::site::{Site, admission, answer, answers, framed, hung_up, send, stored, within};

/// Sends `chunks` one after the other, each acknowledged by the kernel before the next.
async fn check(chunks: &[&[u8]], wanted: &[&str], ids: &[&str]) {
    let site = Site::new().await;
    let mut client = site.client().await;
    for chunk in chunks {
        within(client.write_raw(chunk)).await.unwrap();
    }
    for (n, wanted) in wanted.iter().enumerate() {
        assert_eq!(&answer(&mut client).await, wanted, "answer {n}");
    }
    within(client.finish()).await.unwrap();
    hung_up(&mut client).await;
    assert_eq!(site.stored_ids().await, ids);
}

#[tokio::test]
async fn joined_and_split_frames() {
    let three = framed(&["1", "2", "3"]);
    check(&[&three], &["AA 1", "AA 2", "AA 3"], &["1", "2", "3"]).await;
    let bytes: Vec<&[u8]> = three.chunks(1).collect();
    check(&bytes, &["AA 1", "AA 2", "AA 3"], &["1", "2", "3"]).await;
    let odd: Vec<&[u8]> = three.chunks(97).collect();
    check(&odd, &["AA 1", "AA 2", "AA 3"], &["1", "2", "3"]).await;
}

#[tokio::test]
async fn junk_between_frames() {
    let (one, two) = (framed(&["1"]), framed(&["2"]));
    check(&[b"GET / HTTP/1.1\r\n\r\n", &one, b"\r\n\x1c\x1c", &two, b"bye"], &["AA 1", "AA 2"], &["1", "2"]).await;
}

#[tokio::test]
async fn an_end_block_without_its_second_byte() {
    let (one, two) = (framed(&["1"]), framed(&["2"]));
    let short = &one[..one.len() - 1];
    check(&[short], &["AA 1"], &["1"]).await;
    check(&[short, &two], &["AA 1", "AA 2"], &["1", "2"]).await;
}

#[tokio::test]
async fn a_sender_that_omits_the_last_byte_and_waits_is_answered() {
    let mut site = Site::new().await;
    let mut client = site.client().await;
    let one = framed(&["1"]);
    within(client.write_raw(&one[..one.len() - 1])).await.unwrap();
    assert_eq!(answer(&mut client).await, "AA 1");
    // The byte that comes late is not junk.
    within(client.write_raw(b"\r")).await.unwrap();
    assert_eq!(send(&mut client, &admission("2")).await, "AA 2");
    assert_eq!(site.status(|_| true).await.bytes_skipped, 0);
}

#[tokio::test]
async fn a_frame_without_end_is_neither_stored_nor_acknowledged() {
    let (one, two) = (framed(&["1"]), framed(&["2"]));
    let broken = &one[..one.len() - 2];
    check(&[broken, &two], &["AA 2"], &["2"]).await;
    check(&[&two, broken], &["AA 2"], &["2"]).await;
    check(&[broken], &[], &[]).await;
}

#[tokio::test]
async fn what_was_wrong_is_counted() {
    let mut site = Site::new().await;
    let (one, two) = (framed(&["1"]), framed(&["2"]));
    let mut client = site.client().await;
    for bytes in [b"junk", &one[..one.len() - 2], &two[..], &one[..40]] {
        within(client.write_raw(bytes)).await.unwrap();
    }
    assert_eq!(answer(&mut client).await, "AA 2");
    within(client.finish()).await.unwrap();
    let status = site.status(|status| status.frames_broken == 2 && status.connections == 0).await;
    assert_eq!((status.bytes_skipped, status.frames_oversized), (4, 0));
}

#[tokio::test]
async fn an_oversized_frame_is_refused_and_the_next_is_read() {
    let mut site = Site::with("message_bytes_max = 1024", |_| {}, |log| log).await;
    let mut client = site.client().await;
    let mut big = admission("big");
    big.resize(500_000, b'x');
    within(client.write([&admission("1")[..], &big, &admission("2")])).await.unwrap();
    assert_eq!(answers(&mut client).await, ["AA 1", "AR ", "AA 2"]);
    assert_eq!(site.status(|_| true).await.frames_oversized, 1);
    assert_eq!(site.stored_ids().await, ["1", "2"]);
}

#[tokio::test]
async fn an_idle_peer_is_hung_up_on() {
    let mut site = Site::with("idle_timeout_s = 1", |_| {}, |log| log).await;
    let mut client = site.client().await;
    assert_eq!(send(&mut client, &admission("1")).await, "AA 1");
    within(client.write_raw(b"\x0bMSH|half")).await.unwrap();
    hung_up(&mut client).await;
    let status = site.status(|status| status.connections == 0).await;
    assert_eq!(status.frames_broken, 1);
}

#[tokio::test]
async fn a_peer_that_does_not_read_its_answers_is_hung_up_on() {
    let limit = Duration::from_millis(200);
    let mut site = Site::with("", |options| options.limits.write_timeout = limit, |log| log).await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = within(socket.connect(site.address())).await.unwrap();
    let many = framed(&["1"; 100]);
    let writing =
        tokio::spawn(async move { while tokio::io::AsyncWriteExt::write_all(&mut stream, &many).await.is_ok() {} });
    site.status(|status| status.connections == 1).await;
    site.status(|status| status.connections == 0).await;
    within(writing).await.unwrap();
    assert_eq!(site.stored_ids().await, ["1"]);
}

async fn check_reply(mllp: &str, message: &[u8], wanted: Expect) {
    let site = Site::with(mllp, |_| {}, |log| log).await;
    let mut client = site.client().await;
    let reply = within(client.send(message)).await.unwrap();
    wanted.assert_eq(&String::from_utf8_lossy(&reply).replace('\r', "\n"));
    let (log, _dir) = site.shutdown().await;
    assert!(stored(&log).await.iter().all(|(_, stored)| stored.raw == message));
}

#[tokio::test]
async fn replies_byte_by_byte() {
    check_reply(
        "",
        &admission("77"),
        expect![[r#"
        MSH|^~\&|WEFT|NWL|PAS|RYJ|20240501103005.250+0100||ACK^A01^ACK|WLVNM9A9U-1|P|2.4
        MSA|AA|77
    "#]],
    )
    .await;
    check_reply(
        "message_bytes_max = 1024",
        &[b'x'; 2000],
        expect![[r#"
        MSH|^~\&|||||20240501103005.250+0100||ACK|WLVNM9A9U-1|P|2.4
        MSA|AR||the message is larger than the feed allows
        ERR|^^^207&Application internal error&HL70357
    "#]],
    )
    .await;
    check_reply(
        "[accept]\nmessage_types = [\"ORU^R01\"]",
        &admission("77"),
        expect![[r#"
        MSH|^~\&|WEFT|NWL|PAS|RYJ|20240501103005.250+0100||ACK^A01^ACK|WLVNM9A9U-1|P|2.4
        MSA|AR|77|the message type is not one that the feed accepts
        ERR|MSH^1^9^200&Unsupported message type&HL70357
    "#]],
    )
    .await;
    check_reply(
        "",
        b"no HL7 at all",
        expect![[r#"
        MSH|^~\&|||||20240501103005.250+0100||ACK|WLVNM9A9U-1|P|2.4
        MSA|AE||the message does not begin with an MSH segment
        ERR|^^^100&Segment sequence error&HL70357
    "#]],
    )
    .await;
    check_reply(
        "",
        b"",
        expect![[r#"
        MSH|^~\&|||||20240501103005.250+0100||ACK|WLVNM9A9U-1|P|2.4
        MSA|AE||the message is empty
        ERR|^^^100&Segment sequence error&HL70357
    "#]],
    )
    .await;
}
