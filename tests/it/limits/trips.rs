//! Every policy trips at exactly one more than it allows, on the route it is about, and all answer alike.

use super::{PROXY, WRONG, alarms, login};
use authd::domain::limit::PolicyName;
use serde_json::{Value, json};
use shared::{
    admin::{Empty, limit},
    error::ErrorCode,
};
use tests::{
    client::{PASSWORD, Tokens},
    daemon::Daemon,
    options::Options,
    wire::Answer,
};

/// The section that allows exactly `most`.
fn section(policy: PolicyName, most: u32) -> String {
    let value = match policy {
        PolicyName::LoginIp
        | PolicyName::LoginNet
        | PolicyName::RegisterIp
        | PolicyName::RefreshSession
        | PolicyName::RefreshIp
        | PolicyName::RegisterGlobal
        | PolicyName::LoginDevice
        | PolicyName::AdminUid => format!("rate = \"1/h\"\nburst = {most}"),
        PolicyName::LoginAccount => format!("burst = {most}\nfirst_delay = \"1m\""),
        PolicyName::ReauthSession
        | PolicyName::LoginDeviceFailures
        | PolicyName::LoginSpray
        | PolicyName::LoginSprayNet => format!("count = {most}"),
        // Without the ladder, which would be met first.
        PolicyName::LoginHard => format!("unknown = {most}\nknown = 15\n\n[limit.\"login.account\"]\nburst = 84"),
        PolicyName::LoginGlobal => format!("percent = 50\nattempts = {}", most + 1),
    };
    format!("[limit.\"{}\"]\n{value}\n", policy.as_str())
}

/// What a call met.
enum Met {
    /// It went through.
    Nothing,
    /// The limit, with this answer.
    Refusal(Box<Answer>),
    /// The limit, which acts otherwise.
    Other,
}

struct Round {
    daemon: Daemon,
    tokens: Tokens,
}

impl Round {
    fn device(&self) -> &str {
        self.tokens.device.as_deref().expect("a registration makes its device known")
    }

    /// Does once more what `policy` counts.
    async fn turn(&mut self, policy: PolicyName, number: u32) -> Met {
        let client = self.daemon.client();
        let name = format!("user{number}@example.org");
        let registration = json!({ "email": name, "password": PASSWORD });
        let answer = match policy {
            PolicyName::LoginIp | PolicyName::LoginSpray => login(client, "192.0.2.1", &name, WRONG).send().await,
            PolicyName::LoginNet | PolicyName::LoginSprayNet => {
                login(client, &format!("192.0.2.{number}"), &name, WRONG).send().await
            }
            PolicyName::LoginAccount | PolicyName::LoginHard => {
                login(client, &format!("192.0.{number}.1"), "ada@example.org", WRONG).send().await
            }
            PolicyName::LoginDevice => client.try_login_from(self.device(), "ada@example.org", PASSWORD).await,
            PolicyName::LoginDeviceFailures => {
                let dropped = self.daemon.admin().events("device.dropped").await;
                client.try_login_from(self.device(), "ada@example.org", WRONG).await.assert_status(401);
                return other(!dropped.is_empty());
            }
            PolicyName::LoginGlobal => {
                login(client, &format!("192.0.{number}.1"), &name, WRONG).send().await.assert_status(401);
                return other(alarms(&self.daemon).await == ["login.global"]);
            }
            PolicyName::RegisterIp => {
                client.post("/api/auth/register", &registration).header("x-forwarded-for", "192.0.2.1").send().await
            }
            PolicyName::RegisterGlobal => {
                client.try_register(&registration).await.assert_status(201);
                return other(alarms(&self.daemon).await == ["register.global"]);
            }
            PolicyName::RefreshSession => {
                let answer = client.try_refresh(&self.tokens.refresh).await;
                if answer.status == 200 {
                    self.tokens = Tokens::of(&answer);
                }
                answer
            }
            PolicyName::RefreshIp => client.try_refresh("art1_unknown").await,
            PolicyName::ReauthSession => {
                let answer = client.change_password(&self.tokens.access, WRONG, PASSWORD).await;
                return other(answer.code() == ErrorCode::TokenInvalid.as_str());
            }
            PolicyName::AdminUid => self.daemon.admin().try_call::<limit::List>(&Empty {}).await,
        };
        if answer.status == 429 { Met::Refusal(Box::new(answer)) } else { Met::Nothing }
    }
}

fn other(has_tripped: bool) -> Met {
    if has_tripped { Met::Other } else { Met::Nothing }
}

#[tokio::test]
async fn each_policy_trips_at_one_more_than_it_allows_and_all_answer_alike() {
    let mut bodies: Vec<(String, Value)> = Vec::new();
    for (policy, most) in PolicyName::ALL.into_iter().zip([2, 3, 5].into_iter().cycle()) {
        let daemon = Daemon::start(Options::sqlite().config(PROXY)).await;
        let tokens = daemon.client().register("ada@example.org").await;
        let mut round = Round { daemon, tokens };
        round.daemon.restart_with(|options| options.config(&section(policy, most))).await;
        for number in 1..=most {
            let met = round.turn(policy, number).await;
            assert!(matches!(met, Met::Nothing), "{} trips at {number} of {most}", policy.as_str());
        }
        match round.turn(policy, most + 1).await {
            Met::Nothing => panic!("{} does not trip at {}", policy.as_str(), most + 1),
            Met::Other => {}
            Met::Refusal(answer) => {
                answer.assert_refused(ErrorCode::RateLimited);
                assert!(!String::from_utf8_lossy(&answer.body).contains(policy.as_str()), "{answer}");
                if policy != PolicyName::AdminUid {
                    let mut body = answer.json();
                    body["request_id"] = Value::Null;
                    bodies.push((policy.as_str().to_owned(), body));
                }
            }
        }
    }
    assert!(bodies.len() >= 8, "{bodies:?}");
    assert!(bodies.iter().all(|(_, body)| *body == bodies[0].1), "one body for all: {bodies:?}");
}

#[tokio::test]
async fn a_thousand_addresses_of_one_ipv6_network_share_a_bucket() {
    let config = "[limit.\"login.ip\"]\nrate = \"1/h\"\nburst = 7";
    let daemon = Daemon::start(Options::sqlite().config(PROXY).config(config)).await;
    let client = daemon.client();
    let mut statuses = Vec::new();
    for number in 0..60u32 {
        let from = format!("2001:db8:1:2:{:x}::{number:x}", number * 977);
        statuses.push(login(client, &from, "nobody@example.org", WRONG).send().await.status);
    }
    assert!(statuses[7..].iter().all(|status| *status == 429), "{statuses:?}");
    let mapped = |number: u32| login(client, &format!("::ffff:192.0.2.{number}"), "eve@example.org", WRONG);
    let plain = |number: u32| login(client, &format!("192.0.2.{number}"), "bob@example.org", WRONG);
    for _ in 0..4 {
        mapped(9).send().await;
        plain(9).send().await;
    }
    plain(9).send().await.assert_refused(ErrorCode::RateLimited);
    let other = login(client, "2001:db8:1:3::1", "carl@example.org", WRONG).send().await;
    other.assert_refused(ErrorCode::InvalidCredentials);
}
