//! What the commands work with.

use std::path::PathBuf;
use std::sync::Arc;

use hashserv_client::{Client, ClientOptions};
use hashserv_protocol::{Address, AddressError};
use hashserv_transport::{DialOptions, Dialer};

use crate::cli::{DEFAULT_ADDRESS, Global};
use crate::failure::Failure;
use crate::netrc;
use crate::output::Output;

const NO_TOKEN: &str = "a login needs a token: set HASHSERVER_TOKEN, or give --password";
const NO_LOGIN: &str = "--password needs a login: set HASHSERVER_LOGIN, or give --login";

/// The server to talk to, and where to print.
pub(crate) struct Context {
    server: Server,
    pub(crate) output: Output,
    /// Whether one JSON document is to be printed instead of text.
    pub(crate) json: bool,
}

/// How to get a connection to the server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Server {
    dialer: Arc<Dialer>,
    address: Address,
    options: ClientOptions,
}

impl Context {
    /// Reads the netrc file, unless there is a login or it is not wanted.
    pub(crate) fn new(global: Global) -> Result<Self, Failure> {
        // An empty variable of the environment means the same as none.
        let address = if global.address.is_empty() { DEFAULT_ADDRESS } else { &global.address };
        let username = global.login.filter(|username| !username.is_empty());
        let given = global.password.is_some();
        let token = global.password.or_else(|| std::env::var("HASHSERVER_TOKEN").ok());
        let token = token.filter(|token| !token.is_empty());
        let tls_ca = global.tls_ca.filter(|path| !path.is_empty()).map(PathBuf::from);
        let login = match (username, token) {
            (Some(username), Some(token)) => Some((username, token)),
            (Some(_), None) => return Err(Failure::Usage(NO_TOKEN.to_owned())),
            (None, _) if given => return Err(Failure::Usage(NO_LOGIN.to_owned())),
            (None, _) if global.no_netrc => None,
            (None, _) => netrc::login(address)?,
        };
        let address = address.parse().map_err(|error: AddressError| Failure::Usage(error.to_string()))?;
        let options = ClientOptions { login, become_user: global.become_user, ..ClientOptions::default() };
        let dialer = Dialer::new(DialOptions { tls_ca, ..DialOptions::default() });
        let server = Server { dialer: Arc::new(dialer), address, options };
        Ok(Context { server, output: Output::stdout(), json: global.json })
    }

    /// A connected client.
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        self.server.connect().await
    }

    /// To connect several clients.
    pub(crate) fn server(&self) -> Server {
        self.server.clone()
    }
}

impl Server {
    /// A connected client, logged in.
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        let dialer = Arc::clone(&self.dialer);
        Ok(Client::connect(dialer, &self.address, self.options.clone()).await?)
    }
}
