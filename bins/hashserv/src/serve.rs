//! The parts wired together, from start to stop.

use std::path::Path;
use std::sync::Arc;

use hashserv_server::Server;
use hashserv_service::Service;
use hashserv_storage::{Storage, StorageError};
use hashserv_storage_sql::{DatabaseName, Options, open};
use hashserv_transport::{ListenOptions, Listener, ServerTls};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::error::StartError;
use crate::logging::say;
use crate::open_files::fitting_connections;
use crate::signals::Signals;
use crate::tls::{Keeper, certificate};
use crate::upstream::UpstreamConfig;

/// Serves until a signal stops the server.
pub(crate) async fn serve(mut config: Config) -> Result<(), StartError> {
    let mut signals = Signals::catch()?;
    config.limits.connections =
        fitting_connections(config.limits.connections, database_connections(&config))?;
    let tls = certificate(&config)?;
    // Clients connect only when the database is ready, and that may take a while.
    let service = tokio::select! {
        service = service(&config) => Arc::new(service?),
        () = signals.stopping.asked() => return Ok(()),
    };
    let listeners = match listen(&config, tls.clone()).await {
        Ok(listeners) => listeners,
        Err(error) => {
            service.close(config.limits.shutdown).await;
            return Err(error);
        }
    };
    announce(&listeners, tls.as_deref());
    let mut keeper = tls.map(Keeper::new);
    keeper.iter_mut().for_each(Keeper::warn_of_time);
    let stop = CancellationToken::new();
    let handling = tokio::spawn(signals.handle(stop.clone(), keeper));
    let serving = Server::new(Arc::clone(&service), config.limits).run(listeners, stop);
    tokio::select! {
        () = serving => Ok(()),
        // Nothing can be stored any more: the end of the process closes all connections without a reply.
        _ = handling => Err(StartError::SecondSignal),
        () = service.lost() => Err(StartError::DatabaseLost),
    }
}

/// Returns the number of connections that there may be to a database server. The files of SQLite are few.
fn database_connections(config: &Config) -> usize {
    if config.database.sqlite_path().is_some() { 0 } else { config.database_options.pool_size }
}

async fn service(config: &Config) -> Result<Service, StartError> {
    let storage = open_database(config).await?;
    let upstream = config.upstream.as_ref().map(UpstreamConfig::start);
    let service = Service::new(storage, upstream, &config.service);
    if let Some(admin) = &config.admin {
        let ensured = service.accounts().ensure_admin(admin).await;
        ensured.map_err(|source| StartError::Admin { name: admin.name.clone(), source })?;
    }
    Ok(service)
}

/// Opens the database. A read-only server opens it to be read, unless an administrator is to be written, or
/// the file must be created or upgraded first: read-only is what clients get, and old databases are served too.
async fn open_database(config: &Config) -> Result<Arc<dyn Storage>, StartError> {
    let database: &DatabaseName = &config.database;
    let writable = &config.database_options;
    if let Some(path) = database.sqlite_path().filter(|path| path.is_dir()) {
        return Err(StartError::DatabaseIsDirectory(path.to_owned()));
    }
    if !config.service.read_only {
        return Ok(open(database, writable).await?);
    }
    if config.admin.is_some() {
        return open(database, writable).await.map_err(|error| match error {
            StorageError::Open { .. } if database.sqlite_path().is_some() => StartError::ReadOnlyAdmin(error),
            error => error.into(),
        });
    }
    match open(database, &Options { read_only: true, ..writable.clone() }).await {
        Ok(storage) => Ok(storage),
        Err(error) => match database.sqlite_path() {
            // PostgreSQL has done what is possible.
            None => Err(error.into()),
            Some(path) => open(database, writable).await.map_err(|failure| unmade(path, error, failure)),
        },
    }
}

/// Returns the error of a file that can neither be opened to be read, nor be made or upgraded.
fn unmade(path: &Path, reading: StorageError, writing: StorageError) -> StartError {
    if path.exists() {
        return reading.into();
    }
    StartError::MissingDatabase { path: path.to_owned(), source: writing }
}

async fn listen(config: &Config, tls: Option<Arc<ServerTls>>) -> Result<Vec<Listener>, StartError> {
    let limits = hashserv_transport::Limits { max_message: config.limits.message, ..Default::default() };
    let options = ListenOptions { reuseport: config.reuseport, tls, limits };
    let mut listeners = Vec::with_capacity(config.addresses.len());
    for address in &config.addresses {
        listeners.push(Listener::bind(address, &options).await?);
    }
    Ok(listeners)
}

/// Tells, whatever the log level, where clients find the server.
fn announce(listeners: &[Listener], tls: Option<&ServerTls>) {
    if let Some(tls) = tls {
        say(format_args!("Certificate fingerprint (SHA-256): {}", tls.certificate().fingerprint));
    }
    for listener in listeners {
        say(format_args!("Listening on {}", listener.local_address()));
    }
}
