//! The protobuf JSON mapping of any message of `proto/weft`, for `--json`.

use anyhow::Context;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};

/// The JSON of `message`, whose full protobuf name is `name` (`weft.v1.GetTimelineResponse`).
pub(crate) fn to_json(name: &str, message: &impl Message) -> anyhow::Result<serde_json::Value> {
    let pool = DescriptorPool::decode(weft_model::proto::DESCRIPTORS).context("descriptors of this program")?;
    let descriptor = pool.get_message_by_name(name).with_context(|| format!("no message {name}"))?;
    let dynamic = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())?;
    let options = SerializeOptions::new().skip_default_fields(false);
    Ok(dynamic.serialize_with_options(serde_json::value::Serializer, &options)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use weft_model::proto::api::PersonSummary;

    #[test]
    fn names_are_the_mapping_s() {
        let json = to_json("weft.v1.PersonSummary", &PersonSummary { person_id: "x".into(), ..Default::default() });
        assert_eq!(json.unwrap()["personId"], "x");
    }
}
