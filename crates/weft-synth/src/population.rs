//! A population, what its organisations say of it, and the truth beside it.

use weft_model::{
    NhsNumber,
    proto::event::{Address, Demographics, Identifier, IdentifierKind, Name, Precision, When},
};

use crate::{
    calendar::{DAY, Day, END},
    chart::{Chart, Rates, Shown},
    feed::{LAB_KNOWS, ORGANISATIONS, Organisation, RK5_DIRTY, RQM_PAS, RYJ_LAB, RYJ_PAS, SynthFeed, feeds},
    life::Life,
    messages::Messages,
    person::{Person, people},
    rng::Rng,
};

/// People drawn from a seed, and the four feeds that speak of them. The same seed gives the same bytes for ever; a larger
/// population of one seed begins with the same people as a smaller one, who have the same records.
#[derive(Debug)]
pub struct Population {
    pub(crate) seed: u64,
    pub(crate) people: Vec<Person>,
    feeds: [SynthFeed; 4],
}

/// One source record and the human being it is really about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TruthRow {
    /// ODS code.
    pub organisation: &'static str,
    /// Identifier system, as the feeds' profiles name it.
    pub system: &'static str,
    /// Local identifier.
    pub value: String,
    /// Index of the person.
    pub person: u32,
}

/// A source record as its organisation's last message describes it, for trying a linker without messages.
#[derive(Debug, Clone)]
pub struct SynthRecord {
    /// Whose record it is, and whom it is really about.
    pub truth: TruthRow,
    /// What is said.
    pub demographics: Demographics,
}

/// How many people show what makes linking hard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traits {
    /// Everybody.
    pub people: usize,
    /// Members of a pair of twins.
    pub twins: usize,
    /// People who moved house in the told time.
    pub movers: usize,
    /// People who took another family name in the told time.
    pub married: usize,
    /// Born in the told time.
    pub babies: usize,
    /// Sons who have their father's name.
    pub namesakes: usize,
    /// Died in the told time.
    pub deaths: usize,
    /// Source records.
    pub records: usize,
    /// Second records of one person at one organisation.
    pub second_records: usize,
}

/// Streams of chance, so that no draw shifts another's.
const KNOWN: u64 = 2;
const LIFE: u64 = 3;
const LAB: u64 = 4;

impl Population {
    /// Draws `people` people.
    #[must_use]
    pub fn generate(seed: u64, people_count: usize) -> Self {
        Self { seed, people: people(seed, people_count), feeds: feeds() }
    }

    /// The feeds to register, in the order that [`messages`](Self::messages) counts them.
    #[must_use]
    pub fn feeds(&self) -> &[SynthFeed] {
        &self.feeds
    }

    /// Number of people.
    #[must_use]
    pub fn len(&self) -> usize {
        self.people.len()
    }

    /// True where nobody was asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.people.is_empty()
    }

    /// The messages of one feed in sending order; none for a feed that there is not. Made one by one: what is held is 16
    /// bytes a message.
    #[must_use]
    pub fn messages(&self, feed: usize) -> Messages<'_> {
        Messages::new(self, feed)
    }

    /// Every source record that any message names, by organisation and person.
    pub fn truth(&self) -> impl Iterator<Item = TruthRow> {
        self.cards().flat_map(|(organisation, index, _, life)| {
            let locals = [Some(life.chart.local), life.copy.map(|copy| copy.local)];
            let row = move |value| TruthRow {
                organisation: organisation.ods,
                system: organisation.system,
                value,
                person: index,
            };
            locals.into_iter().flatten().map(row)
        })
    }

    /// The truth as CSV: `organisation,system,value,person` and a line for each row, ends LF.
    #[must_use]
    pub fn truth_csv(&self) -> String {
        let mut csv = "organisation,system,value,person\n".to_owned();
        for TruthRow { organisation, system, value, person } in self.truth() {
            csv += &format!("{organisation},{system},{value},{person}\n");
        }
        csv
    }

    /// Every source record as last described.
    pub fn records(&self) -> impl Iterator<Item = SynthRecord> {
        self.cards().flat_map(|(organisation, index, person, life)| {
            let charts = [Some(life.chart), life.copy];
            charts.into_iter().flatten().map(move |chart| {
                let shown = chart.shown(person, chart.merged.unwrap_or(END));
                let truth = TruthRow {
                    organisation: organisation.ods,
                    system: organisation.system,
                    value: chart.local,
                    person: index,
                };
                SynthRecord { truth, demographics: demographics(&shown) }
            })
        })
    }

    /// Counts of what makes linking hard.
    #[must_use]
    pub fn traits(&self) -> Traits {
        let count = |wanted: fn(&Person) -> bool| self.people.iter().filter(|p| wanted(p)).count();
        let (mut records, mut second_records) = (0, 0);
        for (.., life) in self.cards() {
            records += 1 + usize::from(life.copy.is_some());
            second_records += usize::from(life.copy.is_some());
        }
        Traits {
            people: self.people.len(),
            twins: count(|p| p.twin.is_some()),
            movers: count(|p| p.moves.iter().any(Option::is_some)),
            married: count(|p| p.married.is_some()),
            babies: count(Person::is_baby),
            namesakes: count(|p| p.named_after.is_some()),
            deaths: count(|p| p.death.is_some()),
            records,
            second_records,
        }
    }

    /// The life that a feed tells of a person; `None` where the feed does not know them.
    pub(crate) fn life(&self, feed: usize, index: u32) -> Option<Life> {
        let person = self.person(index)?;
        match feed {
            RYJ_PAS => self.card(0, index, person),
            RYJ_LAB => {
                let mut rng = Rng::of(self.seed, &[LAB, index.into()]);
                let life = self.card(0, index, person).filter(|_| rng.permille(LAB_KNOWS))?;
                Some(life.reports(&mut rng, person, u64::from(index) * 64 + 1))
            }
            RQM_PAS => self.card(1, index, person),
            RK5_DIRTY => self.card(2, index, person),
            _ => None,
        }
    }

    pub(crate) fn person(&self, index: u32) -> Option<&Person> {
        self.people.get(usize::try_from(index).ok()?)
    }

    /// The card of an organisation that makes no mistakes.
    pub(crate) fn faultless_chart(&self, feed: usize, index: u32) -> Option<Chart> {
        let organisation = if feed == RQM_PAS { 1 } else { 0 };
        let local = local(organisation, index, false);
        Some(
            Chart::draw(&mut Rng::of(self.seed, &[]), self.person(index)?, local, &Rates::FAULTLESS, None)
                .always_known(),
        )
    }

    /// All cards of all organisations.
    fn cards(&self) -> impl Iterator<Item = (&'static Organisation, u32, &Person, Life)> {
        (0..).zip(&ORGANISATIONS).flat_map(move |(n, organisation)| {
            let people = (0..).zip(&self.people);
            people.filter_map(move |(index, person)| Some((organisation, index, person, self.card(n, index, person)?)))
        })
    }

    fn card(&self, organisation: usize, index: u32, person: &Person) -> Option<Life> {
        let kept = ORGANISATIONS.get(organisation)?;
        if !self.knows(organisation, index) {
            return None;
        }
        let mut rng = Rng::of(self.seed, &[LIFE, organisation as u64, index.into()]);
        let other = person.twin.or(person.kin.map(|(n, _)| n)).and_then(|n| self.person(n)).map(|p| p.number);
        let chart = Chart::draw(&mut rng, person, local(organisation, index, false), &kept.rates, other);
        let copy = second_card(&mut rng, &chart, person, local(organisation, index, true), &kept.rates, other);
        Some(Life::draw(&mut rng, person, chart, copy, &kept.habits, u64::from(index) * 16 + 1))
    }

    /// Everybody is known somewhere.
    fn knows(&self, organisation: usize, index: u32) -> bool {
        let mut rng = Rng::of(self.seed, &[KNOWN, index.into()]);
        let known = ORGANISATIONS.each_ref().map(|o| rng.permille(o.rates.known));
        known.get(organisation).copied().unwrap_or_default() || (organisation == 0 && known == [false; 3])
    }
}

fn second_card(
    rng: &mut Rng,
    first: &Chart,
    person: &Person,
    local: String,
    rates: &Rates,
    other: Option<NhsNumber>,
) -> Option<Chart> {
    let happens = rng.permille(rates.twice) && person.death.is_none() && first.registered + 60 * DAY < END;
    let careless = Rates { number_missing: 300, given_short: 300, family_mistyped: 60, ..*rates };
    let mut copy = Chart::draw(rng, person, local, &careless, other);
    let is_found_out = rng.permille(rates.merged);
    copy.registered = first.registered + rng.within(5, 50) * DAY;
    let merged = copy.registered + rng.within(5, 200) * DAY;
    copy.merged = Some(merged).filter(|at| is_found_out && *at < END);
    happens.then_some(copy)
}

/// A local identifier: seven digits, ten digits, or a small number, as the organisations count. Each is one person's.
fn local(organisation: usize, index: u32, is_second: bool) -> String {
    let (n, second) = (u64::from(index), u64::from(is_second));
    match organisation {
        0 => (1_000_000 + (n * 7919 + second * 3_000_017) % 6_000_000 + second * 80_000_000).to_string(),
        1 => (2_590_000_000 + (n * 7_919_003) % 300_000_000 + second * 300_000_000).to_string(),
        _ => (1000 + n * 2 + second).to_string(),
    }
}

fn demographics(shown: &Shown) -> Demographics {
    let number = shown.number.iter().map(|value| Identifier {
        kind: IdentifierKind::NhsNumber.into(),
        system: "https://fhir.nhs.uk/Id/nhs-number".to_owned(),
        value: value.clone(),
        status: shown.status.to_owned(),
    });
    let given: Vec<String> = [&shown.given, &shown.middle].into_iter().filter(|g| !g.is_empty()).cloned().collect();
    let name = |kind: &str, family: &str| Name {
        r#use: kind.to_owned(),
        family: family.to_owned(),
        given: given.clone(),
        prefix: String::new(),
    };
    let former = shown.former_family.map(|family| name("maiden", family));
    let day = |day: Day| When { start_us: day.start(), precision: Precision::Day.into(), ..When::default() };
    let address = Address {
        r#use: "home".to_owned(),
        lines: [shown.address.flat(), shown.address.house()].into_iter().filter(|line| !line.is_empty()).collect(),
        city: shown.address.district().town.to_owned(),
        district: shown.address.district().borough.to_owned(),
        postcode: shown.postcode.clone(),
    };
    Demographics {
        identifiers: number.collect(),
        names: [Some(name("official", &shown.family)), former].into_iter().flatten().collect(),
        birth: Some(day(shown.birth)),
        sex: if shown.is_male { "male" } else { "female" }.to_owned(),
        addresses: if shown.location_hidden { Vec::new() } else { vec![address] },
        deceased: shown.death.map(|_| true),
        death: shown.death.map(|at| day(Day::at(at))),
        location_hidden: shown.location_hidden.then_some(true),
        ethnicity: shown.ethnicity.to_owned(),
        ..Demographics::default()
    }
}
