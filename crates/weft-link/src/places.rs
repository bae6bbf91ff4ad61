//! Addresses of two records: the pair that agrees best, of all that either has ever had.

use crate::{
    Model,
    features::{Place, Said},
    field::{Field, Level},
    names::slips,
    normalise::{is_british, outcode},
    phonetic::distance,
};

/// How the parts of that pair come out.
#[derive(Clone, Copy)]
pub(crate) struct PlaceLevels {
    pub(crate) postcode: Level,
    pub(crate) house: Level,
    pub(crate) street: Level,
    pub(crate) city: Level,
    pub(crate) region: Level,
}

const ABSENT: PlaceLevels = PlaceLevels {
    postcode: Level::Absent,
    house: Level::Absent,
    street: Level::Absent,
    city: Level::Absent,
    region: Level::Absent,
};

impl PlaceLevels {
    fn weight(&self, model: &Model) -> i32 {
        model.weight(Field::Postcode, self.postcode)
            + model.weight(Field::House, self.house)
            + model.weight(Field::Street, self.street)
            + model.weight(Field::City, self.city)
            + model.weight(Field::Region, self.region)
    }

    fn key(&self) -> [Level; 5] {
        [self.postcode, self.house, self.street, self.city, self.region]
    }
}

pub(crate) fn compare(a: &Said<'_>, b: &Said<'_>, model: &Model) -> PlaceLevels {
    let pairs = a.places.iter().flat_map(|one| b.places.iter().map(move |other| pair(*one, *other)));
    // Equals by their levels, so that it does not matter which record comes first.
    pairs.max_by_key(|levels| (levels.weight(model), std::cmp::Reverse(levels.key()))).unwrap_or(ABSENT)
}

fn pair(one: Place<'_>, other: Place<'_>) -> PlaceLevels {
    let postcode = postcodes(one.postcode, other.postcode);
    let street = match (postcode, streets(one.street, other.street)) {
        // A British postcode is of one street, or a part of it.
        (Level::Exact, Level::Whole | Level::Exact | Level::Near) => Level::Implied,
        (Level::Exact, _) => Level::Absent,
        (_, level) => level,
    };
    let is_elsewhere = postcode == Level::Differs && is_british(one.postcode) && is_british(other.postcode);
    let street = match street {
        // Every place has a High Street; one with the same house number is another matter.
        Level::Whole | Level::Exact | Level::Near if is_elsewhere && one.house != other.house => Level::Implied,
        level => level,
    };
    let house = match (postcode, street, houses(one.house, other.house)) {
        (Level::Exact, _, Level::Exact) => Level::Implied,
        // Every street has a number 7.
        (
            Level::Differs | Level::Absent | Level::Outcode,
            Level::Differs | Level::Absent,
            Level::Exact | Level::Part,
        ) => Level::Absent,
        (.., level) => level,
    };
    let city = match (postcode, words(one.city, other.city)) {
        // A postcode that agrees lies in one town.
        (Level::Exact, _) => Level::Absent,
        (Level::Part, Level::Exact | Level::Near) => Level::Implied,
        // Where postcodes are British, a town is as large as London.
        (_, Level::Exact | Level::Near) if is_british(one.postcode) || is_british(other.postcode) => Level::Part,
        (_, level) => level,
    };
    let region = if matches!(postcode, Level::Exact | Level::Part) || matches!(city, Level::Exact | Level::Part) {
        Level::Absent
    } else {
        match words(one.region, other.region) {
            Level::Near => Level::Exact,
            level => level,
        }
    };
    PlaceLevels { postcode, house, street, city, region }
}

fn postcodes(one: &str, other: &str) -> Level {
    match (one, other) {
        ("", _) | (_, "") => Level::Absent,
        (one, other) if one == other => {
            if is_british(one) {
                Level::Exact
            } else {
                Level::Part
            }
        }
        (one, other) if is_british(one) && is_british(other) => {
            if outcode(one) == outcode(other) {
                Level::Outcode
            } else if distance(one, other, 1) == 1 {
                Level::Near
            } else {
                Level::Differs
            }
        }
        // The neighbouring place as often as a slip of the pen: such codes have few digits, and are given out in order.
        (one, other) if distance(one, other, 1) == 1 => Level::Digit,
        _ => Level::Differs,
    }
}

fn houses(one: &str, other: &str) -> Level {
    match (one, other) {
        ("", _) | (_, "") => Level::Absent,
        (one, other) if one == other => Level::Exact,
        (one, other) if one.split('/').any(|x| other.split('/').any(|y| x == y)) => Level::Part,
        _ => Level::Differs,
    }
}

/// Any line against any line: sources put the parts of an address where they like.
pub(crate) fn streets(one: &str, other: &str) -> Level {
    if one.is_empty() || other.is_empty() {
        return Level::Absent;
    }
    let (mut best, mut agreeing) = (Level::Differs, 0);
    for x in one.split('|').filter(|x| x.len() > 3) {
        let mut of_line = Level::Differs;
        for y in other.split('|').filter(|y| y.len() > 3) {
            let most = slips(x).min(slips(y));
            if x == y {
                of_line = Level::Exact;
            } else if of_line == Level::Differs && distance(x, y, most) <= most {
                of_line = Level::Near;
            }
        }
        agreeing += usize::from(of_line != Level::Differs);
        best = best.min(of_line);
    }
    if agreeing > 1 { Level::Whole } else { best }
}

fn words(one: &str, other: &str) -> Level {
    match (one, other) {
        ("", _) | (_, "") => Level::Absent,
        (one, other) if one == other => Level::Exact,
        (one, other) if distance(one, other, slips(one)) <= slips(one) => Level::Near,
        _ => Level::Differs,
    }
}
