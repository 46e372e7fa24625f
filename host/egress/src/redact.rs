//! Errors of the HTTP library in fixed words. Their own texts may quote a URL, and the URL may hold a secret, so no
//! text of theirs is passed on.

use std::{error::Error, io};

use patchbay_app::wire::WireError;
use rustls::{AlertDescription, CertificateError};

use crate::policy::Blocked;

/// Sorts a failed call. Only a failure before there was a connection counts as not sent; the rest is lost, also where
/// it is merely likely that something left.
pub(crate) fn call_error(error: &reqwest::Error) -> WireError {
    if let Some(blocked) = chain(error).find_map(|cause| cause.downcast_ref::<Blocked>()) {
        return WireError::Blocked(blocked.to_string());
    }
    if error.is_builder() {
        return WireError::Blocked(Blocked::Request.to_string());
    }
    let reason = reason(error).to_owned();
    if error.is_connect() {
        WireError::NotSent(reason)
    } else {
        WireError::Lost(reason)
    }
}

/// A failure while the answer was read.
pub(crate) fn answer_error(error: &reqwest::Error) -> WireError {
    WireError::Lost(match chain(error).find_map(io_kind) {
        Some(kind) => format!("answer cut short: {}", io_reason(kind)),
        None => "answer cut short".to_owned(),
    })
}

fn reason(error: &reqwest::Error) -> &'static str {
    if let Some(tls) = chain(error).find_map(tls_error) {
        return tls_reason(tls);
    }
    if error.is_dns() {
        return "the host name has no address";
    }
    if error.is_timeout() {
        return "timed out";
    }
    match chain(error).find_map(io_kind) {
        Some(kind) => io_reason(kind),
        None => "connection closed or broken",
    }
}

fn tls_reason(error: &rustls::Error) -> &'static str {
    match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "TLS: the certificate has expired",
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "TLS: the certificate is not valid yet"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "TLS: the certificate is for another name"
            }
            CertificateError::UnknownIssuer => "TLS: the certificate's issuer is not trusted",
            CertificateError::Revoked => "TLS: the certificate is revoked",
            _ => "TLS: the certificate is refused",
        },
        rustls::Error::PeerIncompatible(_) | rustls::Error::AlertReceived(AlertDescription::ProtocolVersion) => {
            "TLS: no common version or cipher suite"
        }
        _ => "TLS: the handshake failed",
    }
}

fn io_reason(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => "connection reset",
        io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => "connection closed",
        io::ErrorKind::TimedOut => "timed out",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "network or host unreachable",
        io::ErrorKind::AddrNotAvailable => "no local address or port free",
        _ => "connection failed",
    }
}

/// The error and its causes. An I/O error skips its own content in `source`, so that is looked into as well.
fn chain<'a>(error: &'a reqwest::Error) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let first: &'a (dyn Error + 'static) = error;
    std::iter::successors(Some(first), |cause| {
        let cause: &'a (dyn Error + 'static) = *cause;
        match cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => cause.source(),
        }
    })
}

fn tls_error<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    cause.downcast_ref()
}

fn io_kind(cause: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    cause.downcast_ref::<io::Error>().map(io::Error::kind)
}
