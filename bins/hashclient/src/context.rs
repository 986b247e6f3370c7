//! What the commands work with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hashserv_client::{
    Address, Client, ClientError, ClientOptions, DialOptions, Dialer, Login, Proxies, Secret, Target,
    TransportError,
};

use crate::failure::Failure;
use crate::global::Global;
use crate::netrc;
use crate::output::Output;

const NO_TOKEN: &str = "a login needs a token: set HASHSERVER_TOKEN, or give --password";
const NO_LOGIN: &str = "--password needs a login: set HASHSERVER_LOGIN, or give --login";

/// The server to talk to, and where to print.
pub(crate) struct Context {
    pub(crate) link: Link,
    pub(crate) output: Output,
    /// Whether one JSON document is to be printed instead of text.
    pub(crate) json: bool,
}

/// The connection to the server, which is closed when the command is done.
pub(crate) struct Link {
    server: Server,
    client: Option<Client>,
}

/// How to get a connection to the server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Server {
    dialer: Arc<Dialer>,
    address: Address,
    options: ClientOptions,
    /// Set where --tls-ca names the authorities to trust.
    has_own_authorities: bool,
}

impl Context {
    /// Reads the netrc file, unless there is a login or it is not wanted.
    pub(crate) fn new(global: Global) -> Result<Self, Failure> {
        // An empty variable of the environment means the same as none.
        let tls_ca = global.tls_ca.clone().filter(|path| !path.is_empty()).map(PathBuf::from);
        let options = ClientOptions {
            login: login(&global, &global.address.text)?,
            retry_window: global.retry_for,
            become_user: global.become_user,
            ..ClientOptions::default()
        };
        let has_own_authorities = tls_ca.is_some();
        let proxies = Proxies::from_environment();
        let dialer = Dialer::new(DialOptions { tls_ca, proxies, ..DialOptions::default() });
        let address = global.address.address;
        let server = Server { dialer: Arc::new(dialer), address, options, has_own_authorities };
        Ok(Context { link: Link { server, client: None }, output: Output::stdout(), json: global.json })
    }

    /// Returns the client, which connects first unless it has.
    pub(crate) async fn connect(&mut self) -> Result<&mut Client, Failure> {
        self.link.connect().await
    }

    /// Time for further attempts at what a lost connection left undone.
    pub(crate) fn retry_window(&self) -> Duration {
        self.link.server.options.retry_window
    }

    /// Returns what is needed to connect several clients, each of which is to be closed by the caller.
    pub(crate) fn server(&self) -> Server {
        self.link.server.clone()
    }

    /// Closes the connection in good order.
    pub(crate) async fn close(self) {
        if let Some(client) = self.link.client {
            client.close().await;
        }
    }
}

impl Link {
    /// Returns the client, which connects first unless it has.
    pub(crate) async fn connect(&mut self) -> Result<&mut Client, Failure> {
        let client = match self.client.take() {
            Some(client) => client,
            None => self.server.connect().await?,
        };
        Ok(self.client.insert(client))
    }
}

impl Server {
    /// A connected client, logged in.
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        let dialer = Arc::clone(&self.dialer);
        let target = Target::new(dialer, self.address.clone());
        Client::connect(target, self.options.clone()).await.map_err(|error| match error {
            ClientError::Connect(error @ TransportError::Certificate { .. }) if self.has_own_authorities => {
                Failure::Authorities(error)
            }
            error => error.into(),
        })
    }
}

/// Returns the credentials to log in with.
fn login(global: &Global, address: &str) -> Result<Option<Login>, Failure> {
    let username = global.login.clone().filter(|username| !username.is_empty());
    let given = global.password.is_some();
    let token = global.password.clone().or_else(|| std::env::var("HASHSERVER_TOKEN").ok().map(Secret::from));
    let token = token.filter(|token| !token.reveal().is_empty());
    match (username, token) {
        (Some(username), Some(token)) => Ok(Some(Login { username, token })),
        (Some(_), None) => Err(Failure::Usage(NO_TOKEN.to_owned())),
        (None, _) if given => Err(Failure::Usage(NO_LOGIN.to_owned())),
        (None, _) if global.no_netrc => Ok(None),
        (None, _) => Ok(netrc::login(address)),
    }
}
