//! The commands, one file a noun.

pub mod address;
pub mod api;
pub mod audit;
pub mod breaker;
pub mod completion;
pub mod config;
pub mod db;
mod doctor;
mod events;
pub mod key;
pub mod limit;
mod man;
pub mod mode;
pub mod reload;
pub mod schema;
pub mod session;
pub mod status;
mod tail;
pub mod top;
pub mod user;
pub mod version;
mod why;

use crate::{cli::Command, context::Context, error::Error};

/// Runs a command.
///
/// # Errors
/// Whatever it fails with; [`Error::exit`] says how the process ends.
pub async fn run(context: &mut Context<'_>, command: Command) -> Result<(), Error> {
    command.check_flags(context.flags)?;
    match command {
        Command::Status => status::run(context).await,
        Command::Session(command) => session::run(context, command).await,
        Command::User(command) => user::run(context, command).await,
        Command::Key(command) => key::run(context, command).await,
        Command::Limit(command) => limit::run(context, command).await,
        Command::Mode(command) => mode::run(context, command).await,
        Command::Ban(command) => address::run(context, address::Kind::Ban, command).await,
        Command::Allow(command) => address::run(context, address::Kind::Allow, command).await,
        Command::Audit(command) => audit::run(context, command).await,
        Command::Breaker(command) => breaker::run(context, command).await,
        Command::Events => events::run(context).await,
        Command::Config(command) => config::run(context, command).await,
        Command::Db(command) => db::run(context, command).await,
        Command::Reload { wait } => reload::run(context, wait).await,
        Command::Api(call) => api::run(context, call).await,
        Command::Completion { shell } => completion::run(context, shell),
        Command::Schema { kind } => schema::run(context, kind.as_deref()),
        Command::Man { directory } => man::run(context, directory.as_deref()),
        Command::Why { subject } => why::run(context, subject).await,
        Command::Doctor => doctor::run(context).await,
        Command::Top { once } => top::run(context, once).await,
        Command::Version => version::run(context),
    }
}
