//! Protobuf text format, as Caffe's `.prototxt` files use it.
//!
//! A message is a list of fields in file order, nothing is known about types here: numbers, enum names and booleans
//! stay words until somebody asks for a value. Accepted beyond the tidy form: the colon before a message may be there
//! or not, `< >` instead of `{ }`, `[a, b]` for repeated fields, commas or semicolons after a field, either quote,
//! strings in several pieces, and bytes that are no UTF-8 in comments and strings.
//!
//! Every error says line and column (both from 1). Size and depth are limited, so that no file can exhaust the stack.

use std::str::FromStr;

/// Files above this size are refused; the largest released network description has under 100 KB.
pub const MAX_BYTES: usize = 4 << 20;
/// Deepest nesting of messages. Caffe's own schema needs six.
pub const MAX_DEPTH: usize = 32;

/// A place in the file, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// Line.
    pub line: u32,
    /// Column in characters.
    pub column: u32,
}

/// What is wrong with the text, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {}, column {}: {what}", at.line, at.column)]
pub struct ParseError {
    /// Where.
    pub at: Position,
    /// What.
    pub what: String,
}

/// The value of a field.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A nested message.
    Message(Message),
    /// A quoted string, without the quotes.
    Text(String),
    /// A number, boolean or enum name, as written.
    Word(String),
}

/// One field of a message.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Value,
    /// Where it stands.
    pub at: Position,
}

/// A message: fields in file order, repeated ones once per value.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Message {
    /// The fields.
    pub fields: Vec<Field>,
}

/// Reads a whole file.
pub fn parse(bytes: &[u8]) -> Result<Message, ParseError> {
    let mut cursor = Cursor { bytes, next: 0, at: Position { line: 1, column: 1 } };
    if bytes.len() > MAX_BYTES {
        let what =
            format!("the file has {} bytes, more than the {MAX_BYTES} a network description may have", bytes.len());
        return cursor.fail(what);
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        cursor.next = 3;
    }
    cursor.message(None, 0)
}

impl Message {
    /// All fields of that name.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Field> {
        self.fields.iter().filter(move |f| f.name == name)
    }

    /// All messages of that name.
    pub fn messages<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Message> {
        self.all(name).filter_map(|f| if let Value::Message(m) = &f.value { Some(m) } else { None })
    }

    /// The message of that name; an empty one if there is none, so that every field of it has its default.
    pub fn message(&self, name: &str) -> &Message {
        static EMPTY: Message = Message { fields: Vec::new() };
        self.messages(name).last().unwrap_or(&EMPTY)
    }

    /// The string or word of that name; the last one counts, as in protobuf.
    pub fn text(&self, name: &str) -> Result<Option<&str>, ParseError> {
        self.all(name).last().map(Field::text).transpose()
    }

    /// Strings or words of that name, in file order.
    pub fn texts(&self, name: &str) -> Result<Vec<&str>, ParseError> {
        self.all(name).map(Field::text).collect()
    }

    /// The number of that name.
    pub fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, ParseError> {
        self.all(name).last().map(Field::number).transpose()
    }

    /// All numbers of that name.
    pub fn numbers<T: FromStr>(&self, name: &str) -> Result<Vec<T>, ParseError> {
        self.all(name).map(Field::number).collect()
    }

    /// The boolean of that name.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>, ParseError> {
        let Some(field) = self.all(name).last() else { return Ok(None) };
        match field.text()? {
            "true" | "True" | "t" | "1" => Ok(Some(true)),
            "false" | "False" | "f" | "0" => Ok(Some(false)),
            other => field.fail(format!("`{name}` is `{other}`, expected true or false")),
        }
    }
}

impl Field {
    fn text(&self) -> Result<&str, ParseError> {
        match &self.value {
            Value::Text(s) | Value::Word(s) => Ok(s),
            Value::Message(_) => self.fail(format!("`{}` is a message, expected a single value", self.name)),
        }
    }

    fn number<T: FromStr>(&self) -> Result<T, ParseError> {
        let word = self.text()?;
        match word.trim_end_matches(['f', 'F']).parse().or_else(|_| word.parse()) {
            Ok(number) => Ok(number),
            Err(_) => self.fail(format!("`{}` is `{word}`, expected a number", self.name)),
        }
    }

    fn fail<T>(&self, what: String) -> Result<T, ParseError> {
        Err(ParseError { at: self.at, what })
    }
}

/// Walks over the bytes and keeps count of lines and columns.
struct Cursor<'a> {
    bytes: &'a [u8],
    next: usize,
    at: Position,
}

impl Cursor<'_> {
    fn fail<T>(&self, what: impl Into<String>) -> Result<T, ParseError> {
        Err(ParseError { at: self.at, what: what.into() })
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.next).copied()
    }

    fn bump(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.next += 1;
        if byte == b'\n' {
            self.at = Position { line: self.at.line + 1, column: 1 };
        } else if byte & 0xc0 != 0x80 {
            // Continuation bytes of UTF-8 belong to the character before them.
            self.at.column += 1;
        }
        Some(byte)
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.bump();
        }
        found
    }

    fn skip_blanks(&mut self) {
        while let Some(byte) = self.peek() {
            if byte == b'#' {
                while self.peek().is_some_and(|b| b != b'\n') {
                    self.bump();
                }
            } else if byte.is_ascii_whitespace() {
                self.bump();
            } else {
                break;
            }
        }
    }

    /// The fields up to `close`, or up to the end of the file for the outermost message.
    fn message(&mut self, close: Option<u8>, depth: usize) -> Result<Message, ParseError> {
        let opened = self.at;
        let mut message = Message::default();
        loop {
            self.skip_blanks();
            match (self.peek(), close) {
                (None, None) => return Ok(message),
                (None, Some(c)) => {
                    let place = format!("opened at line {}, column {}", opened.line, opened.column);
                    return self.fail(format!("the file ends where `{}` is missing ({place})", c as char));
                }
                (Some(byte), Some(c)) if byte == c => {
                    self.bump();
                    return Ok(message);
                }
                _ => self.field(&mut message, depth)?,
            }
        }
    }

    fn field(&mut self, into: &mut Message, depth: usize) -> Result<(), ParseError> {
        let at = self.at;
        let name = self.word();
        if name.is_empty() {
            let found = self.peek().map_or("the end".into(), |b| format!("`{}`", b.escape_ascii()));
            return self.fail(format!("expected the name of a field, found {found}"));
        }
        self.skip_blanks();
        let colon = self.take(b':');
        self.skip_blanks();
        let opens_message = matches!(self.peek(), Some(b'{' | b'<'));
        if !colon && !opens_message {
            return self.fail(format!("expected `:` or `{{` after `{name}`"));
        }
        if self.take(b'[') {
            loop {
                self.skip_blanks();
                if self.take(b']') {
                    break;
                }
                let value = self.value(&name, depth)?;
                into.fields.push(Field { name: name.clone(), value, at });
                self.skip_blanks();
                if !self.take(b',') && self.peek() != Some(b']') {
                    return self.fail(format!("expected `,` or `]` in the list of `{name}`"));
                }
            }
        } else {
            let value = self.value(&name, depth)?;
            into.fields.push(Field { name, value, at });
        }
        self.skip_blanks();
        let _ = self.take(b';') || self.take(b',');
        Ok(())
    }

    fn value(&mut self, name: &str, depth: usize) -> Result<Value, ParseError> {
        match self.peek() {
            Some(open @ (b'{' | b'<')) => {
                if depth + 1 >= MAX_DEPTH {
                    return self.fail(format!("`{name}` is nested deeper than {MAX_DEPTH} messages"));
                }
                self.bump();
                let close = if open == b'{' { b'}' } else { b'>' };
                Ok(Value::Message(self.message(Some(close), depth + 1)?))
            }
            Some(b'"' | b'\'') => {
                let mut bytes = Vec::new();
                // Neighbouring strings are one string.
                while let Some(quote @ (b'"' | b'\'')) = self.peek() {
                    self.string(quote, &mut bytes)?;
                    self.skip_blanks();
                }
                Ok(Value::Text(String::from_utf8_lossy(&bytes).into_owned()))
            }
            Some(b'-') => {
                self.bump();
                self.skip_blanks();
                let word = self.word();
                if word.is_empty() {
                    self.fail("expected a number after `-`")
                } else {
                    Ok(Value::Word(format!("-{word}")))
                }
            }
            _ => {
                let word = self.word();
                if word.is_empty() {
                    self.fail(format!("expected a value for `{name}`"))
                } else {
                    Ok(Value::Word(word))
                }
            }
        }
    }

    /// Letters, digits, `_`, `.`, and signs inside a number (`1e-5`).
    fn word(&mut self) -> String {
        let mut word = String::new();
        while let Some(byte) = self.peek() {
            let sign_of_exponent = matches!(byte, b'-' | b'+')
                && matches!(word.as_bytes(), [first, .., b'e' | b'E'] if first.is_ascii_digit() || *first == b'.');
            if !(byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.') || sign_of_exponent) {
                break;
            }
            word.push(byte as char);
            self.bump();
        }
        word
    }

    fn string(&mut self, quote: u8, into: &mut Vec<u8>) -> Result<(), ParseError> {
        let opened = self.at;
        self.bump();
        loop {
            match self.bump() {
                Some(byte) if byte == quote => return Ok(()),
                Some(b'\\') => match self.bump() {
                    Some(b'n') => into.push(b'\n'),
                    Some(b't') => into.push(b'\t'),
                    Some(b'r') => into.push(b'\r'),
                    Some(other @ (b'\\' | b'\'' | b'"' | b'?')) => into.push(other),
                    // Numbered and other escapes mean nothing to us: kept as written.
                    Some(other) => into.extend([b'\\', other]),
                    None => return Err(ParseError { at: opened, what: "a string that never ends".into() }),
                },
                Some(b'\n') | None => {
                    return Err(ParseError { at: opened, what: "a string without its closing quote".into() });
                }
                Some(byte) => into.push(byte),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn nested_messages_with_and_without_colon_comments_and_both_quotes_are_read() {
        let text = "# a net\nname: \"ZF\" # trailing\nlayer {\n  name: 'conv1'\n  bottom: \"a\" bottom: 'b'\n  \
                    param: { num_output: 96 kernel_size: 7; pad: -1, alpha: 5e-05 }\n  on < flag: true >\n}\n";
        let net = parse(text.as_bytes()).unwrap();
        assert_eq!(net.text("name").unwrap(), Some("ZF"));
        let layer = net.message("layer");
        assert_eq!(layer.texts("bottom").unwrap(), ["a", "b"]);
        let param = layer.message("param");
        assert_eq!(param.number::<usize>("num_output").unwrap(), Some(96));
        assert_eq!(param.number::<i64>("pad").unwrap(), Some(-1));
        assert_eq!(param.number::<f32>("alpha").unwrap(), Some(5e-5));
        assert_eq!(layer.message("on").boolean("flag").unwrap(), Some(true));
        assert_eq!(param.number::<usize>("absent").unwrap(), None);
        assert_eq!(layer.message("absent"), &Message::default());
    }

    #[test]
    fn lists_and_strings_in_pieces_are_read() {
        let m = parse(b"dim: [1, 3 , -1] empty: [] s: 'one ' \"two\\n\" 'it\\'s' t: '\xff'").unwrap();
        assert_eq!(m.numbers::<i64>("dim").unwrap(), [1, 3, -1]);
        assert_eq!(m.text("s").unwrap(), Some("one two\nit's"));
        assert_eq!(m.text("t").unwrap(), Some("\u{fffd}"));
        assert_eq!(m.all("empty").count(), 0);
    }

    #[test]
    fn errors_say_line_and_column() {
        let cases: &[(&[u8], &str)] = &[
            (b"layer {\n  name: \"x\n}", "line 2, column 9: a string without its closing quote"),
            (
                b"layer {\n name: 'x'\n",
                "line 3, column 1: the file ends where `}` is missing (opened at line 1, column 8)",
            ),
            (b"layer\n  name", "line 2, column 3: expected `:` or `{` after `layer`"),
            (b"a: 1\n }", "line 2, column 2: expected the name of a field, found `}`"),
            (b"a: {\n b: : }", "line 2, column 5: expected a value for `b`"),
            (b"d: [1 2]", "line 1, column 7: expected `,` or `]` in the list of `d`"),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).unwrap_err().to_string(), *expected);
        }
        let m = parse("ä: 1".as_bytes()).unwrap_err();
        assert_eq!(m.at, Position { line: 1, column: 1 });
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_named_where_it_stands() {
        let m = parse(b"a: seven\n\n  b { }  c: maybe").unwrap();
        assert_eq!(
            m.number::<u32>("a").unwrap_err().to_string(),
            "line 1, column 1: `a` is `seven`, expected a number"
        );
        assert_eq!(m.text("b").unwrap_err().to_string(), "line 3, column 3: `b` is a message, expected a single value");
        assert!(m.boolean("c").unwrap_err().what.contains("true or false"));
    }

    #[test]
    fn depth_and_size_are_limited() {
        let deep = "a {".repeat(100_000);
        assert!(parse(deep.as_bytes()).unwrap_err().what.contains("nested deeper"));
        assert!(parse(&vec![b' '; MAX_BYTES + 1]).unwrap_err().what.contains("more than"));
    }
}
