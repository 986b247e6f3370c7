//! The command line.

use clap::Parser;

use crate::commands::Command;
use crate::global::Global;

const AFTER_HELP: &str = "\
Addresses:
  unix://PATH                  unix domain socket
  ws://HOST[:PORT][/PATH]      WebSocket, port 80 by default
  wss://HOST[:PORT][/PATH]     WebSocket over TLS, port 443 by default
  HOST:PORT, [IPV6]:PORT       TCP

Logging in:
  With --login and --password, or better with HASHSERVER_LOGIN and HASHSERVER_TOKEN
  in the environment, which others cannot see in the list of processes. Without
  them, the file $NETRC or ~/.netrc is searched for
      machine ADDRESS login USER password TOKEN
  where ADDRESS is written exactly as it is given to --address, or else for
      default login USER password TOKEN
  which counts for every address. Without that, anonymously. A file that other
  users can read is not used.

Proxies:
  ws:// and wss:// servers are reached through the proxy in https_proxy, and
  ws:// ones through that in http_proxy, except for the hosts in no_proxy.

Exit status:
  0  done
  1  refused, no connection, a report that was not recorded or another failure:
     'ERROR: ...' on standard error; without a word where nobody reads the output
     any more
  2  the command line makes no sense

Examples:
  hashclient --address wss://hashserv.example.com/ws ping
  hashclient get oe.sstatesig.OEOuthashBasic TASKHASH
  hashclient get --stdin < lines-with-method-and-taskhash
  hashclient remove --where taskhash TASKHASH";

/// Looks up, reports and maintains what a hash equivalence server of the Yocto Project knows.
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER_HELP, max_term_width = 110, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_argument_is_explained() {
        let cli = Cli::command();
        let commands: Vec<_> = cli.get_subcommands().filter(|command| command.get_name() != "help").collect();
        assert!(commands.len() >= 22);
        for command in commands {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
            }
        }
    }

    #[test]
    fn conditions_may_be_repeated() {
        for command in [&["remove"][..], &["gc-mark", "M"]] {
            let arguments = [&["hashclient"], command, &["-w", "method", "m", "--where", "PN", "p"]].concat();
            let cli = Cli::parse_from(arguments);
            assert!(format!("{cli:?}").contains(r#"["method", "m", "PN", "p"]"#), "{cli:?}");
        }
    }

    #[test]
    fn no_token_is_shown() {
        let cli = Cli::parse_from(["hashclient", "-l", "u", "-p", "secret", "ping"]);
        assert!(!format!("{cli:?}").contains("secret"));
    }
}
