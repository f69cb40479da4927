//! `authctl api`: any call by its name.

use crate::{context::Context, error::Error, output::text::clean_json};
use clap::Args;
use serde_json::{Map, Value};
use shared::admin::{Access, CALLS, CallInfo, Shape};
use std::io::{self, Read};

/// Longest request that is read from standard input, in bytes: what the daemon takes.
const REQUEST_LIMIT: u64 = 1 << 20;

/// A call by its name.
#[derive(Debug, Args)]
#[command(after_help = calls())]
pub struct Call {
    /// Noun and verb: session/list
    #[arg(value_name = "NOUN/VERB")]
    name: String,
    /// The request; - reads it from standard input
    #[arg(value_name = "JSON", default_value = "{}")]
    request: String,
}

/// The names of all calls, for the help.
fn calls() -> String {
    let names: Vec<&str> = CALLS.iter().map(|call| call.path.trim_start_matches("/v1/")).collect();
    format!("Calls: {}", names.join(", "))
}

/// Makes the call and prints the answer as the daemon sends it.
///
/// # Errors
/// [`Error::Usage`] when the request is not a JSON object.
pub async fn run(context: &mut Context<'_>, call: Call) -> Result<(), Error> {
    let path = path_of(&call.name)?;
    let text = if call.request == "-" { read_stdin().await? } else { call.request };
    let Ok(Value::Object(mut request)) = serde_json::from_str(&text) else {
        return Err(Error::usage("the request is not a JSON object", "write it like '{\"user\":\"ada@example.org\"}'"));
    };
    add_flags(context, &mut request);
    // A call this version does not know may change something: it goes to the admin socket.
    let known = CallInfo::find(&path);
    let access = known.map_or(Access::Admin, |call| call.access);
    if context.flags.print_request {
        let line = context.client.curl_line(&path, access, &request)?;
        return context.output.raw(&(line + "\n"));
    }
    let body = Value::Object(request).to_string().into_bytes();
    match known.filter(|call| call.shape == Shape::Lines) {
        Some(call) => stream(context, call, body).await,
        None => {
            let answer = context.client.raw(&path, access, body).await?;
            let answer: Value = serde_json::from_slice(&answer).map_err(|error| Error::Answer(error.to_string()))?;
            context.output.raw(&clean_json(&(format!("{answer:#}\n"))))
        }
    }
}

async fn stream(context: &mut Context<'_>, call: &CallInfo, body: Vec<u8>) -> Result<(), Error> {
    let mut lines = context.client.lines(call, body).await?;
    while let Some(line) = lines.next().await? {
        context.output.raw(&(clean_json(&String::from_utf8_lossy(&line)) + "\n"))?;
    }
    Ok(())
}

fn path_of(name: &str) -> Result<String, Error> {
    let name = name.trim_start_matches('/');
    let name = name.strip_prefix("v1/").unwrap_or(name);
    let is_word = |word: &str| {
        !word.is_empty()
            && word.bytes().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'-')
    };
    if name.split('/').all(is_word) && name.split('/').count() <= 2 {
        return Ok(format!("/v1/{name}"));
    }
    Err(Error::usage(format!("`{name}` is not the name of a call"), "name it like session/list"))
}

/// `--dry-run`, `--reason` and `--ticket` mean here what they mean everywhere.
fn add_flags(context: &Context<'_>, request: &mut Map<String, Value>) {
    if context.flags.dry_run {
        request.insert("dry_run".to_owned(), Value::Bool(true));
    }
    for (name, value) in [("reason", &context.flags.reason), ("ticket", &context.flags.ticket)] {
        if let Some(value) = value {
            request.insert(name.to_owned(), Value::String(value.clone()));
        }
    }
}

async fn read_stdin() -> Result<String, Error> {
    let read = || {
        let mut text = String::new();
        io::stdin().take(REQUEST_LIMIT).read_to_string(&mut text).map(|_| text)
    };
    Ok(tokio::task::spawn_blocking(read).await.map_err(io::Error::other)??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_named_with_and_without_their_prefix() {
        for name in ["session/list", "/v1/session/list", "v1/session/list"] {
            assert_eq!(path_of(name).unwrap(), "/v1/session/list");
        }
        assert_eq!(path_of("status").unwrap(), "/v1/status");
        for name in ["", "a/b/c", "session/../x", "session/list?x", "Session/List", "http://x"] {
            assert!(path_of(name).is_err(), "{name}");
        }
    }
}
