//! What the services must know of linking models beyond the log and the read model. The binary answers it from the linker,
//! which this crate does not see.

use weft_model::proto::event::Issue;

/// The part of a node that reads model files.
pub trait LinkModels: Send + Sync {
    /// Reads a model file; says which model it is.
    ///
    /// # Errors
    /// What is wrong; its text names the key.
    fn check(&self, file: &str) -> Result<LinkModel, Issue>;

    /// The model that decides where none was switched to.
    fn shipped(&self) -> LinkModel;
}

/// A model by its name: what it is of, and which version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkModel {
    /// As decisions carry it: `weights/1`.
    pub name: String,
}

impl LinkModel {
    /// True where this is an earlier version of the other model, or the same. Models of two names, and versions that are no
    /// numbers, follow each other in any order.
    pub(crate) fn is_no_newer_than(&self, other: &str) -> bool {
        let version = |name: &str| {
            let (of, version) = name.rsplit_once('/')?;
            Some((of.to_owned(), version.parse::<u64>().ok()?))
        };
        match (version(&self.name), version(other)) {
            (Some((of, mine)), Some((other_of, theirs))) if of == other_of => mine <= theirs,
            _ => self.name == other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_follows_the_ones_before_it() {
        for (new, held, is_no_newer) in [
            ("weights/1", "weights/1", true),
            ("weights/2", "weights/10", true),
            ("weights/10", "weights/2", false),
            ("weights/2", "strict/7", false),
            ("weights/fitted", "weights/fitted", true),
            ("weights/fitted", "weights/3", false),
            ("weights", "weights/1", false),
        ] {
            assert_eq!(LinkModel { name: new.to_owned() }.is_no_newer_than(held), is_no_newer, "{new} {held}");
        }
    }
}
