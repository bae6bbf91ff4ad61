//! The weights: what each way of agreeing or differing adds to a score. They are read from a file, never written in code.
//!
//! The file's form is described in `schemas/linkage/README.md`, and the one that ships is
//! `schemas/linkage/weights-1.toml`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    features::NORMALISER,
    field::{FIELDS, Field, LEVELS, Level},
    frequencies::FREQUENCIES,
};

const SHIPPED: &str = include_str!("../../../schemas/linkage/weights-1.toml");

/// A named set of weights, in hundredths of a bit: 100 doubles the odds that two records are of one person. Integers, so
/// that the rows of a decision sum exactly to its score.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// Name and version, written into every decision: `weights/1`.
    pub name: String,
    /// A person agrees with a record from this score on.
    pub threshold: i64,
    /// From this score on somebody should look.
    pub review: i64,
    /// The best person must lead the second best by at least this much, else neither is chosen.
    pub margin: i64,
    /// Two persons that one record joins become one from this mean score between their records on.
    pub merge_mean: i64,
    /// The threshold is right where two to this power of records are known. Coincidence needs that many more or fewer
    /// strangers: with each halving a score is worth a bit more.
    pub population_bits: u32,
    /// No index counts as smaller than two to this power.
    pub population_bits_min: u32,
    /// For registered people of whom nothing agrees but name, birth date and sex, the threshold is right up to two to this
    /// power of records.
    pub population_bits_registered: u32,
    /// Added by a rule that forbids the link; below everything that agreement can add.
    pub veto: i32,
    /// Added where family and given name both agree: within a community they go together, and so are worth less than each by
    /// itself.
    pub names_together: i32,
    /// How much rarer than a stranger each other explanation of an agreement is.
    pub rivals: Rivals,
    /// Where the weights come from, in words.
    pub provenance: Vec<String>,
    weights: [[i32; LEVELS]; FIELDS],
}

/// People who share much with a person and are not that person: how much rarer than a stranger each is, in hundredths of a
/// bit. A link must be better than every one of these explanations, not only better than coincidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rivals {
    /// Somebody of the same household: family name, address and telephone count for nothing.
    pub household: i32,
    /// A twin: the birth date counts for nothing either.
    pub twin: i32,
    /// A parent or child with the same names: only the birth date tells them apart.
    pub namesake: i32,
}

/// Why a model file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Not TOML, or not these keys.
    #[error("model: line {line}: {text}")]
    Form {
        /// Counted from 1.
        line: usize,
        /// What the reader says: it names the key.
        text: String,
    },
    /// A weight for something that is not compared.
    #[error("model: weights.{field}: nothing that is compared has this name")]
    UnknownField {
        /// As written.
        field: String,
    },
    /// A weight for an outcome that the field never has.
    #[error("model: weights.{field}.{level}: this field never comes out so")]
    UnknownLevel {
        /// The field.
        field: Field,
        /// As written.
        level: String,
    },
    /// An outcome without a weight.
    #[error("model: weights.{field}.{level} is missing")]
    Missing {
        /// The field.
        field: Field,
        /// The outcome.
        level: Level,
    },
    /// Made for another way of normalising, or other tables of names.
    #[error("model: {key} is `{held}`; this program has `{ours}`")]
    OtherVersion {
        /// The key.
        key: &'static str,
        /// As written.
        held: String,
        /// What this program has.
        ours: &'static str,
    },
    /// Limits that contradict each other, or a veto that agreement could outweigh.
    #[error("model: {0}")]
    Limits(&'static str),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    normaliser: String,
    frequencies: String,
    threshold: i64,
    review: i64,
    margin: i64,
    merge_mean: i64,
    population_bits: u32,
    population_bits_min: u32,
    /// As `population_bits` in a file that does not say: logs hold such files.
    population_bits_registered: Option<u32>,
    veto: i32,
    names_together: i32,
    provenance: Vec<String>,
    rivals: Rivals,
    weights: BTreeMap<String, BTreeMap<String, i32>>,
}

impl Model {
    /// The model that ships with this program.
    ///
    /// # Errors
    /// None in a program whose tests passed.
    pub fn shipped() -> Result<Self, ModelError> {
        Self::parse(SHIPPED)
    }

    /// The file of the model that ships with this program, as it is in the sources.
    #[must_use]
    pub fn shipped_text() -> &'static str {
        SHIPPED
    }

    /// Reads a model file.
    ///
    /// # Errors
    /// [`ModelError`] says which key is wrong.
    pub fn parse(text: &str) -> Result<Self, ModelError> {
        let file: File = toml::from_str(text).map_err(|error| ModelError::Form {
            line: line_at(text, error.span().map_or(0, |span| span.start)),
            text: error.message().to_owned(),
        })?;
        for (key, held, ours) in
            [("normaliser", file.normaliser, NORMALISER), ("frequencies", file.frequencies, FREQUENCIES)]
        {
            if held != ours {
                return Err(ModelError::OtherVersion { key, held, ours });
            }
        }
        let model = Self {
            name: file.name,
            threshold: file.threshold,
            review: file.review,
            margin: file.margin,
            merge_mean: file.merge_mean,
            population_bits: file.population_bits,
            population_bits_min: file.population_bits_min,
            population_bits_registered: file.population_bits_registered.unwrap_or(file.population_bits),
            veto: file.veto,
            names_together: file.names_together,
            rivals: file.rivals,
            provenance: file.provenance,
            weights: weights(&file.weights)?,
        };
        if model.review > model.threshold || model.margin < 0 {
            return Err(ModelError::Limits("review must not be above threshold, nor margin below 0"));
        }
        if i64::from(model.veto) + model.most() >= 0 {
            return Err(ModelError::Limits("veto must outweigh all agreement together"));
        }
        Ok(model)
    }

    /// The model as a file that [`parse`](Self::parse) reads.
    ///
    /// # Errors
    /// None that is known: every model can be written.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        let of = |field: &Field| {
            let levels = field.levels().iter().map(|level| (level.text().to_owned(), self.weight(*field, *level)));
            (field.text().to_owned(), levels.collect())
        };
        toml::to_string(&File {
            name: self.name.clone(),
            normaliser: NORMALISER.to_owned(),
            frequencies: FREQUENCIES.to_owned(),
            threshold: self.threshold,
            review: self.review,
            margin: self.margin,
            merge_mean: self.merge_mean,
            population_bits: self.population_bits,
            population_bits_min: self.population_bits_min,
            population_bits_registered: Some(self.population_bits_registered),
            veto: self.veto,
            names_together: self.names_together,
            provenance: self.provenance.clone(),
            rivals: self.rivals,
            weights: Field::ALL.iter().map(of).collect(),
        })
    }

    /// What the number of records known adds: 100 for each halving below that for which the threshold is made, less above it.
    #[must_use]
    pub fn population(&self, records: usize) -> i32 {
        halvings(self.population_bits, power_of_two(records).max(self.population_bits_min))
    }

    /// The same for registered people of whom nothing agrees but name, birth date and sex: however few people a node knows,
    /// these are of a large population, and where it knows very many, strangers who share all that are among them.
    #[must_use]
    pub fn population_registered(&self, records: usize) -> i32 {
        halvings(self.population_bits_registered, power_of_two(records)).min(0)
    }

    /// What this outcome adds. Where names agree, the rarity of the name is added to it by the comparison.
    #[must_use]
    pub fn weight(&self, field: Field, level: Level) -> i32 {
        self.weights.get(field as usize).and_then(|of| of.get(level as usize)).copied().unwrap_or_default()
    }

    /// Sets what this outcome adds.
    pub fn set_weight(&mut self, field: Field, level: Level, weight: i32) {
        if let Some(held) = self.weights.get_mut(field as usize).and_then(|of| of.get_mut(level as usize)) {
            *held = weight;
        }
    }

    /// More than all agreement together can add, the rarest names included.
    fn most(&self) -> i64 {
        let best = |of: &[i32; LEVELS]| i64::from(of.iter().copied().max().unwrap_or_default().max(0));
        self.weights.iter().map(best).sum::<i64>() + 2 * i64::from(crate::frequencies::BITS_MAX)
    }
}

fn line_at(text: &str, offset: usize) -> usize {
    text.get(..offset).unwrap_or(text).matches('\n').count() + 1
}

fn weights(read: &BTreeMap<String, BTreeMap<String, i32>>) -> Result<[[i32; LEVELS]; FIELDS], ModelError> {
    let mut weights = [[0; LEVELS]; FIELDS];
    for (name, levels) in read {
        let field = Field::parse(name).ok_or_else(|| ModelError::UnknownField { field: name.clone() })?;
        for (name, weight) in levels {
            let level = Level::parse(name).filter(|level| field.levels().contains(level));
            let level = level.ok_or_else(|| ModelError::UnknownLevel { field, level: name.clone() })?;
            if let Some(held) = weights.get_mut(field as usize).and_then(|of| of.get_mut(level as usize)) {
                *held = *weight;
            }
        }
    }
    for field in Field::ALL {
        for level in field.levels() {
            if !read.get(field.text()).is_some_and(|levels| levels.contains_key(level.text())) {
                return Err(ModelError::Missing { field: *field, level: *level });
            }
        }
    }
    Ok(weights)
}

/// The power of 2 that is not less.
pub(crate) fn power_of_two(records: usize) -> u32 {
    usize::BITS - records.saturating_sub(1).leading_zeros()
}

fn halvings(from: u32, to: u32) -> i32 {
    let of = |bits: u32| i32::try_from(bits).unwrap_or(i32::MAX);
    of(from).saturating_sub(of(to)).saturating_mul(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_model_is_read_and_written_back() {
        let model = Model::shipped().unwrap();
        assert_eq!(Model::parse(&model.to_toml().unwrap()).unwrap(), model);
        assert!(model.veto < -(model.most() as i32));
    }

    #[test]
    fn a_file_without_the_newest_key_reads_as_it_did() {
        let model = Model::parse(&SHIPPED.replacen("population_bits_registered = 18\n", "", 1)).unwrap();
        assert_eq!(model.population_bits_registered, model.population_bits);
        assert_eq!(model.population_registered(1 << 21), 0);
        assert_eq!(Model::shipped().unwrap().population_registered(1 << 21), -300);
    }

    #[track_caller]
    fn check(from: &str, to: &str, wanted: &str) {
        assert!(SHIPPED.contains(from), "{from}");
        let error = Model::parse(&SHIPPED.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.starts_with(wanted), "{error}");
    }

    #[test]
    fn a_wrong_file_is_refused_by_its_key() {
        check(
            "[weights.sex]",
            "[weights.shoe-size]",
            "model: weights.shoe-size: nothing that is compared has this name",
        );
        check("outcode =", "suburb =", "model: weights.postcode.suburb: this field never comes out so");
        check("[weights.sex]\nexact", "[weights.sex]\n# exact", "model: weights.sex.exact is missing");
        check("veto = -", "veto = ", "model: veto must outweigh all agreement together");
        check("margin = ", "margin = -", "model: review must not be above threshold, nor margin below 0");
        check("margin = 500", "margin = \"wide\"", "model: line 8: invalid type: string \"wide\", expected i64");
        check("margin = 500\n", "", "model: line 1: missing field `margin`");
        check("margin = 500", "margins = 500", "model: line 8: unknown field `margins`, expected one of");
        check("names/", "nomina/", "model: frequencies is `nomina/1`; this program has `names/1`");
    }
}
