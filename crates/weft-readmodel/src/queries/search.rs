//! Finding persons. The indexes lead to every record that ever had a number or a name; what counts is what the record says
//! as of the cut.

use std::collections::BTreeSet;

use sqlx::SqliteConnection;
use weft_model::{
    Cut, NhsNumber, PersonId,
    proto::{
        api::{DemographicQuery, LocalIdentifier, PersonSummary},
        event::Demographics,
    },
};

use super::{members, persons};
use crate::{
    ReadModel,
    bulk::{self, Multi},
    error::{QueryError, StoreError},
    model::Sizes,
    names::{postcode_key, search_key},
    records::{birth_date, decode_demographics, nhs_number_key, nhs_numbers},
};

/// Persons that were found, by identifier.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// At most as many as asked for.
    pub persons: Vec<PersonSummary>,
    /// True where there are more.
    pub more: bool,
    /// What was known to the answer.
    pub known_at: Cut,
}

/// Names, date of birth and more, in the form in which they are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demographic {
    family: String,
    given: String,
    birth_date: String,
    sex: String,
    postcode: String,
}

impl Demographic {
    /// Reads a query: `None` where the family name has no letter or the date of birth is empty. Given names agree where
    /// one begins with what is asked for.
    #[must_use]
    pub fn new(query: &DemographicQuery) -> Option<Self> {
        let demographic = Self {
            family: search_key(&query.family),
            given: search_key(&query.given),
            birth_date: query.birth_date.trim().to_owned(),
            sex: query.sex.trim().to_lowercase(),
            postcode: postcode_key(&query.postcode),
        };
        (!demographic.family.is_empty() && !demographic.birth_date.is_empty()).then_some(demographic)
    }

    fn agrees(&self, said: &Demographics) -> bool {
        let name = said.names.iter().any(|name| {
            let given = || name.given.iter().any(|given| search_key(given).starts_with(&self.given));
            search_key(&name.family) == self.family && (self.given.is_empty() || given())
        });
        let postcode = || said.addresses.iter().any(|address| postcode_key(&address.postcode) == self.postcode);
        name && birth_date(said).as_ref() == Some(&self.birth_date)
            && (self.sex.is_empty() || said.sex == self.sex)
            && (self.postcode.is_empty() || postcode())
    }
}

impl ReadModel {
    /// Persons of whom a record says that they have this NHS number.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn find_by_nhs_number(
        &self,
        number: NhsNumber,
        limit: usize,
        as_of: Option<&Cut>,
    ) -> Result<Found, QueryError> {
        let (known_at, sizes) = self.visible(as_of)?;
        let mut conn = self.readers().acquire().await?;
        let key = nhs_number_key(number);
        let sql = "SELECT record_no FROM record_nhs WHERE nhs_number = ?1";
        let records: Vec<i64> = sqlx::query_scalar(sql).bind(key).fetch_all(&mut *conn).await?;
        let says = |said: &Demographics| nhs_numbers(said).any(|n| Some(n) == key);
        let records = saying(&mut conn, &records, sizes, says).await?;
        Ok(found(&mut conn, &records, limit, known_at, sizes).await?)
    }

    /// The person whose record has this local identifier, in any system of the organisation where none is given.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn find_by_local_identifier(
        &self,
        identifier: &LocalIdentifier,
        limit: usize,
        as_of: Option<&Cut>,
    ) -> Result<Found, QueryError> {
        const LOCAL: &str = "
            SELECT record_no FROM record
            WHERE value = ?1 AND organisation = ?2 AND (?3 = '' OR system = ?3) AND first_offset < ?4";
        let (known_at, sizes) = self.visible(as_of)?;
        let mut conn = self.readers().acquire().await?;
        let query = sqlx::query_scalar(LOCAL)
            .bind(identifier.value.trim())
            .bind(identifier.organisation.trim())
            .bind(identifier.system.trim())
            .bind(sizes.feed);
        let records: Vec<i64> = query.fetch_all(&mut *conn).await?;
        Ok(found(&mut conn, &records, limit, known_at, sizes).await?)
    }

    /// Persons of whom a record says all that is asked for.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn find_by_demographics(
        &self,
        query: &Demographic,
        limit: usize,
        as_of: Option<&Cut>,
    ) -> Result<Found, QueryError> {
        let (known_at, sizes) = self.visible(as_of)?;
        let mut conn = self.readers().acquire().await?;
        let sql = "SELECT record_no FROM record_name WHERE family_key = ?1 AND birth_date = ?2";
        let records = sqlx::query_scalar(sql).bind(&query.family).bind(&query.birth_date);
        let records: Vec<i64> = records.fetch_all(&mut *conn).await?;
        let records = saying(&mut conn, &records, sizes, |said| query.agrees(said)).await?;
        Ok(found(&mut conn, &records, limit, known_at, sizes).await?)
    }
}

/// Those of `records` whose visible version passes `test`.
async fn saying(
    conn: &mut SqliteConnection,
    records: &[i64],
    sizes: Sizes,
    test: impl Fn(&Demographics) -> bool,
) -> Result<Vec<i64>, StoreError> {
    const VERSIONS: Multi = Multi {
        before: "SELECT v.record_no, v.demographics FROM (VALUES ",
        columns: 2,
        after: ") AS k CROSS JOIN record_version AS v ON v.record_no = k.column1
                  AND v.known_from < k.column2 AND (v.known_to IS NULL OR v.known_to >= k.column2)",
    };
    let rows = bulk::read(conn, &VERSIONS, records, |values, record_no| {
        values.put(*record_no).put(sizes.feed);
    });
    let mut passed = Vec::new();
    for row in rows.await? {
        if test(&decode_demographics(bulk::get(&row, 1)?)?) {
            passed.push(bulk::get(&row, 0)?);
        }
    }
    Ok(passed)
}

async fn found(
    conn: &mut SqliteConnection,
    records: &[i64],
    limit: usize,
    known_at: Cut,
    sizes: Sizes,
) -> Result<Found, StoreError> {
    let ids: BTreeSet<PersonId> = members::persons_of(conn, records, sizes).await?.into_values().collect();
    let mut found = Found { persons: Vec::new(), more: ids.len() > limit, known_at };
    for person in ids.into_iter().take(limit) {
        let records = persons::linked_records(conn, person, sizes).await?;
        found.persons.push(persons::summary(person, &records));
    }
    Ok(found)
}
