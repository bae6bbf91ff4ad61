//! What the API needs to know of linking models, told by the linker that reads them.

use weft_api::{LinkModel, LinkModels};
use weft_link::{Model, ModelError};
use weft_model::proto::event::{Issue, Severity};

/// The models that this program can decide by.
pub(crate) struct NodeModels {
    shipped: String,
}

impl NodeModels {
    pub(crate) fn new() -> Result<Self, ModelError> {
        Ok(Self { shipped: Model::shipped()?.name })
    }
}

impl LinkModels for NodeModels {
    fn check(&self, file: &str) -> Result<LinkModel, Issue> {
        match Model::parse(file) {
            Ok(model) => Ok(LinkModel { name: model.name }),
            Err(error) => Err(issue(&error)),
        }
    }

    fn shipped(&self) -> LinkModel {
        LinkModel { name: self.shipped.clone() }
    }
}

/// What is wrong with a file; its text names the key.
fn issue(error: &ModelError) -> Issue {
    let code = match error {
        ModelError::Form { .. } => "model-form",
        ModelError::UnknownField { .. } | ModelError::UnknownLevel { .. } => "model-key-unknown",
        ModelError::Missing { .. } => "model-key-missing",
        ModelError::OtherVersion { .. } => "model-version",
        ModelError::Limits(_) => "model-limits",
    };
    Issue { severity: Severity::Error.into(), code: code.to_owned(), text: error.to_string(), ..Issue::default() }
}
