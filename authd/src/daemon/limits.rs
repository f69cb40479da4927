//! The limiter of this configuration: in memory, or shared through Redis.

use crate::{
    auth::REDIS,
    config::Config,
    crypto::seal::Keys,
    daemon::{Ports, StartError, parts},
    domain::{
        circuit::Circuit,
        limit::{Limiter, PolicySet},
    },
    limit::{
        memory::MemoryLimiter,
        redis::{RedisLimiter, RedisParts, RedisPlace},
    },
};
use std::sync::Arc;

/// Keys the limiter remembers, about 100 bytes each.
const LIMIT_KEYS: usize = 200_000;

/// A limiter, and what has to be looked after if it is shared.
pub(super) struct Limits {
    pub(super) limiter: Arc<dyn Limiter>,
    pub(super) shared: Option<RedisLimiter>,
    pub(super) circuit: Option<Arc<Circuit>>,
}

/// Makes it. A Redis that is not there is no reason not to start.
pub(super) async fn limits(
    config: &Config,
    place: Option<RedisPlace>,
    policies: &Arc<PolicySet>,
    sealer: &Arc<Keys>,
    ports: &Ports,
) -> Limits {
    let memory = MemoryLimiter::new(policies.clone(), ports.clock.clone(), LIMIT_KEYS);
    let Some(place) = place else { return Limits { limiter: Arc::new(memory), shared: None, circuit: None } };
    let circuit = parts::circuit(REDIS, config, ports);
    let shared = RedisLimiter::new(
        &place,
        RedisParts {
            memory,
            policies: policies.clone(),
            sealer: sealer.clone(),
            circuit: circuit.clone(),
            clock: ports.clock.clone(),
            random: ports.random.clone(),
        },
    );
    shared.check().await;
    Limits { limiter: Arc::new(shared.clone()), shared: Some(shared), circuit: Some(circuit) }
}

/// Where Redis is; `None` when instances count for themselves.
pub(super) fn redis_place(config: &Config) -> Result<Option<RedisPlace>, StartError> {
    let Some(url) = &config.redis.url else { return Ok(None) };
    let place = RedisPlace::new(url.expose(), config.redis.timeout.0);
    place.map(Some).map_err(|cause| StartError::Configuration(format!("redis.url cannot be used: {cause}")))
}
