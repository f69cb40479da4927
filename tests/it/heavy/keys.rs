//! Keys that are rotated while gateways verify tokens by key sets they keep: nobody ever refuses a good token.

use super::{announce, instances};
use shared::admin::{Empty, key};
use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tests::{
    client::{Client, Tokens},
    clock::SeededRandom,
    daemon::Daemon,
    jwt::{Gateway, Jwt},
    scale,
};

/// Short lives, so that keys come, sign, retire and leave within the scenario.
const SHORT: &str = "[token]\naccess_ttl = \"4s\"\nclock_skew = \"1s\"\n[key]\njwks_max_age = \"1s\"\nstage = \"2s\"";
/// A token is shown only while it has this much left: the way to the daemon takes time.
const SHOWN: Duration = Duration::from_millis(2_500);
/// A hundred verifications a second.
const PERIOD: Duration = Duration::from_millis(10);
/// How long one rotation may take: cache age and skew, and a beat of each instance.
const ROTATION: Duration = Duration::from_secs(20);

/// Tokens in circulation, and whether the scenario goes on.
#[derive(Default)]
struct Street {
    tokens: Mutex<Vec<(Instant, String)>>,
    kids: Mutex<BTreeSet<String>>,
    is_over: AtomicBool,
    verified: AtomicUsize,
}

impl Street {
    fn issue(&self, token: &str) {
        let kid = Jwt::of(token).header["kid"].as_str().expect("a token names its key").to_owned();
        self.kids.lock().unwrap().insert(kid);
        let mut tokens = self.tokens.lock().unwrap();
        tokens.retain(|(issued, _)| issued.elapsed() < SHOWN);
        tokens.push((Instant::now(), token.to_owned()));
    }

    /// One of the tokens that can be shown now.
    fn pick(&self, dice: &SeededRandom) -> Option<String> {
        let tokens = self.tokens.lock().unwrap();
        let (issued, token) = tokens.get(dice.below(tokens.len().max(1)))?;
        (issued.elapsed() < SHOWN).then(|| token.clone())
    }

    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }
}

/// Gets tokens, now from one instance, now from another.
async fn issue(street: Arc<Street>, clients: Vec<Client>, mut tokens: Tokens) {
    let mut turn = tokio::time::interval(2 * PERIOD);
    for client in clients.iter().cycle() {
        if !street.goes_on() {
            return;
        }
        tokens = client.refresh(&tokens).await;
        street.issue(&tokens.access);
        turn.tick().await;
    }
}

/// A gateway beside one instance, which also asks that instance.
async fn verify(street: Arc<Street>, client: Client, dice: SeededRandom) {
    let mut gateway = Gateway::new(client);
    let mut turn = tokio::time::interval(PERIOD);
    while street.goes_on() {
        turn.tick().await;
        let Some(token) = street.pick(&dice) else { continue };
        assert!(gateway.accepts(&token).await, "{:?}", Jwt::of(&token).header);
        client.verify(&token).await.assert_status(200);
        street.verified.fetch_add(1, Ordering::Relaxed);
    }
}

async fn active(daemon: &Daemon) -> String {
    let keys = daemon.admin().call::<key::List>(&Empty {}).await.items;
    let active: Vec<_> = keys.iter().filter(|key| key.state == key::State::Active).collect();
    assert_eq!(active.len(), 1, "{keys:?}");
    active[0].id.to_string()
}

/// Asks every instance for a rotation until it has happened; asking also has each of them say what it serves.
async fn rotate(daemons: &[Daemon]) {
    let (before, end) = (active(&daemons[0]).await, Instant::now() + ROTATION);
    while active(&daemons[0]).await == before {
        assert!(Instant::now() < end, "no other key than {before} signs after {ROTATION:?}");
        for daemon in daemons {
            let wanted = key::RotateRequest::default();
            // Refused in the moment in which no key is staged.
            daemon.admin().try_call::<key::Rotate>(&wanted).await;
        }
        tokio::time::sleep(20 * PERIOD).await;
    }
}

on_both! {
    async fn no_gateway_refuses_a_token_while_keys_are_rotated(options) {
        // One may take a key that everybody has known for long.
        let rotations = scale::of(60).max(2);
        announce(rotations);
        let daemons = instances(options.config(SHORT)).await;
        let clients: Vec<Client> = daemons.iter().map(Daemon::client).collect();
        let tokens = clients[0].register("ada@example.org").await;
        let street = Arc::<Street>::default();
        let issuing = tokio::spawn(issue(street.clone(), clients.clone(), tokens));
        let gateways: Vec<_> = (0..)
            .zip(&clients)
            .map(|(number, client)| {
                let dice = SeededRandom::new(scale::seed().wrapping_add(number));
                tokio::spawn(verify(street.clone(), *client, dice))
            })
            .collect();
        let start = Instant::now();
        for round in 1..=rotations {
            rotate(&daemons).await;
            println!("{round} rotations after {:?}", start.elapsed());
        }
        // Tokens of the last key go around, too.
        tokio::time::sleep(SHOWN).await;
        street.is_over.store(true, Ordering::Relaxed);
        issuing.await.expect("tokens are issued without a failure");
        for gateway in gateways {
            gateway.await.expect("no token is refused");
        }
        let (verified, kids) = (street.verified.load(Ordering::Relaxed), street.kids.lock().unwrap().len());
        println!("{verified} verifications of tokens by {kids} keys in {:?}", start.elapsed());
        assert!(kids > rotations, "{kids} keys have signed");
        assert!(verified > 0);
    }
}
