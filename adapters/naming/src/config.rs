//! Applies the options of a file: [`Sources::config`].

use hedge_link::{Runtime, SourcesConfig, SourcesConfigError};

use crate::sources::Sources;

impl<R: Runtime> Sources<R> {
    /// Applies the options of a file. What the file does not name stays as it is, such as credentials that the program
    /// has set. The certificates of `http.tls` are read here, which blocks. The sources themselves read the other
    /// files.
    ///
    /// Sources share a watcher if their files have the same options. Sources whose files name certificates share no
    /// watcher.
    ///
    /// # Errors
    /// A field needs another field or a feature, or certificates or names cannot be used.
    pub fn config(mut self, config: &SourcesConfig) -> Result<Self, SourcesConfigError> {
        if let Some(pauses) = config.retry {
            self = self.retry(pauses);
        }
        self.options.file_every = config.file.every.or(self.options.file_every);
        self.options.host_every = config.host.every.or(self.options.host_every);
        self.dns_config(config)?.http_config(config)
    }

    #[cfg(feature = "dns")]
    #[expect(clippy::unnecessary_wraps, reason = "without the feature it can fail")]
    fn dns_config(mut self, config: &SourcesConfig) -> Result<Self, SourcesConfigError> {
        let dns = &config.dns;
        if let Some(servers) = &dns.name_servers {
            self.options.name_servers = Some(servers.iter().copied().collect());
        }
        self.options.lookup_timeout = dns.timeout.or(self.options.lookup_timeout);
        Ok(self)
    }

    #[cfg(not(feature = "dns"))]
    fn dns_config(self, config: &SourcesConfig) -> Result<Self, SourcesConfigError> {
        if config.dns == hedge_link::DnsSourceConfig::default() {
            return Ok(self);
        }
        Err(SourcesConfigError::NeedsFeature { field: "sources.dns", feature: "naming-dns" })
    }

    #[cfg(feature = "http")]
    fn http_config(mut self, config: &SourcesConfig) -> Result<Self, SourcesConfigError> {
        use std::sync::Arc;

        use crate::over_http::OptionsNumber;

        let mut own = config.clone();
        (own.retry, own.file, own.host, own.dns) = Default::default();
        if own == SourcesConfig::default() {
            return Ok(self);
        }
        self.over_http.apply(&own)?;
        // Files that hold certificates may have changed, so the new settings may not be those of before.
        #[cfg(feature = "_tls")]
        let is_own = config.http.tls.as_ref().is_some_and(hedge_link::SourceTlsConfig::has_files);
        #[cfg(not(feature = "_tls"))]
        let is_own = false;
        let before = self.options.over_http_file.replace(Arc::new(own));
        if is_own || before.is_some() {
            self.options.over_http = OptionsNumber::next();
        }
        Ok(self)
    }

    #[cfg(not(feature = "http"))]
    fn http_config(self, config: &SourcesConfig) -> Result<Self, SourcesConfigError> {
        let none = SourcesConfig::default();
        for (field, is_default) in [
            ("sources.http", config.http == none.http),
            ("sources.etcd", config.etcd == none.etcd),
            ("sources.consul", config.consul == none.consul),
            ("sources.kubernetes", config.kubernetes == none.kubernetes),
            ("sources.remotefile", config.remotefile == none.remotefile),
        ] {
            if !is_default {
                return Err(SourcesConfigError::NeedsFeature { field, feature: "naming-http" });
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests;
