//! Forms of one given name.

use std::{cmp::Reverse, sync::LazyLock};

use crate::{
    frequencies::{Kind, bits},
    map::Map,
};

const TABLE: &str = include_str!("../../../schemas/linkage/forms-1.tsv");

/// The usual name that a short form or another spelling stands for; the name itself where it is none. By this a record is found:
/// where a form may stand for several, for the one that begins most like it, then for the commonest.
pub(crate) fn formal(given: &str) -> &str {
    FORMS.get(given).and_then(|forms| forms.first()).copied().unwrap_or(given)
}

/// The name that two different ones are forms of, one of which may be that name itself: the commonest such.
pub(crate) fn shared_form(one: &str, other: &str) -> Option<&'static str> {
    let (one, other) = (FORMS.get(one)?, FORMS.get(other)?);
    let shared = one.iter().copied().filter(|form| other.contains(form));
    shared.min_by_key(|form| (bits(Kind::Given, form), *form))
}

/// What each name of the table may stand for, the likeliest first, itself last.
static FORMS: LazyLock<Map<&'static str, Vec<&'static str>>> = LazyLock::new(|| {
    let mut forms: Map<&'static str, Vec<&'static str>> = Map::default();
    for (formal, short) in rows() {
        for short in short.split(' ') {
            forms.entry(short).or_default().push(formal);
        }
    }
    for (short, forms) in &mut forms {
        let in_common = |form: &str| form.bytes().zip(short.bytes()).take_while(|(one, other)| one == other).count();
        forms.sort_by_key(|form| (Reverse(in_common(form)), bits(Kind::Given, form), *form));
    }
    for (formal, _) in rows() {
        forms.entry(formal).or_default().push(formal);
    }
    forms
});

/// Each name of the table with its forms.
fn rows() -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLE.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('\t'))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_is_well_formed() {
        assert_eq!(rows().count(), TABLE.lines().filter(|line| !line.starts_with('#')).count());
        assert!(rows().is_sorted_by(|(one, _), (other, _)| one < other));
        for (formal, short) in rows() {
            let mut names = BTreeSet::from([formal]);
            assert!(short.split(' ').all(|name| names.insert(name)), "{formal} has a form twice");
            let is_name = |name: &&str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase());
            assert!(names.iter().all(is_name), "{formal}");
        }
    }

    #[test]
    fn a_form_stands_for_the_name_that_begins_like_it_or_is_commonest() {
        for (form, name) in
            [("BILL", "WILLIAM"), ("WILLIAM", "WILLIAM"), ("AMINA", "AMINA"), ("FRED", "FREDERICK"), ("ED", "EDWARD")]
        {
            assert_eq!(formal(form), name, "{form}");
        }
    }

    #[test]
    fn forms_of_one_name_share_it_whichever_comes_first() {
        for (one, other, shared) in [
            ("ALEX", "ALEXANDRA", Some("ALEXANDRA")),
            ("ALEX", "ALEXANDER", Some("ALEXANDER")),
            ("ALEXANDER", "ALEXANDRA", None),
            ("BILL", "WILL", Some("WILLIAM")),
            ("JACK", "JOHN", Some("JOHN")),
            ("ANN", "ANNE", Some("ANN")),
            ("BEN", "BEA", None),
            ("XERXES", "JOHN", None),
        ] {
            assert_eq!((shared_form(one, other), shared_form(other, one)), (shared, shared), "{one} {other}");
        }
    }
}
