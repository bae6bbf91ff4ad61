//! FindPersons and GetPerson.

use weft_model::{
    AsOf, PersonId,
    proto::{
        api::{
            DemographicQuery, FindPersonsRequest, FindPersonsResponse, GetPersonRequest, LocalIdentifier,
            find_persons_request::By,
        },
        event::LinkMethod,
    },
};

use crate::node::{Node, context, demographics, nhs_number, record};

async fn find(node: &Node, by: By, limit: u32) -> FindPersonsResponse {
    let request = FindPersonsRequest { context: context(), by: Some(by), limit };
    node.clients.person.clone().find_persons(request).await.unwrap().into_inner()
}

async fn check(node: &Node, by: By, wanted: &[u8]) {
    let found = find(node, by.clone(), 0).await;
    let ids: Vec<String> = found.persons.into_iter().map(|person| person.person_id).collect();
    let wanted: Vec<String> = wanted.iter().map(|n| PersonId([*n; 16]).to_string()).collect();
    assert_eq!(ids, wanted, "{by:?}");
    assert!(!found.more && found.known_at.is_some());
}

fn local(organisation: &str, system: &str, value: &str) -> By {
    By::LocalIdentifier(LocalIdentifier {
        organisation: organisation.to_owned(),
        system: system.to_owned(),
        value: value.to_owned(),
    })
}

fn named(family: &str, given: &str, birth_date: &str, sex: &str, postcode: &str) -> By {
    By::Demographics(DemographicQuery {
        family: family.to_owned(),
        given: given.to_owned(),
        birth_date: birth_date.to_owned(),
        sex: sex.to_owned(),
        postcode: postcode.to_owned(),
    })
}

#[tokio::test]
async fn persons_are_found_by_number_identifier_and_demographics() {
    let node = Node::start().await;
    node.person(1, 1).await;
    node.person(2, 1).await;
    let number = nhs_number(2);
    check(&node, By::NhsNumber(format!("{} {} {}", &number[..3], &number[3..6], &number[6..])), &[2]).await;
    check(&node, By::NhsNumber(nhs_number(3)), &[]).await;
    check(&node, local("RYJ", "RYJ-MRN", "001"), &[1]).await;
    check(&node, local("ryj", "", " 001 "), &[1]).await;
    check(&node, local("RYJ", "OTHER", "001"), &[]).await;
    check(&node, local("RQM", "", "001"), &[]).await;
    check(&node, named("obrien", "", "1980-02-28", "", ""), &[1, 2]).await;
    check(&node, named("O'BRIEN", "zoe2", "1980-02-28", "female", "w21ny"), &[2]).await;
    check(&node, named("O'Brien", "", "1980-02-28", "male", ""), &[]).await;
    check(&node, named("O'Brien", "", "1980-02-27", "", ""), &[]).await;
}

#[tokio::test]
async fn more_than_the_limit_is_said() {
    let node = Node::start().await;
    for n in 1..=3 {
        node.person(n, 0).await;
    }
    let by = named("O'Brien", "", "1980-02-28", "", "");
    let two = find(&node, by.clone(), 2).await;
    assert_eq!((two.persons.len(), two.more), (2, true));
    let three = find(&node, by, 3).await;
    assert_eq!((three.persons.len(), three.more), (3, false));
}

#[tokio::test]
async fn a_person_shows_their_records_and_why_they_are_linked() {
    let node = Node::start_embedded().await;
    let (person, first) = node.person(1, 1).await;
    let before = node.model.known_at();
    let second = record("RQM", "77");
    node.message(&second, Some(demographics(1)), Vec::new()).await;
    let decided = node.link(&second, person).await;
    node.projected().await;
    let request = GetPersonRequest { context: context(), person_id: person.to_string(), as_of: None };
    let mut client = node.clients.person.clone();
    let answer = client.get_person(request.clone()).await.unwrap().into_inner();
    let summary = answer.person.unwrap();
    assert_eq!((summary.nhs_number, summary.birth_date, summary.records), (nhs_number(1), "1980-02-28".to_owned(), 2));
    assert_eq!(answer.records.iter().map(|r| r.record.clone().unwrap()).collect::<Vec<_>>(), [second, first]);
    let linked = &answer.records[0];
    assert_eq!(
        (linked.method(), linked.score, linked.model.as_str()),
        (LinkMethod::NhsNumberCrossCheck, 60, "rules/1")
    );
    assert_eq!(linked.evidence.iter().map(|e| i64::from(e.weight)).sum::<i64>(), linked.score);
    assert_eq!(linked.decided_at, Some(decided.to_proto()));
    let then = GetPersonRequest { as_of: Some(AsOf::Sizes(before).to_proto()), ..request };
    assert_eq!(client.get_person(then).await.unwrap().into_inner().records.len(), 1);
}
