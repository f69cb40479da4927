//! Where Redis is, as far as this version can go there.

use redis::Client;
use std::time::Duration;

/// A URL that can be used, and how long a call may take.
pub struct RedisPlace {
    pub(super) client: Client,
    pub(super) timeout: Duration,
}

/// Why a URL cannot be used; never repeats it, because it may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum UnusableRedis {
    /// Not what this version can do.
    #[error("{0} is not supported: give the URL of one server, redis://, rediss:// or redis+unix://")]
    Kind(&'static str),
    /// No URL of Redis.
    #[error("it is no URL of a Redis server")]
    Url,
}

impl std::fmt::Debug for RedisPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RedisPlace(…)")
    }
}

impl RedisPlace {
    /// Understands a URL; connects to nothing.
    ///
    /// # Errors
    /// [`UnusableRedis`].
    pub fn new(url: &str, timeout: Duration) -> Result<Self, UnusableRedis> {
        let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
        if scheme.contains("sentinel") {
            return Err(UnusableRedis::Kind("Redis Sentinel"));
        }
        if scheme.contains("cluster") {
            return Err(UnusableRedis::Kind("Redis Cluster"));
        }
        if !["redis", "rediss", "redis+unix", "unix"].contains(&scheme) {
            return Err(UnusableRedis::Kind("another scheme"));
        }
        let client = Client::open(url).map_err(|_| UnusableRedis::Url)?;
        Ok(Self { client, timeout })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(url: &str) -> Option<String> {
        RedisPlace::new(url, Duration::from_millis(50)).err().map(|refusal| refusal.to_string())
    }

    #[test]
    fn one_server_can_be_used_plain_with_tls_and_on_a_unix_socket() {
        for url in
            ["redis://127.0.0.1:6379/2", "rediss://user:s3cr3t@cache.example:6380", "redis+unix:///run/redis.sock"]
        {
            assert_eq!(refusal(url), None, "{url}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_named_without_its_password() {
        for (url, named) in [
            ("redis-sentinel://:s3cr3t@a,b/mymaster", "Redis Sentinel"),
            ("redis+cluster://:s3cr3t@a,b", "Redis Cluster"),
            ("memcached://:s3cr3t@a", "another scheme"),
            ("redis://:s3cr3t@", "no URL of a Redis server"),
        ] {
            let said = refusal(url).unwrap_or_default();
            assert!(said.contains(named) && !said.contains("s3cr3t"), "{url}: {said}");
        }
    }
}
