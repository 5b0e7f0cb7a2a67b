//! The token in `<data>.admin.json`. It stays the same over restarts while the file does.

use std::path::Path;

use hubward_model::Problem;
use hubward_registry::Registry;

use super::admin_file::AdminFile;
use super::announce::Addresses;

/// The token's name in the registry.
const NAME: &str = "admin file";

/// Writes the file with the server's address and a token of scope admin; the old token is kept if it is still good.
pub async fn write(registry: &Registry, path: &Path, addresses: &Addresses) -> Result<(), Problem> {
    let Some(url) = addresses.own_url() else { return Ok(()) };
    let known = AdminFile::read(path).ok().filter(|file| {
        registry.verify_api_token(&file.token).is_some_and(|token| token.scopes.iter().any(|scope| scope == "admin"))
    });
    let token = match known {
        Some(file) => file.token,
        None => fresh(registry).await.map_err(|error| error.problem())?,
    };
    AdminFile { url, token }.write(path).map_err(|error| {
        Problem::new(
            "admin_file",
            format!("{} cannot be written: {error}", path.display()),
            "make the folder that holds the data folder writable for this user",
        )
    })
}

async fn fresh(registry: &Registry) -> Result<hubward_registry::SecretString, hubward_registry::Error> {
    for token in registry.tokens().await? {
        if token.name == NAME {
            // Its file is gone, so nobody has it, or the wrong one.
            registry.revoke_token(&token.id).await?;
        }
    }
    Ok(registry.create_token(NAME, &["admin".to_owned()], None).await?.secret)
}
