//! A certificate for the servers of one run: [`Certificate`].

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// The name that the certificate is for.
pub(crate) const NAME: &str = "fleet.test";

/// A key, a certificate for it, and the root that signed the certificate, as files.
#[derive(Debug)]
pub(crate) struct Certificate {
    home: PathBuf,
}

impl Certificate {
    /// Makes all three in a directory.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(crate) fn make(home: &Path) -> Result<Self, Box<dyn Error>> {
        let root_key = KeyPair::generate()?;
        let mut root = CertificateParams::new(Vec::<String>::new())?;
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root_certificate = root.self_signed(&root_key)?;
        let key = KeyPair::generate()?;
        let signed = CertificateParams::new([NAME.to_owned()])?.signed_by(&key, &Issuer::new(root, root_key))?;
        let made = Self { home: home.to_owned() };
        fs::write(made.root(), root_certificate.pem())?;
        fs::write(made.chain(), signed.pem())?;
        fs::write(made.key(), key.serialize_pem())?;
        fs::write(made.both(), format!("{}{}", signed.pem(), key.serialize_pem()))?;
        Ok(made)
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.home.join("root.pem")
    }

    pub(crate) fn chain(&self) -> PathBuf {
        self.home.join("chain.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.home.join("key.pem")
    }

    /// Certificate and key in one file, as haproxy wants them.
    pub(crate) fn both(&self) -> PathBuf {
        self.home.join("both.pem")
    }
}
