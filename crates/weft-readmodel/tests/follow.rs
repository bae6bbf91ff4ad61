//! Following a real log, and rebuilding from it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test panics")]

mod common;
mod world;

use std::time::Duration;

use common::*;
use tokio_util::sync::CancellationToken;
use weft_readmodel::{ProjectError, Repeats, rebuild};
use world::*;

on_both! {
    live_restarted_and_rebuilt_hold_the_same,
    a_projector_waits_for_a_log_that_is_closed_until_it_is_told_to_end,
    a_rebuild_that_fails_leaves_nothing,
}

async fn live_restarted_and_rebuilt_hold_the_same(on: On) {
    let world = World::new(on);
    world.append(events(60)).await;
    world.append(vec![asked(3, "nhs-numbers-differ"), decided(&[(4, 4)], &[])]).await;
    // What was quarantined is accepted when it is sent again.
    world.append(vec![message_of(4, 3, "Family0", vec![fact("0", "3", 3, 3)])]).await;
    let model = world.place.model("live").await;
    let shutdown = CancellationToken::new();
    let role = world.project(&model, "one", &shutdown);
    caught_up(&world.log, &model).await;
    let early = model.known_at();
    world.append(events(150).split_off(65)).await;
    caught_up(&world.log, &model).await;
    shutdown.cancel();
    role.await.unwrap().unwrap();

    // The role starts again where it ended.
    world.append(events(200).split_off(155)).await;
    let shutdown = CancellationToken::new();
    let role = world.project(&model, "one", &shutdown);
    caught_up(&world.log, &model).await;
    shutdown.cancel();
    role.await.unwrap().unwrap();

    let path = world.place.location("rebuilt");
    let report = rebuild(world.log.clone(), &path, None, Repeats::Never).await.unwrap();
    assert_eq!(report.events, 208);
    assert_eq!(report.known_at, model.known_at());
    let rebuilt = world.place.model("rebuilt").await;
    assert_eq!(model.digest(None).await.unwrap(), rebuilt.digest(None).await.unwrap());

    // As of an earlier cut, what the newer file says of it is what a file that knows no more says.
    let path = world.place.location("early");
    assert_eq!(rebuild(world.log.clone(), &path, Some(&early), Repeats::Never).await.unwrap().known_at, early);
    let then = world.place.model("early").await;
    assert_eq!(model.differences(&then, &early).await.unwrap(), []);
    assert!(then.digest(None).await.unwrap().iter().all(|table| table.rows > 0 || table.table.starts_with("parked")));
    let again = rebuild(world.log.clone(), &path, None, Repeats::Never).await;
    assert!(matches!(again, Err(ProjectError::Exists(_))), "{again:?}");

    // The rebuilt file goes on as a live one.
    world.append(events(210).split_off(205)).await;
    let shutdown = CancellationToken::new();
    let role = world.project(&rebuilt, "two", &shutdown);
    caught_up(&world.log, &rebuilt).await;
    shutdown.cancel();
    role.await.unwrap().unwrap();
    assert_ne!(model.digest(None).await.unwrap(), rebuilt.digest(None).await.unwrap());
}

async fn a_projector_waits_for_a_log_that_is_closed_until_it_is_told_to_end(on: On) {
    let world = World::new(on);
    let model = world.place.model("live").await;
    let shutdown = CancellationToken::new();
    let role = world.project(&model, "one", &shutdown);
    world.log.close().await;
    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(20), role).await.unwrap().unwrap().unwrap();
}

async fn a_rebuild_that_fails_leaves_nothing(on: On) {
    let world = World::new(on);
    world.append(events(10)).await;
    world.log.close().await;
    let path = world.place.location("rebuilt");
    assert!(rebuild(world.log.clone(), &path, None, Repeats::Never).await.is_err());
    // Nothing is in the way of the next.
    let again = World::new(on);
    again.append(events(10)).await;
    assert_eq!(rebuild(again.log.clone(), &path, None, Repeats::Never).await.unwrap().events, 15);
}
