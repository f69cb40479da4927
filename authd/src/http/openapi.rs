//! The OpenAPI document: its head, how refusals are documented, and the route that serves it.

use crate::http::json;
use axum::{
    body::Bytes,
    http::header,
    response::{IntoResponse, Response},
};
use serde_json::Value;
use shared::error::{ErrorCode, FieldError, Problem};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ComponentsBuilder, ContentBuilder, HeaderBuilder, InfoBuilder, ObjectBuilder, OpenApi, OpenApiBuilder, Ref,
        RefOr, Response as ResponseDoc, ResponseBuilder, Type,
        schema::{AdditionalProperties, ArrayBuilder, Schema},
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

/// What every route can answer.
pub(crate) const ANY: &[ErrorCode] = &[ErrorCode::Internal, ErrorCode::Overloaded, ErrorCode::StorageUnavailable];
/// What every route that is not a GET can answer: its body is read before it runs, and a mode may close it.
pub(crate) const BODY: &[ErrorCode] =
    &[ErrorCode::Malformed, ErrorCode::Timeout, ErrorCode::PayloadTooLarge, ErrorCode::ReadOnly];
/// What every route that wants JSON can answer, besides [`BODY`].
pub(crate) const JSON: &[ErrorCode] = &[ErrorCode::UnsupportedMediaType];
/// What every route with an access token can answer.
pub(crate) const BEARER: &[ErrorCode] =
    &[ErrorCode::Malformed, ErrorCode::MissingToken, ErrorCode::TokenExpired, ErrorCode::TokenInvalid];

const PROBLEM_TYPE: &str = "application/problem+json";

/// Documents the refusals of a route as a type for `#[utoipa::path(responses(…))]`: groups, then codes of its own.
macro_rules! refusals {
    ($name:ident: $($group:ident)* $(, $code:ident)* $(,)?) => {
        /// Refusals of this route.
        struct $name;
        impl utoipa::IntoResponses for $name {
            fn responses() -> std::collections::BTreeMap<
                String, utoipa::openapi::RefOr<utoipa::openapi::response::Response>,
            > {
                let own = [$(shared::error::ErrorCode::$code),*];
                let groups: &[&[shared::error::ErrorCode]] = &[$($crate::http::openapi::$group,)* &own];
                $crate::http::openapi::problems(groups)
            }
        }
    };
}
pub(crate) use refusals;

/// One response for each status among `groups`, naming the codes that come with it.
pub(crate) fn problems(groups: &[&[ErrorCode]]) -> BTreeMap<String, RefOr<ResponseDoc>> {
    let mut by_status: BTreeMap<u16, BTreeSet<&'static str>> = BTreeMap::new();
    for code in groups.iter().copied().flatten() {
        by_status.entry(code.status()).or_default().insert(code.as_str());
    }
    by_status.into_iter().map(|(status, codes)| (status.to_string(), problem(status, codes).into())).collect()
}

fn problem(status: u16, codes: BTreeSet<&'static str>) -> ResponseDoc {
    let codes: Vec<&str> = codes.into_iter().collect();
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let response = ResponseBuilder::new()
        .description(format!("`{}`", codes.join("`, `")))
        .content(PROBLEM_TYPE, content)
        .header("X-Request-Id", text_header("The id to quote when asking about this request."));
    match status {
        401 => response.header("WWW-Authenticate", text_header("`Bearer`, with an error where a token was presented.")),
        429 | 503 => response.header("Retry-After", seconds_header()),
        _ => response,
    }
    .build()
}

fn text_header(description: &str) -> utoipa::openapi::Header {
    let text = ObjectBuilder::new().schema_type(Type::String);
    HeaderBuilder::new().schema(Some(text)).description(Some(description)).build()
}

fn seconds_header() -> utoipa::openapi::Header {
    let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1));
    HeaderBuilder::new().schema(Some(seconds)).description(Some("Seconds to wait.")).build()
}

/// The document without paths: title, version, how to authenticate, and the schema of problems.
pub(crate) fn head() -> OpenApi {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("An access token (RFC 9068) from login, registration or refresh."))
        .build();
    let components = ComponentsBuilder::new().security_scheme("bearer", SecurityScheme::Http(bearer)).build();
    let info = InfoBuilder::new()
        .title("authd")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("Logins, rotating refresh tokens and sessions."))
        .build();
    OpenApiBuilder::new().info(info).components(Some(components)).build()
}

/// The whole document, from what the routes say.
pub(crate) fn complete(mut api: OpenApi) -> Value {
    let components = api.components.get_or_insert_default();
    let codes = ErrorCode::ALL.iter().map(|code| code.as_str());
    let codes = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(codes));
    components.schemas.insert("Problem".to_owned(), Problem::schema());
    components.schemas.insert("FieldError".to_owned(), FieldError::schema());
    // The derived schema shows the variants' names, not the codes.
    components.schemas.insert("ErrorCode".to_owned(), codes.into());
    let mut document = serde_json::to_value(&api).unwrap_or_default();
    let mut bodies = Vec::new();
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    for item in paths.into_iter().flat_map(|paths| paths.values_mut()).filter_map(Value::as_object_mut) {
        for operation in item.values_mut() {
            require_what_is_given(operation);
            bodies.extend(body_of(operation));
        }
    }
    for body in bodies {
        document.pointer_mut(&body).into_iter().for_each(exclude_nul);
    }
    document
}

/// JSON pointer to the schema of an operation's body.
fn body_of(operation: &Value) -> Option<String> {
    let schema = operation.pointer("/requestBody/content/application~1json/schema/$ref")?;
    schema.as_str()?.strip_prefix('#').map(str::to_owned)
}

/// No text of a body contains NUL (see [`json::read`]).
fn exclude_nul(schema: &mut Value) {
    schema.get_mut("oneOf").and_then(Value::as_array_mut).into_iter().flatten().for_each(exclude_nul);
    let members = schema.get_mut("properties").and_then(Value::as_object_mut);
    for member in members.into_iter().flat_map(|members| members.values_mut()).filter_map(Value::as_object_mut) {
        if member.contains_key("type") {
            member.entry("pattern").or_insert_with(|| Value::from(r"^[^\u0000]*$"));
        }
    }
}

/// What may be left out is not null where it is given: utoipa says so of every `Option`.
fn require_what_is_given(operation: &mut Value) {
    for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(kind) = parameter.pointer_mut("/schema/type") {
            let first = kind.get(0).cloned();
            *kind = first.unwrap_or_else(|| kind.take());
        }
    }
    if let Some(body) = operation.pointer_mut("/requestBody/content/application~1json/schema") {
        let first = body.pointer("/oneOf/0").cloned();
        *body = first.unwrap_or_else(|| body.take());
    }
}

/// Any JSON object, for answers whose form another standard defines.
pub(crate) struct AnyObject;

impl PartialSchema for AnyObject {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().additional_properties(Some(AdditionalProperties::FreeForm(true))).into()
    }
}

impl ToSchema for AnyObject {}

/// A JSON Web Key Set (RFC 7517 §5), for the document.
pub(crate) struct Jwks;

impl PartialSchema for Jwks {
    fn schema() -> RefOr<Schema> {
        let key = ObjectBuilder::new()
            .property("kty", ObjectBuilder::new().schema_type(Type::String))
            .property("kid", ObjectBuilder::new().schema_type(Type::String))
            .property("use", ObjectBuilder::new().schema_type(Type::String))
            .property("alg", ObjectBuilder::new().schema_type(Type::String))
            .required("kty")
            .required("kid")
            .required("alg");
        ObjectBuilder::new().property("keys", ArrayBuilder::new().items(key)).required("keys").into()
    }
}

impl ToSchema for Jwks {}

refusals!(OpenapiRefusals: ANY);

/// This document.
#[utoipa::path(
    get, path = "/api/openapi.json", tag = "service",
    responses(
        (status = 200, description = "OpenAPI 3.1.", body = AnyObject, content_type = "application/json"),
        OpenapiRefusals,
    ),
)]
pub(super) async fn openapi() -> Response {
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(super::openapi_document().to_string()));
    let text = DOCUMENT.clone();
    ([(header::CONTENT_TYPE, json::MEDIA_TYPE), (header::CACHE_CONTROL, super::layers::REVALIDATE)], text)
        .into_response()
}

#[cfg(test)]
mod tests {
    use crate::http::{
        openapi_document,
        testing::{self, get, send},
    };
    use axum::{body::Body, http::Request};
    use serde_json::Value;
    use shared::error::ErrorCode;

    fn document() -> Value {
        openapi_document()
    }

    fn operations(document: &Value) -> Vec<(String, String, Value)> {
        let paths = document["paths"].as_object().unwrap();
        let methods = |(path, item): (&String, &Value)| {
            let item = item.as_object().unwrap().clone();
            let path = path.clone();
            item.into_iter().map(move |(method, operation)| (path.clone(), method, operation)).collect::<Vec<_>>()
        };
        paths.iter().flat_map(methods).collect()
    }

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
                members.values().for_each(|member| references(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_route_of_the_contract_is_documented() {
        let document = document();
        assert_eq!(document["openapi"], "3.1.0");
        let mut found: Vec<String> =
            operations(&document).into_iter().map(|(path, method, _)| format!("{method} {path}")).collect();
        found.sort();
        let expected = [
            "delete /api/auth/sessions",
            "delete /api/auth/sessions/{id}",
            "delete /api/user",
            "get /.well-known/jwks.json",
            "get /api/auth/sessions",
            "get /api/auth/verify",
            "get /api/openapi.json",
            "get /api/user/profile",
            "get /health",
            "get /health/ready",
            "patch /api/user/password",
            "post /api/auth/login",
            "post /api/auth/logout",
            "post /api/auth/password/reset",
            "post /api/auth/refresh",
            "post /api/auth/register",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn codes_are_documented_as_they_are_sent() {
        let expected: Vec<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(document()["components"]["schemas"]["ErrorCode"]["enum"], serde_json::json!(expected));
    }

    #[test]
    fn what_may_be_left_out_is_not_null() {
        for (path, method, operation) in operations(&document()) {
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                assert!(parameter["schema"]["type"].is_string(), "{method} {path} {parameter}");
            }
            let body = operation.pointer("/requestBody/content/application~1json/schema");
            assert!(body.is_none_or(|schema| schema["$ref"].is_string()), "{method} {path}");
        }
    }

    #[test]
    fn bodies_of_requests_take_no_other_members() {
        let document = document();
        for (path, method, operation) in operations(&document) {
            let Some(content) = operation.pointer("/requestBody/content") else { continue };
            let mut found = Vec::new();
            references(content, &mut found);
            let schema = document.pointer(found[0].strip_prefix('#').unwrap()).unwrap();
            let objects = schema["oneOf"].as_array().cloned().unwrap_or_else(|| vec![schema.clone()]);
            for object in objects {
                assert_eq!(object["additionalProperties"], false, "{method} {path}");
            }
        }
    }

    #[tokio::test]
    async fn every_documented_operation_exists_and_those_with_a_bearer_refuse_without_one() {
        for (path, method, operation) in operations(&document()) {
            let request =
                Request::builder().method(method.to_uppercase().as_str()).uri(path.as_str()).body(Body::empty());
            let answer = send(&testing::router(), request.unwrap()).await;
            assert!(![404, 405].contains(&answer.status), "{method} {path}: {}", answer.status);
            let documented = operation["responses"].as_object().unwrap();
            assert!(documented.contains_key(&answer.status.to_string()), "{method} {path}: {}", answer.status);
            let needs_token = operation["security"].as_array().is_some_and(|all| !all.contains(&serde_json::json!({})));
            if needs_token {
                assert_eq!(answer.code(), "MISSING_TOKEN", "{method} {path}");
            }
        }
    }

    #[tokio::test]
    async fn the_document_is_served() {
        let answer = get(&testing::router(), "/api/openapi.json").await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json; charset=utf-8")));
        assert_eq!(answer.json(), document());
    }
}
