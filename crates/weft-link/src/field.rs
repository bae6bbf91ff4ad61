//! What is compared, and how a comparison can come out: the words of a model file and of every waterfall.

use std::fmt;

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// All of them, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word for it: lower case with hyphens.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The one that this word stands for.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|word| word.text() == text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.text())
            }
        }
    };
}

words! {
    /// What is compared: one row of a waterfall each.
    Field {
        /// The NHS number.
        Number = "nhs-number",
        /// Family name; any of those a record has ever had.
        Family = "family-name",
        /// First given name.
        Given = "given-name",
        /// Second given name.
        Middle = "middle-name",
        /// Date of birth, by its parts.
        Birth = "birth-date",
        /// Administrative sex.
        Sex = "sex",
        /// Postcode of the pair of addresses that agrees best.
        Postcode = "postcode",
        /// House and flat number of the same pair.
        House = "house",
        /// Street, or another line, of the same pair.
        Street = "street",
        /// Town of the same pair: worth little beside postcodes.
        City = "city",
        /// State or county of the same pair.
        Region = "region",
        /// Any telephone number.
        Phone = "phone",
        /// Any electronic mail address.
        Email = "email",
        /// An identifier of which a person has one: a national number.
        Identifier = "identifier",
        /// An identifier of which a person may have many: a hospital's number.
        Local = "local-identifier",
        /// Date of death.
        Death = "death-date",
    }
}

words! {
    /// How a comparison came out.
    Level {
        /// One side or both say nothing.
        Absent = "absent",
        /// The same.
        Exact = "exact",
        /// The same in two lines or more.
        Whole = "whole",
        /// The other way round: day and month, or family and given name.
        Swapped = "swapped",
        /// Two forms of one name.
        Nickname = "nickname",
        /// A slip of the pen apart.
        Near = "near",
        /// Two slips of the pen apart.
        Close = "close",
        /// One part of two: half of a double name, a house without its flat.
        Part = "part",
        /// Sounds alike, or begins alike.
        Sound = "sound",
        /// One is the initial of the other.
        Initial = "initial",
        /// Agrees with another of the given names.
        Other = "other",
        /// One digit off, or two neighbouring digits exchanged.
        Digit = "digit",
        /// Two of day, month and year.
        TwoParts = "two-parts",
        /// One part of three, or a part against another precision.
        OnePart = "one-part",
        /// Year and month agree, and no more is known.
        Month = "month",
        /// The year agrees, and no more is known.
        Year = "year",
        /// The first of January of two years: of neither is the day known.
        NewYears = "new-years",
        /// The postcode's first half.
        Outcode = "outcode",
        /// Agrees, as it must where the postcode does.
        Implied = "implied",
        /// One is a child that has no name yet.
        Unnamed = "unnamed",
        /// The same digits, which a source doubts.
        Doubted = "doubted",
        /// Not the same.
        Differs = "differs",
    }
}

/// Number of [`Field`]s.
pub(crate) const FIELDS: usize = Field::ALL.len();
/// Number of [`Level`]s.
pub(crate) const LEVELS: usize = Level::ALL.len();

impl Field {
    /// The ways in which this field can come out, but for [`Level::Absent`], which always weighs nothing.
    #[must_use]
    pub fn levels(self) -> &'static [Level] {
        use Level::{
            Close, Differs, Digit, Doubted, Exact, Implied, Initial, Month, Near, NewYears, Nickname, OnePart, Other,
            Outcode, Part, Sound, Swapped, TwoParts, Unnamed, Whole, Year,
        };
        match self {
            Self::Number => &[Exact, Near, Doubted, Differs],
            Self::Family => &[Exact, Swapped, Near, Part, Sound, Differs],
            Self::Given => &[Exact, Swapped, Nickname, Near, Other, Sound, Initial, Unnamed, Differs],
            Self::Middle => &[Exact, Initial, Differs],
            Self::Birth => &[Exact, Swapped, Digit, TwoParts, OnePart, Month, Year, NewYears, Differs],
            Self::Sex => &[Exact, Differs],
            Self::Postcode => &[Exact, Part, Near, Digit, Outcode, Differs],
            Self::House => &[Exact, Implied, Part, Differs],
            Self::Street => &[Whole, Exact, Near, Implied, Differs],
            Self::City => &[Exact, Near, Part, Implied, Differs],
            Self::Region => &[Exact, Differs],
            Self::Phone | Self::Email => &[Exact, Near, Differs],
            Self::Identifier => &[Exact, Near, Close, Differs],
            Self::Local => &[Exact],
            Self::Death => &[Exact, Differs],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_written() {
        for field in Field::ALL {
            assert_eq!(Field::parse(field.text()), Some(*field));
            assert!(!field.levels().contains(&Level::Absent), "{field}");
        }
        for level in Level::ALL {
            assert_eq!(Level::parse(level.text()), Some(*level));
        }
        assert_eq!((Field::parse("shoe-size"), Level::parse("")), (None, None));
    }
}
