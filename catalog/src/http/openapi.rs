//! The description of these routes for `/openapi.json`.

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{captures, clusters, datasets, duplicates, events, keys};

#[derive(OpenApi)]
#[openapi(
    paths(
        datasets::create, datasets::list, datasets::show, datasets::patch, datasets::delete,
        datasets::stats, captures::list, captures::show, clusters::list, duplicates::list, events::follow, keys::create,
        keys::list, keys::revoke,
    ),
    components(schemas(schemas::http::Problem)),
    modifiers(&Bearer),
    security(("key" = [])),
)]
struct Description;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        let key = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("an API key, `tt_` and 40 more characters"))
            .build();
        let components = description.components.get_or_insert_default();
        components.add_security_scheme("key", SecurityScheme::Http(key));
    }
}

/// The description of the control plane's routes, to be merged with those of other crates.
pub fn openapi() -> utoipa::openapi::OpenApi {
    Description::openapi()
}
