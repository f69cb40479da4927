//! `POST /api/auth/login`.

use crate::{
    auth::{Attempt, Refusal},
    domain::{identifier::LoginName, password::Password, secret::Secret},
    http::{
        client::Client,
        error::ApiError,
        finish::to_the_end,
        json::{Body, Json},
        openapi::refusals,
        state::HttpState,
        tokens::TokensBody,
    },
};
use axum::extract::State;
use serde::Deserialize;
use shared::error::ErrorCode;
use std::time::Duration;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ObjectBuilder, RefOr, Type,
        schema::{AdditionalProperties, OneOfBuilder, Schema, SchemaType},
    },
};

const MAX_DEVICE_TOKEN: usize = 128;

/// Who wants in: by e-mail or by user name, not both.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LoginBody {
    email: Option<String>,
    username: Option<String>,
    password: String,
    device_label: Option<String>,
    device_token: Option<String>,
}

impl LoginBody {
    /// A malformed name is one that nobody has: it costs and answers like any unknown one.
    fn name(&self) -> Result<LoginName, ApiError> {
        match (&self.email, &self.username) {
            (Some(email), None) => Ok(LoginName::email(email)),
            (None, Some(username)) => Ok(LoginName::username(username)),
            _ => Err(ApiError::field(ErrorCode::Malformed, "", "give either email or username")),
        }
    }

    fn check_device_token(&self) -> Result<(), ApiError> {
        let length = self.device_token.as_ref().map_or(0, |token| token.chars().count());
        if length <= MAX_DEVICE_TOKEN {
            return Ok(());
        }
        Err(ApiError::field(ErrorCode::Malformed, "/device_token", "longer than 128 characters"))
    }
}

impl PartialSchema for LoginBody {
    fn schema() -> RefOr<Schema> {
        let by = |name: &str| {
            let optional = || ObjectBuilder::new().schema_type(SchemaType::from_iter([Type::String, Type::Null]));
            ObjectBuilder::new()
                .property(name, ObjectBuilder::new().schema_type(Type::String))
                .property("password", ObjectBuilder::new().schema_type(Type::String))
                .property("device_label", optional().description(Some("Shown in lists; cut to 100 characters.")))
                .property(
                    "device_token",
                    optional().max_length(Some(MAX_DEVICE_TOKEN)).description(Some(
                        "What an earlier login answered; one that is not known here changes nothing.",
                    )),
                )
                .required(name)
                .required("password")
                .additional_properties(Some(AdditionalProperties::FreeForm(false)))
        };
        OneOfBuilder::new().item(by("email")).item(by("username")).into()
    }
}

impl ToSchema for LoginBody {
    fn name() -> std::borrow::Cow<'static, str> {
        "Login".into()
    }
}

refusals!(LoginRefusals: ANY BODY JSON, InvalidCredentials, SessionLimit, RateLimited);

/// Log in with a password.
#[utoipa::path(
    post, path = "/api/auth/login", tag = "login",
    request_body(content = LoginBody, content_type = "application/json"),
    responses((status = 200, description = "A new session.", body = TokensBody), LoginRefusals),
)]
pub(super) async fn login(
    State(state): State<HttpState>,
    client: Client,
    Body(body): Body<LoginBody>,
) -> Result<Json<TokensBody>, ApiError> {
    let name = body.name()?;
    body.check_device_token()?;
    let caller = client.labelled(body.device_label.as_deref());
    let (auth, begun_ms) = (state.auth.clone(), state.clock.monotonic_ms());
    let tokens = to_the_end(state.around, |client| async move {
        let password = Password::new(&body.password).given_by(client);
        let device = body.device_token.map(Secret::new);
        auth.login(&caller, Attempt { name, password, device }).await
    });
    match tokens.await {
        Ok(tokens) => Ok(Json(tokens.into())),
        Err(refusal) => {
            if matches!(refusal, Refusal::InvalidCredentials) {
                let taken_ms = state.clock.monotonic_ms().saturating_sub(begun_ms);
                let left_ms = state.auth.failure_floor_ms().saturating_sub(taken_ms);
                tokio::time::sleep(Duration::from_millis(u64::try_from(left_ms).unwrap_or(0))).await;
            }
            Err(refusal.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::http::testing::{self, json, send};

    #[tokio::test]
    async fn both_names_or_none_is_malformed() {
        for body in [
            r#"{"password":"x"}"#,
            r#"{"email":"a@example.org","username":"ada","password":"x"}"#,
            r#"{"email":null,"password":"x"}"#,
            r#"{"email":"a@example.org"}"#,
            r#"{"email":"a@example.org","password":"x","otp":"1"}"#,
        ] {
            let answer = send(&testing::router(), json("POST", "/api/auth/login", body)).await;
            assert_eq!((answer.status, answer.code()), (400, "MALFORMED".to_owned()), "{body}");
            assert!(answer.json()["errors"][0]["pointer"].is_string());
        }
    }

    #[tokio::test]
    async fn a_body_that_is_not_json_is_another_media_type() {
        for (name, value) in [
            ("content-type", "text/plain"),
            ("content-type", "application/json; charset=utf-16"),
            ("content-encoding", "gzip"),
        ] {
            let mut request = json("POST", "/api/auth/login", r#"{"email":"a@example.org","password":"x"}"#);
            request.headers_mut().insert(name, value.parse().unwrap());
            assert_eq!(send(&testing::router(), request).await.status, 415, "{value}");
        }
        let mut request = json("POST", "/api/auth/login", "{}");
        request.headers_mut().remove("content-type");
        assert_eq!(send(&testing::router(), request).await.status, 415);
    }

    #[tokio::test]
    async fn a_malformed_name_goes_the_way_of_an_unknown_one() {
        // The way leads to the evaluation of the password and then to the audit, which is down here.
        for body in [r#"{"email":"nobody","password":"x"}"#, r#"{"username":"' OR 1=1--","password":"x"}"#] {
            let answer = send(&testing::router(), json("POST", "/api/auth/login", body)).await;
            assert_eq!(answer.code(), "STORAGE_UNAVAILABLE", "{body}");
        }
    }
}
