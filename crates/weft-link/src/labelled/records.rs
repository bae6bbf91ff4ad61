//! The records of a set, as a feed would have described them.

use weft_model::{
    Pseudonym,
    proto::event::{Address, Demographics, Identifier, IdentifierKind, Name, Telecom},
};

use super::{Csv, Draw, Map, MapError, dates};

/// One record of a set.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// Name of the file it is from.
    pub file: String,
    /// Line of that file, counted from 1.
    pub line: usize,
    /// Its own identifier; empty where the map names none.
    pub id: String,
    /// What its column of truth says; empty where there is none.
    pub label: String,
    /// What it says of its person.
    pub demographics: Demographics,
    arrives: String,
}

/// The records of a set in the order of their arrival.
#[derive(Debug, Clone, Default)]
pub struct Records {
    /// One after the other.
    pub records: Vec<Record>,
}

/// Why a set cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordsError {
    /// The map does not fit the files.
    #[error(transparent)]
    Map(#[from] MapError),
    /// No file has the column that says who is who.
    #[error("truth: no file has a column `{0}`")]
    NoLabel(String),
}

impl Records {
    /// Reads the tables of a set, each with its name. `label` is the column that says who is who, where one does.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub fn read(tables: &[(String, Csv)], map: &Map, label: Option<&str>) -> Result<Self, RecordsError> {
        let all: Vec<&Csv> = tables.iter().map(|(_, csv)| csv).collect();
        map.check(&all)?;
        if let Some(label) = label.filter(|label| all.iter().any(|csv| csv.column(label).is_none())) {
            return Err(RecordsError::NoLabel(label.to_owned()));
        }
        let mut records = Vec::new();
        for (file, csv) in tables {
            let reader = Reader::new(map, csv);
            let label = label.and_then(|label| csv.column(label));
            for (line, cells) in &csv.rows {
                let cell = |place: Option<usize>| place.and_then(|n| cells.get(n)).cloned().unwrap_or_default();
                records.push(Record {
                    file: file.clone(),
                    line: *line,
                    id: cell(reader.id),
                    label: cell(label),
                    demographics: reader.demographics(cells),
                    arrives: cell(reader.arrives),
                });
            }
        }
        let mut set = Self { records };
        set.sort();
        Ok(set)
    }

    /// Brings the records into an order of chance, another for each seed.
    pub fn shuffle(&mut self, seed: u64) {
        Draw::new(seed).shuffle(&mut self.records);
    }

    /// By what the map says they arrive by, else as they are.
    fn sort(&mut self) {
        let number = |record: &Record| record.arrives.parse::<i64>().ok();
        if self.records.iter().all(|record| number(record).is_some()) {
            self.records.sort_by_key(number);
        } else {
            self.records.sort_by(|one, other| one.arrives.cmp(&other.arrives));
        }
    }
}

impl Record {
    /// A record that is in no file.
    #[must_use]
    pub fn new(id: String, label: String, demographics: Demographics) -> Self {
        Self { id, label, demographics, ..Self::default() }
    }

    /// A pseudonym as a node would give the record: a digest of where it is from, so that it does not depend on the order.
    #[must_use]
    pub fn pseudonym(&self) -> Pseudonym {
        let place = self.line.to_le_bytes();
        let parts: [&[u8]; 3] = [self.file.as_bytes(), self.id.as_bytes(), &place];
        let (one, other) =
            (crate::normalise::digest(&parts), crate::normalise::digest(&[b"second", parts[0], parts[1], &place]));
        // Spread, as a keyed digest is.
        let spread = |digest: u64| digest.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
        let mut bytes = [0; 16];
        for (to, from) in bytes.iter_mut().zip(spread(one).into_iter().chain(spread(other))) {
            *to = from;
        }
        Pseudonym(bytes)
    }
}

/// The places of a table's columns by what they mean.
struct Reader<'a> {
    map: &'a Map,
    id: Option<usize>,
    arrives: Option<usize>,
    given: Vec<usize>,
    family: Vec<usize>,
    previous_family: Vec<usize>,
    full_name: Vec<usize>,
    birth: Vec<usize>,
    birth_parts: [Vec<usize>; 3],
    sex: Vec<usize>,
    /// Address, city, state and postcode; now and before.
    places: [[Vec<usize>; 4]; 2],
    telecoms: Vec<usize>,
    nhs_number: Vec<usize>,
    nhs_number_status: Vec<usize>,
    identifiers: Vec<(IdentifierKind, String, Vec<usize>)>,
    deceased: Vec<usize>,
    death: Vec<usize>,
    pseudo_person: Vec<usize>,
}

impl<'a> Reader<'a> {
    fn new(map: &'a Map, csv: &Csv) -> Self {
        let places = |key: &str| map.places(key, csv);
        let both = |one: &str, other: &str| [places(one), places(other)].concat();
        let of_kind = |kind: IdentifierKind, key: &str| {
            let systems = map.systems(key, csv).into_iter();
            systems.map(move |(system, places)| (kind, system, places)).collect::<Vec<_>>()
        };
        Self {
            map,
            id: places("id").first().copied(),
            arrives: places("order").first().copied(),
            given: both("given", "middle"),
            family: places("family"),
            previous_family: places("previous_family"),
            full_name: places("full_name"),
            birth: places("birth"),
            birth_parts: ["birth_year", "birth_month", "birth_day"].map(places),
            sex: places("sex"),
            places: [
                ["address", "city", "state", "postcode"].map(places),
                [places("previous_address"), Vec::new(), Vec::new(), places("previous_postcode")],
            ],
            telecoms: both("phone", "email"),
            nhs_number: places("nhs_number"),
            nhs_number_status: places("nhs_number_status"),
            identifiers: [of_kind(IdentifierKind::Other, "identifier"), of_kind(IdentifierKind::Local, "local")]
                .concat(),
            deceased: places("deceased"),
            death: places("death"),
            pseudo_person: places("pseudo_person"),
        }
    }

    fn demographics(&self, cells: &[String]) -> Demographics {
        let texts = |places: &[usize]| said(cells, places).collect::<Vec<String>>();
        let first = |places: &[usize]| said(cells, places).next().unwrap_or_default();
        let date = |places: &[usize]| dates::read(&first(places), self.map.order);
        let is_true = |places: &[usize]| {
            let text = first(places).to_lowercase();
            (!text.is_empty())
                .then_some(matches!(text.as_str(), "y" | "yes" | "t" | "true" | "1" | "d" | "deceased" | "dead"))
        };
        let [year, month, day] = self.birth_parts.each_ref().map(|places| first(places).parse().unwrap_or_default());
        let death = date(&self.death);
        Demographics {
            identifiers: self.identifiers(cells),
            names: self.names(cells),
            birth: date(&self.birth).or_else(|| dates::from_parts(year, month, day)),
            sex: sex(&first(&self.sex)).to_owned(),
            addresses: self.addresses(cells),
            telecoms: texts(&self.telecoms).into_iter().map(|value| Telecom { value, ..Telecom::default() }).collect(),
            deceased: is_true(&self.deceased).or(death.is_some().then_some(true)),
            death,
            pseudo_person: is_true(&self.pseudo_person),
            ..Demographics::default()
        }
    }

    fn names(&self, cells: &[String]) -> Vec<Name> {
        let given: Vec<String> = said(cells, &self.given).collect();
        let family: Vec<String> = said(cells, &self.family).collect();
        let mut names = Vec::new();
        if !given.is_empty() || !family.is_empty() {
            names.push(Name { family: family.join(" "), given: given.clone(), ..Name::default() });
        }
        names.extend(said(cells, &self.full_name).map(|text| full_name(&text)));
        let given = names.first().map(|name| name.given.clone()).unwrap_or_default();
        names.extend(said(cells, &self.previous_family).map(|family| Name {
            r#use: "old".to_owned(),
            family,
            given: given.clone(),
            ..Name::default()
        }));
        names
    }

    fn addresses(&self, cells: &[String]) -> Vec<Address> {
        let mut addresses = Vec::new();
        for (kind, [lines, city, state, postcode]) in ["home", "old"].into_iter().zip(&self.places) {
            let first = |places: &[usize]| said(cells, places).next().unwrap_or_default();
            let mut postcodes = said(cells, postcode);
            let address = Address {
                r#use: kind.to_owned(),
                lines: said(cells, lines).collect(),
                city: first(city),
                district: first(state),
                postcode: postcodes.next().unwrap_or_default(),
            };
            addresses.push(address);
            addresses.extend(postcodes.map(|postcode| Address {
                r#use: kind.to_owned(),
                postcode,
                ..Address::default()
            }));
        }
        addresses
    }

    fn identifiers(&self, cells: &[String]) -> Vec<Identifier> {
        let status = said(cells, &self.nhs_number_status).next().unwrap_or_default();
        let number = said(cells, &self.nhs_number).next().map(|value| Identifier {
            kind: IdentifierKind::NhsNumber.into(),
            value: value.strip_suffix(".0").unwrap_or(&value).to_owned(),
            status,
            ..Identifier::default()
        });
        let others = self.identifiers.iter().flat_map(|(kind, system, places)| {
            said(cells, places).map(|value| Identifier {
                kind: (*kind).into(),
                system: system.clone(),
                value,
                ..Identifier::default()
            })
        });
        number.into_iter().chain(others).collect()
    }
}

/// What these cells say, but for the words that programs write for nothing.
fn said<'a>(cells: &'a [String], places: &'a [usize]) -> impl Iterator<Item = String> + 'a {
    let is_nothing =
        |text: &str| matches!(text, "" | "-" | "NA" | "N/A" | "n/a" | "NaN" | "nan" | "NULL" | "null" | "None");
    places.iter().filter_map(|n| cells.get(*n)).filter(move |text| !is_nothing(text)).cloned()
}

fn sex(text: &str) -> &'static str {
    match text.to_lowercase().as_str() {
        "m" | "male" | "man" | "boy" | "1" => "male",
        "f" | "female" | "w" | "woman" | "girl" | "2" => "female",
        "o" | "other" | "i" | "indeterminate" => "other",
        _ => "",
    }
}

/// `Smith, Ann Mary` or `Ann Mary Smith`.
fn full_name(text: &str) -> Name {
    let (family, given) = match text.split_once(',') {
        Some((family, given)) => (family, given),
        None => text.trim().rsplit_once(' ').map_or((text, ""), |(given, family)| (family, given)),
    };
    let given = given.split_whitespace().map(str::to_owned).collect();
    Name { family: family.trim().to_owned(), given, ..Name::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, map: &str) -> Records {
        let csv = Csv::parse(text).unwrap();
        Records::read(&[("a".to_owned(), csv)], &Map::parse(map).unwrap(), None).unwrap()
    }

    #[test]
    fn every_key_is_read() {
        let map = "given = 'g'\nmiddle = 'm'\nfamily = 'f'\nprevious_family = 'p'\nbirth_day = 'd'\nbirth_month = 'o'\n\
                   birth_year = 'y'\nsex = 's'\naddress = ['a', 'b']\ncity = 'c'\nstate = 't'\npostcode = 'z'\n\
                   previous_postcode = 'q'\nphone = 'h'\nemail = 'e'\nnhs_number = 'n'\nnhs_number_status = 'u'\n\
                   deceased = 'x'\ndeath = 'w'\npseudo_person = 'v'\nidentifier.nin = 'i'\nlocal.mrn = 'l'\n";
        let text = "g,m,f,p,d,o,y,s,a,b,c,t,z,q,h,e,n,u,x,w,v,i,l\n\
                    Ann,Mary,Smith,Jones,31,1,1980,F,Flat 2,9 High St,Town,Shire,W2 1NY,W2 9ZZ,020 7946 0034,a@b.org,\
                    9990000018,01,yes,2020-02-03,n,AB123,77\n";
        let said = &read(text, map).records[0].demographics;
        assert_eq!(
            said.names.iter().map(|n| (n.family.as_str(), n.given.len())).collect::<Vec<_>>(),
            [("Smith", 2), ("Jones", 2)]
        );
        assert_eq!(said.birth.as_ref().unwrap().date_parts(), (Some(1980), Some(1), Some(31)));
        assert_eq!((said.sex.as_str(), said.deceased, said.pseudo_person), ("female", Some(true), Some(false)));
        assert_eq!(said.addresses.iter().map(|a| a.postcode.as_str()).collect::<Vec<_>>(), ["W2 1NY", "W2 9ZZ"]);
        assert_eq!(said.addresses[0].lines, ["Flat 2", "9 High St"]);
        assert_eq!((said.addresses[0].city.as_str(), said.addresses[0].district.as_str()), ("Town", "Shire"));
        assert_eq!(said.telecoms.len(), 2);
        assert_eq!(
            said.identifiers.iter().map(|i| (i.kind(), i.status.as_str())).collect::<Vec<_>>(),
            [(IdentifierKind::NhsNumber, "01"), (IdentifierKind::Other, ""), (IdentifierKind::Local, "")]
        );
        assert_eq!(said.death.as_ref().unwrap().date_parts(), (Some(2020), Some(2), Some(3)));
    }

    #[test]
    fn whole_names_are_taken_apart() {
        let names: Vec<Name> = read("n\n\"Smith, Ann Mary\"\nAnn Mary Smith\nSmith\n", "full_name = 'n'")
            .records
            .into_iter()
            .map(|mut r| r.demographics.names.remove(0))
            .collect();
        let shown: Vec<(&str, String)> = names.iter().map(|n| (n.family.as_str(), n.given.join(" "))).collect();
        assert_eq!(
            shown,
            [("Smith", "Ann Mary".to_owned()), ("Smith", "Ann Mary".to_owned()), ("Smith", String::new())]
        );
    }

    #[test]
    fn records_arrive_in_the_order_told() {
        let order = |text: &str| -> Vec<usize> {
            read(text, "family = 'f'\norder = 'o'").records.iter().map(|r| r.line).collect()
        };
        assert_eq!(order("f,o\na,10\nb,9\nc,100\n"), [3, 2, 4]);
        assert_eq!(order("f,o\na,2020-02-01\nb,2019-12-31\n"), [3, 2]);
        assert_eq!(order("f,o\na,\nb,\n"), [2, 3]);
    }
}
