//! Where people of North West London live, and their practices.

use crate::rng::Rng;

/// A postcode district.
#[derive(Debug)]
pub(crate) struct District {
    pub(crate) outcode: &'static str,
    pub(crate) town: &'static str,
    pub(crate) borough: &'static str,
    streets: [&'static str; 6],
}

/// A dwelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address {
    district: u8,
    street: u8,
    house: u16,
    /// 0 where the house is not divided.
    flat: u8,
}

/// A general practice and one of its doctors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Practice {
    /// ODS code.
    pub(crate) code: &'static str,
    pub(crate) name: &'static str,
    pub(crate) doctor_code: &'static str,
    pub(crate) doctor: (&'static str, &'static str),
}

impl Address {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let small = |n: u64| u8::try_from(n).unwrap_or_default();
        Self {
            district: small(rng.below(DISTRICTS.len() as u64)),
            street: small(rng.below(6)),
            house: u16::try_from(rng.below(180) + 1).unwrap_or(1),
            flat: if rng.permille(450) { small(rng.below(24) + 1) } else { 0 },
        }
    }

    pub(crate) fn district(self) -> &'static District {
        let [first, ..] = &DISTRICTS;
        DISTRICTS.get(usize::from(self.district)).unwrap_or(first)
    }

    /// `Flat 3`, or empty.
    pub(crate) fn flat(self) -> String {
        if self.flat == 0 { String::new() } else { format!("Flat {}", self.flat) }
    }

    /// `12 Elgin Avenue`.
    pub(crate) fn house(self) -> String {
        let street = self.district().streets.get(usize::from(self.street)).copied().unwrap_or_default();
        format!("{} {street}", self.house)
    }

    /// A postcode of the right shape; twenty neighbouring houses share one.
    pub(crate) fn postcode(self) -> String {
        const LETTERS: [char; 20] =
            ['A', 'B', 'D', 'E', 'F', 'G', 'H', 'J', 'L', 'N', 'P', 'Q', 'R', 'S', 'T', 'U', 'W', 'X', 'Y', 'Z'];
        let mut rng = Rng::of(u64::from(self.district), &[u64::from(self.street), u64::from(self.house / 20)]);
        let sector = rng.below(10);
        let (one, other) = (rng.pick(&LETTERS, 'A'), rng.pick(&LETTERS, 'A'));
        format!("{} {sector}{one}{other}", self.district().outcode)
    }
}

pub(crate) fn practice(n: u8) -> &'static Practice {
    let [first, ..] = &PRACTICES;
    PRACTICES.get(usize::from(n) % PRACTICES.len()).unwrap_or(first)
}

macro_rules! district {
    ($outcode:literal, $town:literal, $borough:literal, $($street:literal),+) => {
        District { outcode: $outcode, town: $town, borough: $borough, streets: [$($street),+] }
    };
}

const DISTRICTS: [District; 20] = [
    district!(
        "W2",
        "London",
        "Westminster",
        "Praed Street",
        "Westbourne Grove",
        "Porchester Road",
        "Sussex Gardens",
        "Cleveland Square",
        "Harrow Road"
    ),
    district!(
        "W3",
        "London",
        "Ealing",
        "Horn Lane",
        "Churchfield Road",
        "Creffield Road",
        "The Vale",
        "Acton Lane",
        "Bollo Bridge Road"
    ),
    district!(
        "W5",
        "London",
        "Ealing",
        "Pitshanger Lane",
        "Northfield Avenue",
        "Madeley Road",
        "Uxbridge Road",
        "Castlebar Road",
        "Little Ealing Lane"
    ),
    district!(
        "W6",
        "London",
        "Hammersmith and Fulham",
        "King Street",
        "Dalling Road",
        "Glenthorne Road",
        "Fulham Palace Road",
        "Black Lion Lane",
        "Iffley Road"
    ),
    district!(
        "W9",
        "London",
        "Westminster",
        "Elgin Avenue",
        "Shirland Road",
        "Maida Vale",
        "Sutherland Avenue",
        "Lanark Road",
        "Chippenham Road"
    ),
    district!(
        "W10",
        "London",
        "Kensington and Chelsea",
        "Ladbroke Grove",
        "Golborne Road",
        "St Marks Road",
        "Barlby Road",
        "Portobello Road",
        "Oxford Gardens"
    ),
    district!(
        "W12",
        "London",
        "Hammersmith and Fulham",
        "Goldhawk Road",
        "Askew Road",
        "Uxbridge Road",
        "Wood Lane",
        "Bloemfontein Road",
        "Du Cane Road"
    ),
    district!(
        "W13",
        "London",
        "Ealing",
        "Drayton Green Road",
        "Argyle Road",
        "Mattock Lane",
        "Northcroft Road",
        "Gordon Road",
        "Templeman Road"
    ),
    district!(
        "NW6",
        "London",
        "Camden",
        "Kilburn High Road",
        "Fordwych Road",
        "Messina Avenue",
        "Salusbury Road",
        "Willesden Lane",
        "Queens Park Road"
    ),
    district!(
        "NW10",
        "London",
        "Brent",
        "Craven Park Road",
        "Church Road",
        "Harlesden Road",
        "Neasden Lane",
        "Park Parade",
        "High Road"
    ),
    district!(
        "HA0",
        "Wembley",
        "Brent",
        "Ealing Road",
        "Harrow Road",
        "Sudbury Court Drive",
        "Bridgewater Road",
        "Mount Pleasant",
        "Alperton Lane"
    ),
    district!(
        "HA1",
        "Harrow",
        "Harrow",
        "Station Road",
        "Kenton Road",
        "Pinner Road",
        "Bessborough Road",
        "Roxborough Park",
        "Greenhill Way"
    ),
    district!(
        "HA9",
        "Wembley",
        "Brent",
        "Wembley Park Drive",
        "Preston Road",
        "Forty Lane",
        "Park Lane",
        "Carlton Avenue East",
        "Empire Way"
    ),
    district!(
        "UB1",
        "Southall",
        "Ealing",
        "South Road",
        "The Broadway",
        "Lady Margaret Road",
        "Beaconsfield Road",
        "Carlyle Avenue",
        "Allenby Road"
    ),
    district!(
        "UB3",
        "Hayes",
        "Hillingdon",
        "Coldharbour Lane",
        "Station Road",
        "Botwell Lane",
        "Church Road",
        "Central Avenue",
        "Dawley Road"
    ),
    district!(
        "UB8",
        "Uxbridge",
        "Hillingdon",
        "Cowley Road",
        "Hillingdon Road",
        "Park Road",
        "Whitehall Road",
        "Villier Street",
        "Pield Heath Road"
    ),
    district!(
        "SW6",
        "London",
        "Hammersmith and Fulham",
        "Fulham Road",
        "Munster Road",
        "Dawes Road",
        "Lillie Road",
        "Wandsworth Bridge Road",
        "Bishops Road"
    ),
    district!(
        "SW10",
        "London",
        "Kensington and Chelsea",
        "Fulham Road",
        "Edith Grove",
        "Redcliffe Gardens",
        "Finborough Road",
        "Kings Road",
        "Tadema Road"
    ),
    district!(
        "TW3",
        "Hounslow",
        "Hounslow",
        "High Street",
        "Hanworth Road",
        "Bath Road",
        "Lampton Road",
        "Whitton Road",
        "Staines Road"
    ),
    district!(
        "TW7",
        "Isleworth",
        "Hounslow",
        "London Road",
        "Twickenham Road",
        "St Johns Road",
        "Linkfield Road",
        "South Street",
        "Worton Road"
    ),
];

macro_rules! practice {
    ($code:literal, $name:literal, $doctor_code:literal, $family:literal, $initial:literal) => {
        Practice { code: $code, name: $name, doctor_code: $doctor_code, doctor: ($family, $initial) }
    };
}

const PRACTICES: [Practice; 12] = [
    practice!("E87990", "Canal Bridge Surgery", "G9900011", "Marlowe", "P"),
    practice!("E87991", "Westbourne Medical Centre", "G9900022", "Adeyinka", "T"),
    practice!("E85990", "Askew Lane Practice", "G9900033", "Bhatt", "R"),
    practice!("E85991", "The Glenthorne Surgery", "G9900044", "Ferris", "J"),
    practice!("E85992", "Northfield Health Centre", "G9900055", "Sohal", "K"),
    practice!("E85993", "Broadway Group Practice", "G9900066", "Dhaliwal", "S"),
    practice!("E84990", "Alperton Park Surgery", "G9900077", "Mistry", "N"),
    practice!("E84991", "Harlesden Cross Practice", "G9900088", "Blackwood", "C"),
    practice!("E84992", "Greenhill Family Doctors", "G9900099", "Rosen", "M"),
    practice!("E86990", "Botwell Medical Centre", "G9900110", "Nolan", "E"),
    practice!("E86991", "Cowley Mill Surgery", "G9900121", "Anand", "V"),
    practice!("E85994", "Lampton Lodge Practice", "G9900132", "Costa", "L"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_share_a_postcode_of_the_right_shape() {
        let near = |house| Address { district: 0, street: 3, house, flat: 0 }.postcode();
        assert_eq!(near(41), near(59));
        let mut rng = Rng::of(1, &[]);
        for _ in 0..500 {
            let postcode = Address::draw(&mut rng).postcode();
            let (out, inward) = postcode.split_once(' ').unwrap();
            assert!((2..=4).contains(&out.len()) && inward.len() == 3, "{postcode}");
            assert!(inward.starts_with(|c: char| c.is_ascii_digit()));
        }
    }
}
