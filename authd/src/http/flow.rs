//! Which row of the failure table a route belongs to.

use crate::domain::failure::Flow;
use axum::http::Method;

/// The flow of a route; `None` for what tells about the daemon itself and is never closed.
pub(crate) fn of(method: &Method, route: &str) -> Option<Flow> {
    Some(match route {
        "/health" | "/health/ready" | "/api/openapi.json" => return None,
        "/api/auth/register" => Flow::Register,
        "/api/auth/login" => Flow::Login,
        "/api/auth/refresh" => Flow::Refresh,
        "/api/auth/verify" | "/.well-known/jwks.json" => Flow::Verify,
        // No route of ours: nothing changes there.
        "-" => Flow::Read,
        _ if method.is_safe() => Flow::Read,
        _ => Flow::Change,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use utoipa::openapi::path::PathItem;

    /// Every route with its methods, from the table of the API.
    fn routes() -> Vec<(Method, String)> {
        let methods = |item: &PathItem| {
            let all = [
                (Method::GET, item.get.is_some()),
                (Method::POST, item.post.is_some()),
                (Method::PATCH, item.patch.is_some()),
                (Method::DELETE, item.delete.is_some()),
                (Method::PUT, item.put.is_some()),
            ];
            all.into_iter().filter(|(_, exists)| *exists).map(|(method, _)| method).collect::<Vec<_>>()
        };
        let paths = crate::http::table().into_openapi().paths.paths;
        paths.iter().flat_map(|(path, item)| methods(item).into_iter().map(|method| (method, path.clone()))).collect()
    }

    #[test]
    fn a_route_changes_something_exactly_if_its_method_may_and_only_three_are_never_closed() {
        let routes = routes();
        let free: Vec<&str> =
            routes.iter().filter(|(method, path)| of(method, path).is_none()).map(|(_, path)| path.as_str()).collect();
        assert_eq!(free, ["/api/openapi.json", "/health", "/health/ready"]);
        for (method, path) in routes.iter().filter(|(method, path)| of(method, path).is_some()) {
            let changes = matches!(of(method, path), Some(Flow::Register | Flow::Login | Flow::Refresh | Flow::Change));
            assert_eq!(changes, !method.is_safe(), "{method} {path}");
        }
    }

    #[test]
    fn the_flows_with_a_row_of_their_own_have_a_route() {
        let routes = routes();
        for flow in [Flow::Register, Flow::Login, Flow::Refresh, Flow::Change, Flow::Read, Flow::Verify] {
            assert!(routes.iter().any(|(method, path)| of(method, path) == Some(flow)), "{flow:?}");
        }
    }
}
