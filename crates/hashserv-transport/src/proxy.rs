//! HTTP proxies on the way to a WebSocket server, chosen as Python's `websockets` library does.

mod tunnel;

use std::collections::HashMap;
use std::fmt;

use hashserv_protocol::{Address, Host};
use percent_encoding::percent_decode_str;

pub use tunnel::ProxyError;
pub(crate) use tunnel::{Proxy, open};

/// Port of a proxy whose URL has none.
const PROXY_PORT: u16 = 80;

/// What the names of all variables end with.
const SUFFIX: &str = "_proxy";

/// Proxies for `ws://` and `wss://` addresses, as the environment names them. Other addresses are always dialled
/// directly. The default is none.
///
/// The variables are `wss_proxy`, `socks_proxy` and `https_proxy` for `wss://`; `ws_proxy`, `socks_proxy`,
/// `https_proxy` and `http_proxy` for `ws://`. The first that is set counts. Their names may be in any case; of
/// several spellings the lower-case one counts. `no_proxy` lists hosts that are dialled directly: names, which stand
/// for their subdomains too, with or without a port, separated by commas; or `*` for all.
#[derive(Clone, Default)]
pub struct Proxies {
    /// URLs by the name of the variable without its suffix, in lower case.
    urls: HashMap<String, String>,
}

impl Proxies {
    /// Reads the variables of the environment.
    #[must_use]
    pub fn from_environment() -> Self {
        let variables = std::env::vars_os();
        Proxies::from_variables(variables.filter_map(|(name, value)| {
            // Proxies have no names that are not text.
            Some((name.into_string().ok()?, value.into_string().ok()?))
        }))
    }

    /// Takes the proxies from these variables and their values; others are ignored.
    #[must_use]
    pub fn from_variables(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let variables: Vec<(String, String)> = variables.into_iter().collect();
        let mut urls = HashMap::new();
        for (name, value) in &variables {
            if let Some(scheme) = name.to_lowercase().strip_suffix(SUFFIX)
                && !value.is_empty()
            {
                urls.insert(scheme.to_owned(), value.clone());
            }
        }
        // Within a CGI script a client of the web server chooses this variable (by a header `Proxy`).
        if variables.iter().any(|(name, _)| name == "REQUEST_METHOD") {
            urls.remove("http");
        }
        // Lower-case spellings win, also empty ones.
        for (name, value) in variables {
            let Some(scheme) = name.strip_suffix(SUFFIX) else { continue };
            if value.is_empty() {
                urls.remove(&scheme.to_lowercase());
            } else {
                urls.insert(scheme.to_lowercase(), value);
            }
        }
        Proxies { urls }
    }

    /// Returns the variable and the URL of the proxy for a server; `None` where it is dialled directly.
    fn choose(&self, tls: bool, host: &str, port: u16) -> Option<(String, &str)> {
        if self.is_bypassed(host, port) {
            return None;
        }
        let schemes: &[&str] =
            if tls { &["wss", "socks", "https"] } else { &["ws", "socks", "https", "http"] };
        schemes
            .iter()
            .find_map(|scheme| Some((format!("{scheme}{SUFFIX}"), self.urls.get(*scheme)?.as_str())))
    }

    fn is_bypassed(&self, host: &str, port: u16) -> bool {
        let Some(list) = self.urls.get("no") else { return false };
        let host = host.to_lowercase();
        let with_port = format!("{host}:{port}");
        list == "*"
            || list.split(',').map(|entry| entry.trim().trim_start_matches('.').to_lowercase()).any(|entry| {
                !entry.is_empty() && [&host, &with_port].into_iter().any(|name| is_within(name, &entry))
            })
    }

    /// Returns the proxy for a server; `None` where it is dialled directly.
    pub(crate) fn find(
        &self,
        tls: bool,
        host: &str,
        port: u16,
    ) -> Result<Option<Proxy>, (String, ProxyError)> {
        let Some((variable, url)) = self.choose(tls, host, port) else { return Ok(None) };
        match parse(&variable, url) {
            Ok(proxy) => Ok(Some(proxy)),
            Err(reason) => Err((format!("in {variable}"), ProxyError::Unusable(reason))),
        }
    }
}

/// Whether a host is that of the entry, or in its domain.
fn is_within(host: &str, entry: &str) -> bool {
    host.strip_suffix(entry).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn parse(variable: &str, url: &str) -> Result<Proxy, &'static str> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    if !scheme.eq_ignore_ascii_case("http") {
        return Err(
            "only proxies at http:// URLs are supported; list the server in no_proxy to reach it directly",
        );
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (user, host) =
        authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    let unusable = "the URL does not have the form http://[NAME:PASSWORD@]HOST[:PORT]";
    // The host is written as in an address of ours.
    let address: Address = format!("ws://{host}").parse().map_err(|_| unusable)?;
    let Address::WebSocket { host, .. } = address else { return Err(unusable) };
    if host.name.is_empty() {
        return Err(unusable);
    }
    let host = Host::new(host.name, Some(host.port.unwrap_or(PROXY_PORT)));
    Ok(Proxy { host, variable: variable.to_owned(), authorization: user.map(basic_authorization) })
}

/// Basic credentials from the part of a URL before the `@`.
fn basic_authorization(user: &str) -> String {
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let mut credentials: Vec<u8> = percent_decode_str(name).collect();
    credentials.push(b':');
    credentials.extend(percent_decode_str(password));
    format!("Basic {}", data_encoding::BASE64.encode(&credentials))
}

// By hand, so that no password gets into a log.
impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxies").field("schemes", &self.urls.keys()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
