//! The certificate while the server runs: its files are replaced, and its time passes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hashserv_log::one_line;
use hashserv_storage::Timestamp;
use hashserv_transport::{CertificateInfo, ServerTls, TransportError, Validity};
use tokio::signal::unix::Signal;
use tokio::task::spawn_blocking;
use tracing::{error, info, warn};

/// Time between looks at the files of the certificate, and at its time.
pub(crate) const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// Time between warnings that the certificate in use ends, or has ended.
const REMINDER_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// Keeps the certificate in use up to date.
pub(crate) struct Keeper {
    tls: Arc<ServerTls>,
    /// The last failure to read the files anew, until they are read.
    failure: Option<String>,
    /// The last warning of the certificate's time.
    reminder: Option<(Validity, SystemTime)>,
}

/// News of the certificate, for the log.
#[derive(Debug)]
enum News {
    /// The files were read, and are in use now.
    Read(CertificateInfo),
    /// The files cannot be used.
    Kept(TransportError),
    /// Clients refuse the certificate in use, or will before long.
    Untimely(PathBuf, CertificateInfo, Validity),
}

impl Keeper {
    pub(crate) fn new(tls: Arc<ServerTls>) -> Self {
        Keeper { tls, failure: None, reminder: None }
    }

    /// Logs a warning where clients refuse the certificate for its time, or will before long.
    pub(crate) fn warn_of_time(&mut self) {
        self.untimely(SystemTime::now()).iter().for_each(log);
    }

    /// Reads the files again at a signal, and whenever they are found changed, which is looked for after each
    /// `interval`. Does not return.
    pub(crate) async fn run(mut self, mut hang_up: Signal, interval: Duration) {
        loop {
            let is_asked = tokio::select! {
                signal = hang_up.recv() => signal.is_some(),
                () = tokio::time::sleep(interval) => false,
            };
            // A file system may keep one waiting.
            let looked = spawn_blocking(move || {
                let news = self.look(is_asked, SystemTime::now());
                (self, news)
            });
            match looked.await {
                Ok((keeper, news)) => {
                    self = keeper;
                    news.iter().for_each(log);
                }
                Err(_) => return,
            }
        }
    }

    /// Reads the files again if that is asked for or they have changed. A failure is news once, unless it is
    /// asked for.
    fn look(&mut self, is_asked: bool, now: SystemTime) -> Vec<News> {
        let outcome = if is_asked { self.tls.reload().map(|()| true) } else { self.tls.refresh() };
        let news = match outcome {
            Ok(is_read) => {
                self.failure = None;
                is_read.then(|| News::Read(self.tls.certificate()))
            }
            Err(error) => {
                let text = one_line(&error);
                let is_new = is_asked || self.failure.as_ref() != Some(&text);
                self.failure = Some(text);
                is_new.then_some(News::Kept(error))
            }
        };
        if matches!(news, Some(News::Read(_))) {
            self.reminder = None;
        }
        news.into_iter().chain(self.untimely(now)).collect()
    }

    /// News of the certificate's time: at each change, and once a day.
    fn untimely(&mut self, now: SystemTime) -> Option<News> {
        let certificate = self.tls.certificate();
        let validity = certificate.validity(now);
        if validity == Validity::Valid {
            self.reminder = None;
            return None;
        }
        let is_told = self.reminder.is_some_and(|(told, at)| {
            told == validity && now.duration_since(at).is_ok_and(|passed| passed < REMINDER_INTERVAL)
        });
        if is_told {
            return None;
        }
        self.reminder = Some((validity, now));
        Some(News::Untimely(self.tls.certificate_file().to_owned(), certificate, validity))
    }
}

fn log(news: &News) {
    match news {
        News::Read(certificate) => info!(
            fingerprint = certificate.fingerprint,
            valid_from = %Timestamp::from(certificate.valid_from),
            valid_until = %Timestamp::from(certificate.valid_until),
            "the certificate was read again"
        ),
        News::Kept(error) => {
            warn!(error = one_line(error), "the certificate in use is kept: the files cannot be used");
        }
        News::Untimely(file, certificate, validity) => log_time(file, certificate, *validity),
    }
}

fn log_time(file: &Path, certificate: &CertificateInfo, validity: Validity) {
    let from = Timestamp::from(certificate.valid_from);
    let until = Timestamp::from(certificate.valid_until);
    let file = file.display();
    match validity {
        Validity::Valid => {}
        Validity::NotYet => warn!(
            %file,
            valid_from = %from,
            "the certificate is not valid yet, so clients refuse it: set the clock of this machine, or replace \
             the certificate"
        ),
        Validity::EndsSoon => {
            warn!(%file, valid_until = %until, "the certificate expires soon: replace its files, which are read again then");
        }
        Validity::Expired => error!(
            %file,
            valid_until = %until,
            "the certificate has expired, so clients refuse it: replace its files, which are read again then"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    /// A server whose certificate lies in `directory`, reached by symbolic links, as Kubernetes has it.
    fn server(directory: &Path) -> Keeper {
        publish(directory, "first");
        let [certificate, key] = ["hashserv-cert.pem", "hashserv-key.pem"];
        for name in [certificate, key] {
            std::os::unix::fs::symlink(format!("..data/{name}"), directory.join(name)).unwrap();
        }
        let tls = ServerTls::from_files(directory.join(certificate), directory.join(key)).unwrap();
        Keeper::new(Arc::new(tls))
    }

    /// Makes another certificate and lets the link of the directory lead to it.
    fn publish(directory: &Path, version: &str) {
        let made = directory.join(version);
        std::fs::create_dir(&made).unwrap();
        ServerTls::self_signed(&made, &[]).unwrap();
        lead_to(directory, version);
    }

    fn lead_to(directory: &Path, version: &str) {
        let link = directory.join("..data.new");
        std::os::unix::fs::symlink(version, &link).unwrap();
        std::fs::rename(link, directory.join("..data")).unwrap();
    }

    #[test]
    fn files_behind_links_are_read_when_the_links_change() {
        let directory = tempfile::tempdir().unwrap();
        let mut keeper = server(directory.path());
        let now = SystemTime::now();
        let first = keeper.tls.certificate();
        assert!(keeper.look(false, now).is_empty());
        publish(directory.path(), "second");
        let news = keeper.look(false, now);
        let second = keeper.tls.certificate();
        assert_ne!(first, second);
        assert!(matches!(&news[..], [News::Read(read)] if *read == second), "{news:?}");
        assert!(keeper.look(false, now).is_empty());
    }

    #[test]
    fn files_that_do_not_fit_are_told_of_once_and_tried_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut keeper = server(directory.path());
        let now = SystemTime::now();
        let first = keeper.tls.certificate();
        publish(directory.path(), "second");
        let key = directory.path().join("second/hashserv-key.pem");
        let saved = std::fs::read(&key).unwrap();
        std::fs::copy(directory.path().join("first/hashserv-key.pem"), &key).unwrap();
        assert!(matches!(keeper.look(false, now)[..], [News::Kept(_)]));
        assert!(keeper.look(false, now).is_empty(), "once");
        assert!(matches!(keeper.look(true, now)[..], [News::Kept(_)]), "again where it is asked for");
        assert_eq!(keeper.tls.certificate(), first);
        std::fs::remove_file(&key).unwrap();
        assert!(matches!(keeper.look(false, now)[..], [News::Kept(_)]), "another failure");
        std::fs::write(&key, saved).unwrap();
        assert!(matches!(keeper.look(false, now)[..], [News::Read(_)]));
    }

    #[test]
    fn the_end_of_the_time_is_told_at_each_change_and_daily() {
        let directory = tempfile::tempdir().unwrap();
        let mut keeper = server(directory.path());
        let end = keeper.tls.certificate().valid_until;
        let validity = |news: Vec<News>| match &news[..] {
            [] => None,
            [News::Untimely(file, _, validity)] => {
                assert!(file.starts_with(directory.path()), "the file is named: {file:?}");
                Some(*validity)
            }
            news => panic!("{news:?}"),
        };
        for (now, told) in [
            (end - DAY * 100, None),
            (end - DAY * 10, Some(Validity::EndsSoon)),
            (end - DAY * 10 + DAY / 2, None),
            (end - DAY * 9, Some(Validity::EndsSoon)),
            (end + DAY, Some(Validity::Expired)),
            (end + DAY, None),
            (end - DAY * 100, None),
        ] {
            assert_eq!(validity(keeper.look(false, now)), told);
        }
    }

    #[tokio::test]
    async fn files_are_looked_at_without_a_signal() {
        let directory = tempfile::tempdir().unwrap();
        let keeper = server(directory.path());
        let tls = keeper.tls.clone();
        let first = tls.certificate();
        let hang_up = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).unwrap();
        let running = tokio::spawn(keeper.run(hang_up, Duration::from_millis(1)));
        publish(directory.path(), "second");
        let replaced = async {
            while tls.certificate() == first {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), replaced).await.expect("the files are read");
        assert!(!running.is_finished());
        running.abort();
    }
}
