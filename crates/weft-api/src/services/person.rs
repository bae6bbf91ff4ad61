//! `PersonService`: who is who, and why.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use weft_model::{
    PersonId,
    proto::api::{
        DemographicQuery, FindPersonsRequest, FindPersonsResponse, GetPersonRequest, GetPersonResponse,
        LocalIdentifier, find_persons_request::By,
    },
};
use weft_readmodel::{Demographic, Found, ReadModel};

use super::answer;
use crate::{
    arguments,
    context::Asker,
    disclosure::{Answer, Asked, Disclosures},
    error::{Error, detail, invalid},
    generated::server::person_service_server::PersonService,
    moments::Moments,
};

const FIND: &str = "weft.v1.PersonService/FindPersons";
const GET: &str = "weft.v1.PersonService/GetPerson";
const LIMIT_DEFAULT: usize = 20;
const LIMIT_MAX: usize = 50;
/// Characters of an identifier or a name.
const TEXT_MAX: usize = 200;

/// The service.
pub(crate) struct Persons {
    pub(crate) model: Arc<ReadModel>,
    pub(crate) moments: Moments,
    pub(crate) disclosures: Arc<Disclosures>,
}

#[tonic::async_trait]
impl PersonService for Persons {
    async fn find_persons(
        &self,
        request: Request<FindPersonsRequest>,
    ) -> Result<Response<FindPersonsResponse>, Status> {
        let request = request.into_inner();
        let asked = Asked::of(request.context.as_ref());
        answer(&self.disclosures, FIND, asked, self.find(request)).await
    }

    async fn get_person(&self, request: Request<GetPersonRequest>) -> Result<Response<GetPersonResponse>, Status> {
        let request = request.into_inner();
        let asked = Asked::about(request.context.as_ref(), &request.person_id);
        answer(&self.disclosures, GET, asked, self.get(request)).await
    }
}

impl Persons {
    async fn find(&self, request: FindPersonsRequest) -> Result<FindPersonsResponse, Error> {
        let asker = Asker::check(request.context)?;
        let limit = arguments::size("limit", request.limit, LIMIT_DEFAULT, LIMIT_MAX)?;
        let found = match request.by.ok_or_else(|| arguments::required("by"))? {
            By::NhsNumber(number) => {
                self.model.find_by_nhs_number(arguments::nhs_number(&number)?, limit, None).await?
            }
            By::LocalIdentifier(identifier) => {
                self.model.find_by_local_identifier(&local_identifier(&identifier)?, limit, None).await?
            }
            By::Demographics(query) => self.model.find_by_demographics(&demographic(&query)?, limit, None).await?,
        };
        let Found { persons, more, known_at } = found;
        let ids: Vec<PersonId> = persons.iter().filter_map(|person| person.person_id.parse().ok()).collect();
        let answer = Answer { method: FIND, persons: &ids, entries: persons.len(), known_at: &known_at };
        self.disclosures.record(&asker, answer).await?;
        Ok(FindPersonsResponse { persons, known_at: Some(known_at.to_proto()), more })
    }

    async fn get(&self, request: GetPersonRequest) -> Result<GetPersonResponse, Error> {
        let asker = Asker::check(request.context)?;
        let person = arguments::person_id(&request.person_id)?;
        let now = self.model.known_at();
        let as_of = arguments::as_of(request.as_of.as_ref(), &self.moments, &now).await?;
        let found = self.model.person(person, as_of.as_ref()).await?;
        let entries = found.as_ref().map_or(0, |found| found.records.len());
        let known_at = found.as_ref().map_or(as_of.as_ref().unwrap_or(&now), |found| &found.known_at);
        let answer = Answer { method: GET, persons: &[person], entries, known_at };
        self.disclosures.record(&asker, answer).await?;
        let found = found.ok_or_else(|| unknown_person().answered())?;
        Ok(GetPersonResponse {
            person: Some(found.summary),
            records: found.records,
            known_at: Some(found.known_at.to_proto()),
        })
    }
}

fn local_identifier(given: &LocalIdentifier) -> Result<LocalIdentifier, Error> {
    Ok(LocalIdentifier {
        organisation: arguments::ods_code("local_identifier.organisation", &given.organisation)?.to_string(),
        system: arguments::optional_text("local_identifier.system", &given.system, TEXT_MAX)?.to_owned(),
        value: arguments::text("local_identifier.value", &given.value, TEXT_MAX)?.to_owned(),
    })
}

fn demographic(given: &DemographicQuery) -> Result<Demographic, Error> {
    arguments::text("demographics.family", &given.family, TEXT_MAX)?;
    arguments::optional_text("demographics.given", &given.given, TEXT_MAX)?;
    arguments::date("demographics.birth_date", &given.birth_date)?;
    arguments::optional_text("demographics.postcode", &given.postcode, TEXT_MAX)?;
    if !matches!(given.sex.trim(), "" | "male" | "female" | "other" | "unknown") {
        return Err(invalid("sex-unknown", "demographics.sex", "is not male, female, other or unknown"));
    }
    Demographic::new(given).ok_or_else(|| invalid("name-empty", "demographics.family", "has no letter"))
}

/// Nobody has this identifier (any more, or as of the cut that was asked for).
pub(super) fn unknown_person() -> Error {
    Error::NotFound(detail("person-unknown", "person_id", "nobody has this identifier"))
}
