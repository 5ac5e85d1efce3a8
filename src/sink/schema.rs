//! The JSON Schema (draft 2020-12) of all lines: those of [`stream`](super::stream), and `detect`'s of
//! [`json`](super::json). `schema.json` is the specification that programs read; the tables in those two modules say the
//! same to people, and a test holds one to the other.

/// What `edge-rcnn schema` prints.
pub const JSON_SCHEMA: &str = include_str!("schema.json");

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// The part of a module's documentation that is about one type of line, and what holds for all of them.
    fn documented(module: &str, kind: &str) -> String {
        let docs: Vec<&str> = module.lines().map_while(|l| l.strip_prefix("//!")).collect();
        let text = docs.join("\n");
        let paragraphs: Vec<&str> = text.split("\n\n").collect();
        // The table follows the paragraph that names the type.
        let starts =
            |p: &str| p.trim().starts_with(&format!("`{kind}`")) || p.contains(&format!("`\"type\":\"{kind}\"`"));
        let at = paragraphs.iter().position(|p| starts(p)).unwrap_or_else(|| panic!("{kind} is not documented"));
        format!("{}\n{}", paragraphs[at + 1], paragraphs[3.min(at)])
    }

    #[test]
    fn every_field_of_the_schema_is_documented_with_its_type_of_line() {
        let schema: Value = serde_json::from_str(JSON_SCHEMA).unwrap();
        let common = ["type", "t", "t_mono_us"];
        for kind in ["hello", "status", "frame", "stats", "error", "bye", "image"] {
            let module = if kind == "image" { include_str!("json.rs") } else { include_str!("stream/mod.rs") };
            let text = documented(module, kind);
            for field in schema["$defs"][kind]["properties"].as_object().unwrap().keys() {
                // The path of an error is detect's.
                let elsewhere = common.contains(&field.as_str()) || (kind, field.as_str()) == ("error", "path");
                assert!(elsewhere || text.contains(&format!("`{field}`")), "{kind}: {field} is not documented");
            }
        }
        for field in schema["$defs"]["detection"]["properties"].as_object().unwrap().keys() {
            let text = documented(include_str!("stream/mod.rs"), "frame");
            assert!(text.contains(&format!("{field}`")), "detections[].{field} is not documented");
        }
    }
}
