//! Requests by route and class of status, with their times.

use crate::domain::tally::{Counts, StatusClass, Times};

/// What stands for requests to no route of ours; their paths are the clients' own.
const UNMATCHED: &str = "unmatched";

/// Counts requests.
#[derive(Debug)]
pub struct RequestTally {
    routes: Vec<RouteTally>,
    unmatched: RouteTally,
}

/// The requests to one route.
#[derive(Debug)]
pub struct RouteTally {
    /// Its template.
    pub route: String,
    /// By class of status.
    pub classes: Counts<StatusClass>,
    /// From the head of a request to the head of its answer.
    pub times: Times,
}

impl RouteTally {
    fn of(route: String) -> Self {
        Self { route, classes: Counts::default(), times: Times::default() }
    }
}

impl Default for RequestTally {
    /// For the routes of this version.
    fn default() -> Self {
        let document = super::table().into_openapi();
        let routes = document.paths.paths.into_keys().map(RouteTally::of).collect();
        Self { routes, unmatched: RouteTally::of(UNMATCHED.to_owned()) }
    }
}

impl RequestTally {
    /// A request to this route was answered.
    pub(super) fn answered(&self, route: &str, status: u16, took_us: i64) {
        let tally = self.routes.iter().find(|tally| tally.route == route).unwrap_or(&self.unmatched);
        tally.classes.count(StatusClass::of(status));
        tally.times.took(took_us);
    }

    /// Every route.
    pub fn routes(&self) -> impl Iterator<Item = &RouteTally> {
        self.routes.iter().chain([&self.unmatched])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::{self, get};
    use std::sync::Arc;

    #[tokio::test]
    async fn requests_are_counted_under_the_template_of_their_route_and_unknown_paths_together() {
        let state = testing::state();
        let tally = Arc::clone(&state.tally);
        let router = crate::http::router(state);
        get(&router, "/health").await;
        for path in ["/secret", "/another-secret"] {
            get(&router, path).await;
        }
        let seen: Vec<(&str, u64)> = tally
            .routes()
            .map(|route| (route.route.as_str(), route.classes.all().map(|(_, count)| count).sum()))
            .filter(|(_, count)| *count > 0)
            .collect();
        assert_eq!(seen, [("/health", 1), (UNMATCHED, 2)]);
        let class = |route: &RouteTally| route.classes.of(StatusClass::ClientError);
        assert_eq!(class(tally.routes().last().unwrap()), 2);
    }
}
