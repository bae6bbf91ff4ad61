//! Finding persons. The indexes lead to every record that ever had a number or a name; what counts is what the record says
//! as of the cut.

use std::collections::BTreeSet;

use weft_model::{
    Cut, NhsNumber, PersonId, Pseudonym,
    proto::{
        api::{DemographicQuery, LocalIdentifier, PersonSummary},
        event::Demographics,
    },
};

use super::{members, persons};
use crate::{
    ReadModel,
    batch::storable,
    bulk::{self, Multi},
    error::{QueryError, StoreError},
    names::{postcode_key, search_key},
    place::Sizes,
    records::{birth_date, decode_demographics, nhs_number_key, nhs_numbers, read_pseudonym},
    sql::{self, Column, Row, Session},
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
        let mut conn = conn.session();
        let records = stating(&mut conn, number, &sizes).await?;
        Ok(found(&mut conn, &records, limit, known_at, &sizes).await?)
    }

    /// Records that say now that their person has this NHS number, ascending.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn records_stating(&self, number: NhsNumber) -> Result<Vec<Pseudonym>, QueryError> {
        let (_, sizes) = self.visible(None)?;
        let mut conn = self.readers().acquire().await?;
        let mut records = stating(&mut conn.session(), number, &sizes).await?;
        records.sort_unstable();
        Ok(records)
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
        // The beginning of the value is what PostgreSQL has an index of.
        const LOCAL: &str = "
            SELECT pseudonym, record_no, known_from FROM record
            WHERE substr(value, 1, 64) = substr($1, 1, 64) AND value = $1 AND organisation = $2
              AND ($3 = '' OR system = $3)";
        let (known_at, sizes) = self.visible(as_of)?;
        let mut conn = self.readers().acquire().await?;
        let mut conn = conn.session();
        let [value, organisation, system] =
            [&identifier.value, &identifier.organisation, &identifier.system].map(|text| storable(text.trim()));
        let given = vec![value.into_owned().into(), organisation.into_owned().into(), system.into_owned().into()];
        let mut records = Vec::new();
        for row in &conn.all(LOCAL, given).await? {
            if sql::get::<i64>(row, 2)? < sizes.of_record(sql::get(row, 1)?) {
                records.push(read_pseudonym(sql::get(row, 0)?, "record")?);
            }
        }
        Ok(found(&mut conn, &records, limit, known_at, &sizes).await?)
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
        const SAID: &str = "
            SELECT r.pseudonym, r.record_no FROM record_name AS n JOIN record AS r ON r.record_no = n.record_no
            WHERE n.family_key = $1 AND n.birth_date = $2";
        let (known_at, sizes) = self.visible(as_of)?;
        let mut conn = self.readers().acquire().await?;
        let mut conn = conn.session();
        let given = vec![query.family.as_str().into(), storable(&query.birth_date).into_owned().into()];
        let records = read_records(&conn.all(SAID, given).await?)?;
        let records = saying(&mut conn, &records, &sizes, |said| query.agrees(said)).await?;
        Ok(found(&mut conn, &records, limit, known_at, &sizes).await?)
    }
}

/// Pseudonyms and numbers of records.
fn read_records(rows: &[Row]) -> Result<Vec<(Pseudonym, i64)>, StoreError> {
    rows.iter().map(|row| Ok((read_pseudonym(sql::get(row, 0)?, "record")?, sql::get(row, 1)?))).collect()
}

/// Records whose visible version states an NHS number, in no stated order.
async fn stating(conn: &mut Session<'_>, number: NhsNumber, sizes: &Sizes) -> Result<Vec<Pseudonym>, StoreError> {
    const SAID: &str = "
        SELECT r.pseudonym, r.record_no FROM record_nhs AS n JOIN record AS r ON r.record_no = n.record_no
        WHERE n.nhs_number = $1";
    let key = nhs_number_key(number);
    let records = read_records(&conn.all(SAID, vec![key.into()]).await?)?;
    saying(conn, &records, sizes, |said| nhs_numbers(said).any(|n| Some(n) == key)).await
}

/// Those of `records` whose visible version passes `test`.
async fn saying(
    conn: &mut Session<'_>,
    records: &[(Pseudonym, i64)],
    sizes: &Sizes,
    test: impl Fn(&Demographics) -> bool,
) -> Result<Vec<Pseudonym>, StoreError> {
    const VERSIONS: Multi = Multi {
        sql: "SELECT k.column1, v.demographics FROM ({rows}) AS k {lookup} record_version AS v
              ON v.record_no = k.column2 AND v.known_from < k.column3 AND (v.known_to IS NULL OR v.known_to >= k.column3)",
        columns: &[Column::Bytes, Column::Int, Column::Int],
    };
    let rows = bulk::read(conn, &VERSIONS, records, |values, (record, record_no)| {
        values.put(record.0.as_slice()).put(*record_no).put(sizes.of_record(*record_no));
    });
    let mut passed = Vec::new();
    for row in rows.await? {
        if test(&decode_demographics(sql::get(&row, 1)?)?) {
            passed.push(read_pseudonym(sql::get(&row, 0)?, "record")?);
        }
    }
    Ok(passed)
}

async fn found(
    conn: &mut Session<'_>,
    records: &[Pseudonym],
    limit: usize,
    known_at: Cut,
    sizes: &Sizes,
) -> Result<Found, StoreError> {
    let ids: BTreeSet<PersonId> = members::persons_of(conn, records, sizes).await?.into_values().collect();
    let mut found = Found { persons: Vec::new(), more: ids.len() > limit, known_at };
    for person in ids.into_iter().take(limit) {
        let records = persons::linked_records(conn, person, sizes).await?;
        found.persons.push(persons::summary(person, &records));
    }
    Ok(found)
}
