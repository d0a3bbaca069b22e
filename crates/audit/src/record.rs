//! Records of any topic, and members of their JSON values.

use serde_json::Value;

use crate::report::Place;

/// A record of any topic.
#[derive(Clone, Debug, Default)]
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    pub timestamp: Option<i64>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<Header>,
}

pub type Header = (Vec<u8>, Option<Vec<u8>>);

impl Record {
    pub fn place(&self) -> Place {
        Place { partition: self.partition, offset: self.offset }
    }
}

/// Reads an integer member.
pub fn integer(value: &Value, name: &str) -> Result<i64, String> {
    value[name].as_i64().ok_or_else(|| format!("{name} is no integer"))
}

/// Reads a text member.
pub fn text(value: &Value, name: &str) -> Result<String, String> {
    value[name].as_str().map(str::to_owned).ok_or_else(|| format!("{name} is no text"))
}

/// Reads a text member that may be null.
pub fn optional_text(value: &Value, name: &str) -> Result<Option<String>, String> {
    match &value[name] {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        _ => Err(format!("{name} is no text")),
    }
}

/// Reads an integer member that may be null.
pub fn optional_integer(value: &Value, name: &str) -> Result<Option<i64>, String> {
    match &value[name] {
        Value::Null => Ok(None),
        other => other.as_i64().map(Some).ok_or_else(|| format!("{name} is no integer")),
    }
}

/// Reads a list member.
pub fn list<'a>(value: &'a Value, name: &str) -> Result<&'a Vec<Value>, String> {
    value[name].as_array().ok_or_else(|| format!("{name} is no list"))
}
