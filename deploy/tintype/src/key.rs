//! `tintype key`: makes, lists and revokes API keys. A new key's secret is printed
//! once and kept nowhere.

use clap::{Args, Subcommand};
use schemas::http::{CreateKey, Key, Scope};

use crate::cli::{Column, Exit, Global, Table, one_of, print, print_json};

/// Make, list and revoke API keys
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tintype key create phone-app --scope upload --dataset cats
  tintype key list")]
pub struct KeyArgs {
    #[command(subcommand)]
    pub command: KeyCommand,
}

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key; its secret is printed once
    #[command(after_help = "\
Examples:
  tintype key create phone-app --scope upload --dataset cats    safe inside an app
  tintype key create notebook --scope read
  export TINTYPE_KEY=$(tintype key create me --scope admin --json | jq -r .token)")]
    Create {
        /// What the key is for, in your words
        name: String,
        /// What it may do; may be given again
        #[arg(long = "scope", value_name = "SCOPE", required = true,
            value_parser = one_of::<Scope>(&["upload", "read", "train", "admin"]))]
        scopes: Vec<Scope>,
        /// The only dataset it may touch [default: all of yours]
        #[arg(long)]
        dataset: Option<String>,
    },
    /// List your keys, without their secrets
    #[command(after_help = "\
Example:
  tintype key list")]
    List,
    /// Revoke a key, at once and for ever
    #[command(after_help = "\
Example:
  tintype key revoke ID      `tintype key list` shows the ids")]
    Revoke {
        /// Its id, as `tintype key list` shows it
        id: String,
    },
}

/// Runs the command.
///
/// # Errors
/// The server cannot be reached or refuses.
pub async fn run(global: &Global, command: KeyCommand) -> anyhow::Result<Exit> {
    let client = global.client()?;
    match command {
        KeyCommand::Create {
            name,
            scopes,
            dataset,
        } => {
            let body = CreateKey {
                name,
                scopes,
                dataset,
                owner: None,
            };
            let created = client.create_key(&body).await?;
            if global.json {
                print_json(&created)?;
            } else {
                // The secret stands alone on its line, to be copied whole.
                print(&created.token)?;
                eprintln!(
                    "That is the only time this key is shown: keep it now, it cannot be read back.\n\
                     Use it: export TINTYPE_KEY=...    End it: tintype key revoke {}",
                    created.key.id
                );
            }
        }
        KeyCommand::List => {
            let list = client.keys().await?;
            if global.json {
                print_json(&list)?;
            } else {
                print(listing(&list.keys).plain())?;
            }
        }
        KeyCommand::Revoke { id } => {
            client.revoke_key(&id).await?;
            if global.json {
                print_json(&serde_json::json!({"revoked": id}))?;
            } else {
                print(format!("revoked key {id}"))?;
            }
        }
    }
    Ok(Exit::Fine)
}

fn listing(keys: &[Key]) -> Table {
    let columns = vec![
        Column::text("id"),
        Column::text("name"),
        Column::text("scopes"),
        Column::text("dataset"),
        Column::text("made"),
        Column::text("revoked"),
    ];
    let mut table = Table::new(columns);
    let day = |time: chrono::DateTime<chrono::Utc>| time.format("%Y-%m-%d").to_string();
    for key in keys {
        let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
        table.row([
            key.id.clone(),
            key.name.clone(),
            scopes.join(" "),
            key.dataset.as_ref().map_or("all".into(), |d| d.to_string()),
            day(key.created_at),
            key.revoked_at.map(day).unwrap_or_default(),
        ]);
    }
    table
}
