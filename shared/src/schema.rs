//! The JSON schema of a type, found by reading it: what a type asks a deserializer for is what it is written with.
//!
//! No type has to say anything for it, so a schema cannot differ from its type. What a type accepts as text is found by
//! trying: free text first, then each form that this crate has a type for. `flatten` and tagged enums hide their fields
//! behind a buffer; they come out as anything ([`any`]) or as a plain object.

use crate::id::{DeviceId, EventId, KeyId, SessionId, UserId};
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer as _, MapAccess,
    SeqAccess, VariantAccess, Visitor,
};
use serde_json::{Map, Value, json};
use std::{cell::RefCell, collections::BTreeMap, fmt};

/// Most texts that are tried for one type, all fields together.
const MAX_ATTEMPTS: usize = 400;
/// Deepest nesting that is followed: a type that contains itself ends here.
const MAX_DEPTH: usize = 24;

/// The schema that everything satisfies.
#[must_use]
pub fn any() -> Value {
    json!({})
}

/// The schema of what `T` is written as (JSON Schema 2020-12); [`any`] for a type that cannot be read this way.
#[must_use]
pub fn of<T: DeserializeOwned>() -> Value {
    let tried = Tried::default();
    for _ in 0..MAX_ATTEMPTS {
        let mut found = any();
        let place = Place { found: &mut found, tried: &tried, path: String::new(), depth: 0 };
        if T::deserialize(place).is_ok() {
            return found;
        }
        if !tried.try_another() {
            break;
        }
    }
    any()
}

/// Forms of text: an example that a type of this form accepts, and its schema.
fn forms() -> [(String, Value); 10] {
    let id = |prefix: &str| json!({"type": "string", "pattern": format!("^{prefix}_[0-7][0-9a-hjkmnp-tv-z]{{25}}$")});
    let text = |example: &str, schema: Value| (example.to_owned(), schema);
    [
        text("free text", json!({"type": "string"})),
        text("2026-01-01T00:00:00.000Z", json!({"type": "string", "format": "date-time"})),
        text("1s", json!({"type": "string", "pattern": "^([0-9]+(ms|[dhms]))+$"})),
        text("00", json!({"type": "string", "pattern": "^([0-9a-f][0-9a-f])*$"})),
        text("1/s", json!({"type": "string", "pattern": "^(off|[0-9]+/[0-9]*(s|min|h|d))$"})),
        (UserId::new(0, [0; 10]).to_string(), id(UserId::PREFIX)),
        (SessionId::new(0, [0; 10]).to_string(), id(SessionId::PREFIX)),
        (KeyId::new(0, [0; 10]).to_string(), id(KeyId::PREFIX)),
        (DeviceId::new(0, [0; 10]).to_string(), id(DeviceId::PREFIX)),
        (EventId::new(0, [0; 10]).to_string(), id(EventId::PREFIX)),
    ]
}

/// Which form each text was tried with, by its place.
#[derive(Default)]
struct Tried {
    forms: RefCell<BTreeMap<String, usize>>,
    last: RefCell<Option<String>>,
}

impl Tried {
    fn form_of(&self, path: &str) -> usize {
        *self.last.borrow_mut() = Some(path.to_owned());
        self.forms.borrow().get(path).copied().unwrap_or(0)
    }

    /// Gives the text at which reading failed its next form; whether there is one.
    fn try_another(&self) -> bool {
        let Some(path) = self.last.borrow_mut().take() else { return false };
        let mut forms_tried = self.forms.borrow_mut();
        let form = forms_tried.entry(path).or_insert(0);
        *form += 1;
        *form < forms().len()
    }
}

/// Reading failed; where, [`Tried::last`] knows.
#[derive(Debug)]
struct Unreadable;

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the type cannot be read from its own schema")
    }
}

impl std::error::Error for Unreadable {}

impl de::Error for Unreadable {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

/// A place in a document where a type is read and its schema is written.
struct Place<'a> {
    found: &'a mut Value,
    tried: &'a Tried,
    path: String,
    depth: usize,
}

impl Place<'_> {
    fn inner<'b>(&'b self, name: &str, found: &'b mut Value) -> Place<'b> {
        Place { found, tried: self.tried, path: format!("{}/{name}", self.path), depth: self.depth + 1 }
    }

    fn text<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        let (example, schema) = forms().into_iter().nth(self.tried.form_of(&self.path)).ok_or(Unreadable)?;
        *self.found = schema;
        visitor.visit_string(example)
    }

    fn natural<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        *self.found = json!({"type": "integer", "minimum": 0});
        visitor.visit_u64(1)
    }

    fn integer<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        *self.found = json!({"type": "integer"});
        visitor.visit_i64(1)
    }

    fn number<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        *self.found = json!({"type": "number"});
        visitor.visit_f64(1.0)
    }
}

/// Numbers and texts of every width are one kind of schema each.
macro_rules! kinds {
    ($($kind:ident: $($method:ident)+;)+) => {
        $($(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
            self.$kind(visitor)
        })+)+
    };
}

impl<'de> Deserializer<'de> for Place<'_> {
    type Error = Unreadable;

    kinds! {
        natural: deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128;
        integer: deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128;
        number: deserialize_f32 deserialize_f64;
        text: deserialize_char deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf
            deserialize_identifier;
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        visitor.visit_unit()
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        visitor.visit_unit()
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        *self.found = json!({"type": "boolean"});
        visitor.visit_bool(true)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        *self.found = json!({"type": "null"});
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Unreadable> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Unreadable> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        let mut value = any();
        let read = visitor.visit_some(self.inner("?", &mut value))?;
        *self.found = if value == any() { value } else { json!({"anyOf": [value, {"type": "null"}]}) };
        Ok(read)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        let mut items = Elements { place: &self, schemas: Vec::new(), left: 1 };
        let read = visitor.visit_seq(&mut items)?;
        let item = items.schemas.pop().unwrap_or_else(any);
        *self.found = json!({"type": "array", "items": item});
        Ok(read)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Unreadable> {
        let mut items = Elements { place: &self, schemas: Vec::new(), left: length };
        let read = visitor.visit_seq(&mut items)?;
        let schemas = std::mem::take(&mut items.schemas);
        *self.found = json!({"type": "array", "prefixItems": schemas, "minItems": length, "maxItems": length});
        Ok(read)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        let mut members = Members { place: &self, names: &["*"], at: 0, schemas: Map::new() };
        let read = visitor.visit_map(&mut members)?;
        let value = members.schemas.remove("*").unwrap_or_else(any);
        *self.found = json!({"type": "object", "additionalProperties": value});
        Ok(read)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        if self.depth > MAX_DEPTH {
            return Err(Unreadable);
        }
        let mut members = Members { place: &self, names, at: 0, schemas: Map::new() };
        let read = visitor.visit_map(&mut members)?;
        let schemas = std::mem::take(&mut members.schemas);
        *self.found = json!({"type": "object", "required": names, "properties": schemas});
        Ok(read)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        let first = variants.first().ok_or(Unreadable)?;
        *self.found = json!({"type": "string", "enum": variants});
        visitor.visit_enum(First { place: self, name: first })
    }
}

/// The elements of a list or tuple.
struct Elements<'a, 'p> {
    place: &'a Place<'p>,
    schemas: Vec<Value>,
    left: usize,
}

impl<'de> SeqAccess<'de> for &mut Elements<'_, '_> {
    type Error = Unreadable;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Unreadable> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let mut found = any();
        let read = seed.deserialize(self.place.inner(&self.schemas.len().to_string(), &mut found))?;
        self.schemas.push(found);
        Ok(Some(read))
    }
}

/// The members of an object.
struct Members<'a, 'p> {
    place: &'a Place<'p>,
    names: &'static [&'static str],
    at: usize,
    schemas: Map<String, Value>,
}

impl<'de> MapAccess<'de> for &mut Members<'_, '_> {
    type Error = Unreadable;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Unreadable> {
        match self.names.get(self.at) {
            None => Ok(None),
            Some(name) => seed.deserialize((*name).into_deserializer()).map(Some),
        }
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Unreadable> {
        let name = self.names.get(self.at).ok_or_else(|| Unreadable::custom("a value without a name"))?;
        self.at += 1;
        let mut found = any();
        let read = seed.deserialize(self.place.inner(name, &mut found))?;
        self.schemas.insert((*name).to_owned(), found);
        Ok(read)
    }
}

/// The first variant of an enum: it stands for all, so one that carries something makes the enum anything.
struct First<'a> {
    place: Place<'a>,
    name: &'static str,
}

impl<'de, 'a> EnumAccess<'de> for First<'a> {
    type Error = Unreadable;
    type Variant = Place<'a>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Place<'a>), Unreadable> {
        let variant: de::value::StrDeserializer<'_, Unreadable> = self.name.into_deserializer();
        Ok((seed.deserialize(variant)?, self.place))
    }
}

impl<'de> VariantAccess<'de> for Place<'_> {
    type Error = Unreadable;

    fn unit_variant(self) -> Result<(), Unreadable> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Unreadable> {
        *self.found = any();
        let mut ignored = any();
        seed.deserialize(self.inner("=", &mut ignored))
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Unreadable> {
        *self.found = any();
        let mut ignored = any();
        self.inner("=", &mut ignored).deserialize_tuple(length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        *self.found = any();
        let mut ignored = any();
        self.inner("=", &mut ignored).deserialize_struct("", names, visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        admin::{CALLS, Page, Shape},
        rate::Rate,
        time::{Span, Timestamp},
    };
    use serde::Deserialize;

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its shape is read")]
    struct Thing {
        id: UserId,
        at: Option<Timestamp>,
        wait: Span,
        rate: Rate,
        state: State,
        names: Vec<String>,
        detail: Value,
        count: u32,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum State {
        On,
        SwitchedOff,
    }

    #[test]
    fn a_type_tells_its_schema_by_being_read() {
        let schema = of::<Page<Thing>>();
        assert_eq!(schema["required"], json!(["items", "next", "total", "total_exact"]));
        let thing = &schema["properties"]["items"]["items"];
        let members = &thing["properties"];
        assert_eq!(members["id"]["pattern"], "^usr_[0-7][0-9a-hjkmnp-tv-z]{25}$");
        assert_eq!(members["at"]["anyOf"][0]["format"], "date-time");
        assert_eq!(members["at"]["anyOf"][1]["type"], "null");
        assert!(members["wait"]["pattern"].is_string() && members["rate"]["pattern"].is_string());
        assert_eq!(members["state"]["enum"], json!(["on", "switched_off"]));
        assert_eq!(members["names"], json!({"type": "array", "items": {"type": "string"}}));
        assert_eq!((&members["detail"], &members["count"]["type"]), (&any(), &json!("integer")));
        assert_eq!(thing["required"].as_array().map(Vec::len), Some(8));
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its shape is read")]
    struct Endless {
        more: Box<Option<Endless>>,
    }

    #[test]
    fn a_type_that_contains_itself_ends_as_anything() {
        assert_eq!(of::<Endless>(), any());
    }

    #[test]
    fn every_answer_of_the_admin_api_has_a_schema_that_says_something() {
        for call in CALLS.iter().filter(|call| call.shape == Shape::Value) {
            let schema = (call.answer)();
            // A key set and a JSON schema are other standards' documents; a flattened one is put together by authctl.
            let is_foreign =
                ["/v1/key/jwks", "/v1/limit/show", "/v1/audit/show", "/v1/config/schema"].contains(&call.path);
            assert!(is_foreign || schema["properties"].is_object(), "{}: {schema}", call.path);
        }
    }
}
