#![allow(clippy::unwrap_used)]
use super::*;

fn found(label: &str, score: f32, corners: [f32; 4]) -> Found<'_> {
    let [x1, y1, x2, y2] = corners;
    Found { label, class_id: 15, score, rect: Rect { x1, y1, x2, y2 } }
}

fn line(found: &[Found<'_>]) -> String {
    let mut out = JsonLines::new(Vec::new());
    let image = Image {
        path: Path::new("street.jpg"),
        width: 640,
        height: 480,
        scale: 1.25,
        proposals: Some(300),
        found,
        dropped: 0,
        stage_ms: &[("decode", 4.126), ("trunk", 141.9), ("odd", f64::NAN)],
    };
    out.image(&image).unwrap();
    String::from_utf8(out.out).unwrap()
}

#[test]
fn an_image_line_looks_as_documented() {
    assert_eq!(
        line(&[found("person", 0.942_123, [212.5, 80.1, 330.0, 402.704])]),
        "{\"type\":\"image\",\"path\":\"street.jpg\",\"width\":640,\"height\":480,\"scale\":1.25,\"proposals\":300,\
         \"detections\":[{\"label\":\"person\",\"class_id\":15,\"score\":0.9421,\"box\":[212.5,80.1,330.0,402.7]}],\
         \"stage_ms\":{\"decode\":4.13,\"trunk\":141.9}}\n"
    );
}

#[test]
fn the_example_of_the_documentation_has_the_fields_we_write_and_no_others() {
    let example = include_str!("../json.rs").lines().find_map(|l| l.strip_prefix("//! {\"type\":\"image\"")).unwrap();
    let example: serde_json::Value = serde_json::from_str(&format!("{{\"type\":\"image\"{example}")).unwrap();
    let ours: serde_json::Value = serde_json::from_str(&line(&[found("person", 0.9, [0.0, 0.0, 9.0, 9.0])])).unwrap();
    let keys = |v: &serde_json::Value| v.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&ours), keys(&example));
    assert_eq!(keys(&ours["detections"][0]), keys(&example["detections"][0]));
}

#[test]
fn boxes_stay_inside_and_those_without_area_or_with_wild_numbers_are_counted() {
    let text = line(&[
        found("a", 0.5, [-3.0, -1.0, 900.0, 480.5]),
        found("b", 0.5, [5.0, 5.0, 5.001, 9.0]),
        found("c", f32::NAN, [5.0, 5.0, 6.0, 9.0]),
        found("d", 0.5, [f32::NEG_INFINITY, 5.0, 6.0, 9.0]),
    ]);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["detections"].as_array().unwrap().len(), 1);
    assert_eq!(value["detections"][0]["box"], serde_json::json!([0.0, 0.0, 640.0, 480.0]));
    assert_eq!(value["dropped"], 3);
}

#[test]
fn any_label_survives_a_strict_parser() {
    let wild = "a \"quoted\" \\ \n\r\t\u{0}\u{1f} {\"x\":1} žluťoučký 猫 \u{2028} 🙂";
    let text = line(&[found(wild, 0.5, [0.0, 0.0, 1.0, 1.0])]);
    assert_eq!(text.matches('\n').count(), 1);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["detections"][0]["label"], wild);
}

#[test]
fn each_line_is_one_write_then_a_flush() {
    #[derive(Default)]
    struct Counting(Vec<&'static str>);
    impl Write for Counting {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push("write");
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            self.0.push("flush");
            Ok(())
        }
    }
    let mut out = JsonLines::new(Counting::default());
    out.error(Path::new("a.jpg"), "no").unwrap();
    out.error(Path::new("b.jpg"), "no").unwrap();
    assert_eq!(out.out.0, ["write", "flush", "write", "flush"]);
}
