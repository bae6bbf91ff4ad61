//! Messages with a broken header: each is kept, quarantined for its reason, and answered.

use std::fmt::Write;

use bytes::Bytes;
use expect_test::expect;
use weft_model::Verdict;
use weft_translate::{Outcome, translate};

use crate::samples;

#[test]
fn each_is_kept_for_its_reason() {
    let Some(files) = samples::shared("hl7v2/malformed", ".hl7") else { return };
    let profile = samples::profile("", "");
    let mut told = String::new();
    for (path, bytes) in files {
        let name = path.rsplit('/').next().unwrap();
        let raw = Bytes::from(bytes);
        let translation = translate(raw.clone(), &profile, 0);
        assert_eq!(translation.message.raw, raw, "{name}");
        assert_eq!(translation.verdict, Verdict::Quarantined, "{name}");
        writeln!(told, "{name}: {}", translation.message.reason).unwrap();
        for issue in &translation.message.issues {
            writeln!(told, "  {:?} {} at {}", issue.severity(), issue.code, issue.location).unwrap();
        }
        let outcome = Outcome::Stored { verdict: Verdict::Quarantined, stored: Verdict::Quarantined };
        let reply = translation.acknowledge(&profile, outcome, 0, "W1");
        writeln!(told, "  {}", String::from_utf8(reply).unwrap().trim_end().replace('\r', "\n  ")).unwrap();
    }
    expect![[r#"
        empty.hl7: unreadable
          Error unreadable at byte 0
          MSH|^~\&|||||19700101010000.000+0100||ACK|W1|P|2.4
          MSA|AE||the message is empty
          ERR|^^^100&Segment sequence error&HL70357
        msh-12_has_value_2_3.hl7: wrong-type
          Information line-ends at byte 224
          Error wrong-type at MSH-9
          MSH|^~\&|Receiver Application^0.0.0.0.0.0.0.0^ISO|Receiver Facility^receiver.test.com^DNS|Sender Application^sender.test.com^DNS|Sender Facility^0.0.0.0.0.0.0.0^ISO|19700101010000.000+0100||ACK^O01|W1|D|2.3
          MSA|AR|111111|the message type is not one that is translated
          ERR|MSH^1^9^200&Unsupported message type&HL70357
        msh_present_but_missing_all_fields.hl7: unreadable
          Error unreadable at MSH-2
          Information line-ends at byte 4
          Error control-id-missing at MSH-10
          Error wrong-type at MSH-9
          MSH|^~\&|||||19700101010000.000+0100||ACK|W1|P|2.4
          MSA|AE||the encoding characters are missing or not four different marks
          ERR|MSH^1^2^102&Data type error&HL70357
        msh_present_but_missing_msh-10.hl7: control-id-missing
          Information line-ends at byte 220
          Error control-id-missing at MSH-10
          Error wrong-type at MSH-9
          MSH|^~\&|Receiver Application^0.0.0.0.0.0.0.0^ISO|Receiver Facility^receiver.test.com^DNS|Sender Application^sender.test.com^DNS|Sender Facility^0.0.0.0.0.0.0.0^ISO|19700101010000.000+0100||ACK^O01^ACK|W1|D|2.5.1
          MSA|AE|
          ERR||MSH^1^10|101^Required field missing^HL70357|E|control-id-missing|||the message has no control id
        msh_present_but_missing_msh-2.hl7: unreadable
          Error unreadable at MSH-2
          Information line-ends at byte 222
          Error wrong-type at MSH-9
          MSH|^~\&|Receiver Application^0.0.0.0.0.0.0.0^ISO|Receiver Facility^receiver.test.com^DNS|Sender Application^sender.test.com^DNS|Sender Facility^0.0.0.0.0.0.0.0^ISO|19700101010000.000+0100||ACK^O01^ACK|W1|D|2.5.1
          MSA|AE|111111
          ERR||MSH^1^2|102^Data type error^HL70357|E|unreadable|||the encoding characters are missing or not four different marks
        msh_present_but_missing_msh-6.hl7: wrong-type
          Information line-ends at byte 187
          Error wrong-type at MSH-9
          MSH|^~\&|Receiver Application^0.0.0.0.0.0.0.0^ISO||Sender Application^sender.test.com^DNS|Sender Facility^0.0.0.0.0.0.0.0^ISO|19700101010000.000+0100||ACK^O01^ACK|W1|D|2.5.1
          MSA|AR|111111
          ERR||MSH^1^9|200^Unsupported message type^HL70357|E|wrong-type|||the message type is not one that is translated
        msh_present_but_missing_msh-9.hl7: wrong-type
          Information line-ends at byte 211
          Error wrong-type at MSH-9
          MSH|^~\&|Receiver Application^0.0.0.0.0.0.0.0^ISO|Receiver Facility^receiver.test.com^DNS|Sender Application^sender.test.com^DNS|Sender Facility^0.0.0.0.0.0.0.0^ISO|19700101010000.000+0100||ACK|W1|D|2.5.1
          MSA|AR|111111
          ERR||MSH^1^9|200^Unsupported message type^HL70357|E|wrong-type|||the message has no type
        orm_obx-5_is_not_a_numeric_value.hl7: wrong-type
          Information line-ends at byte 226
          Error wrong-type at MSH-9
          MSH|^~\&|Receiver Application^0.0.0.0.0.0.0.0^ISO|Receiver Facility^receiver.test.com^DNS|Sender Application^sender.test.com^DNS|Sender Facility^0.0.0.0.0.0.0.0^ISO|19700101010000.000+0100||ACK^O01^ACK|W1|D|2.5.1
          MSA|AR|111111
          ERR||MSH^1^9|200^Unsupported message type^HL70357|E|wrong-type|||the message type is not one that is translated
    "#]].assert_eq(&told);
}
