//! How a role reaches Kafka: TLS, and who it says it is. Settings and variables come in, a
//! connection in librdkafka's words goes out, or what is missing for one.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use schemas::topics::KafkaConnection;
use serde::Deserialize;

/// Whether this build can do it: the feature `kafka-tls`.
const HAS_TLS: bool = cfg!(feature = "kafka-tls");
/// Whether this build can fetch tokens: the feature `kafka-oauth`.
const HAS_OAUTH: bool = cfg!(feature = "kafka-oauth");

/// What Kafka asks of its clients: the table `kafka_security` of a settings file.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaSecurity {
    /// Whether connections are encrypted; so they are if a certificate is named.
    pub tls: bool,
    /// A file with the certificates that brokers' are signed by, where they are not the system's.
    pub ca: Option<PathBuf>,
    /// A file with this client's own certificate, ...
    pub certificate: Option<PathBuf>,
    /// ... and one with its key.
    pub key: Option<PathBuf>,
    /// `plain`, `scram-sha-256`, `scram-sha-512` or `oauthbearer`.
    pub sasl: Option<String>,
    /// The user, or the client's id where tokens are fetched.
    pub user: Option<String>,
    /// Its password, or the client's secret.
    pub password: Option<String>,
    /// Where tokens are fetched (OpenID Connect), with `oauthbearer`.
    pub token_url: Option<String>,
    /// For what, if the server wants to know.
    pub scope: Option<String>,
}

/// Never the password.
impl std::fmt::Debug for KafkaSecurity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.words())
    }
}

impl KafkaSecurity {
    /// Takes what the environment says: `TINTYPE_KAFKA_TLS` and so on.
    ///
    /// # Errors
    /// A value is none for it.
    pub fn apply_environment(
        &mut self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> anyhow::Result<()> {
        if let Some(word) = variable("TINTYPE_KAFKA_TLS") {
            self.tls = word
                .parse()
                .ok()
                .with_context(|| format!("TINTYPE_KAFKA_TLS={word:?} is neither true nor false"))?;
        }
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        for (place, name) in [
            (&mut self.ca, "TINTYPE_KAFKA_CA"),
            (&mut self.certificate, "TINTYPE_KAFKA_CERTIFICATE"),
            (&mut self.key, "TINTYPE_KAFKA_KEY"),
        ] {
            if let Some(path) = set(name) {
                *place = Some(path.into());
            }
        }
        for (place, name) in [
            (&mut self.sasl, "TINTYPE_KAFKA_SASL"),
            (&mut self.user, "TINTYPE_KAFKA_USER"),
            (&mut self.password, "TINTYPE_KAFKA_PASSWORD"),
            (&mut self.token_url, "TINTYPE_KAFKA_TOKEN_URL"),
            (&mut self.scope, "TINTYPE_KAFKA_SCOPE"),
        ] {
            if let Some(word) = set(name) {
                *place = Some(word);
            }
        }
        Ok(())
    }

    /// Kafka at these addresses, reached in this way.
    ///
    /// # Errors
    /// Something is missing, contradicts something else, or is not in this build.
    pub fn connection(&self, addresses: &str) -> anyhow::Result<KafkaConnection> {
        let mut connection = KafkaConnection::at(addresses);
        let is_encrypted = self.is_encrypted();
        if !is_encrypted && self.sasl.is_none() {
            ensure!(
                self.user.is_none() && self.password.is_none(),
                "Kafka's user and password are set, and kafka_security.sasl (TINTYPE_KAFKA_SASL) \
                 is not: set it to plain, scram-sha-256, scram-sha-512 or oauthbearer"
            );
            return Ok(connection);
        }
        ensure!(
            HAS_TLS,
            "this build speaks to Kafka without TLS and SASL, which are asked for: {}; build it \
             with --features kafka-tls, as the container images are",
            self.words()
        );
        for (path, name) in [
            (&self.ca, "ca"),
            (&self.certificate, "certificate"),
            (&self.key, "key"),
        ] {
            if let Some(path) = path {
                std::fs::metadata(path).with_context(|| {
                    format!("kafka_security.{name}: cannot read {}", path.display())
                })?;
            }
        }
        ensure!(
            self.certificate.is_some() == self.key.is_some(),
            "kafka_security: a certificate of one's own needs its key and the other way round"
        );
        let protocol = match (is_encrypted, self.sasl.is_some()) {
            (true, true) => "sasl_ssl",
            (true, false) => "ssl",
            (false, _) => "sasl_plaintext",
        };
        connection = connection.with("security.protocol", protocol);
        for (name, path) in [
            ("ssl.ca.location", &self.ca),
            ("ssl.certificate.location", &self.certificate),
            ("ssl.key.location", &self.key),
        ] {
            if let Some(path) = path {
                connection = connection.with(name, path.display().to_string());
            }
        }
        match self.sasl.as_deref() {
            None => Ok(connection),
            Some("oauthbearer") => self.with_tokens(connection),
            Some(word @ ("plain" | "scram-sha-256" | "scram-sha-512")) => {
                ensure!(
                    is_encrypted || word != "plain",
                    "kafka_security.sasl = \"plain\" would send the password for all to read: \
                     set kafka_security.tls (TINTYPE_KAFKA_TLS) to true"
                );
                let (user, password) = self.user_and_password(word)?;
                Ok(connection
                    .with("sasl.mechanism", word.to_ascii_uppercase())
                    .with("sasl.username", user)
                    .with("sasl.password", password))
            }
            Some(other) => anyhow::bail!(
                "kafka_security.sasl is {other:?}; it must be plain, scram-sha-256, \
                 scram-sha-512 or oauthbearer"
            ),
        }
    }

    fn with_tokens(&self, connection: KafkaConnection) -> anyhow::Result<KafkaConnection> {
        ensure!(
            HAS_OAUTH,
            "this build cannot fetch tokens for Kafka: build it with --features kafka-oauth, as \
             the container images are"
        );
        let missing = "kafka_security.sasl = \"oauthbearer\" needs token_url \
                       (TINTYPE_KAFKA_TOKEN_URL), where tokens are fetched";
        let url = self.token_url.as_deref().context(missing)?;
        let (id, secret) = self.user_and_password("oauthbearer")?;
        let mut connection = connection
            .with("sasl.mechanism", "OAUTHBEARER")
            .with("sasl.oauthbearer.method", "oidc")
            .with("sasl.oauthbearer.token.endpoint.url", url)
            .with("sasl.oauthbearer.client.id", id)
            .with("sasl.oauthbearer.client.secret", secret);
        if let Some(scope) = &self.scope {
            connection = connection.with("sasl.oauthbearer.scope", scope.as_str());
        }
        Ok(connection)
    }

    fn user_and_password(&self, mechanism: &str) -> anyhow::Result<(&str, &str)> {
        let missing = |what: &str, variable: &str| {
            format!("kafka_security.sasl = {mechanism:?} needs a {what}: set {variable}")
        };
        let user = self.user.as_deref();
        let password = self.password.as_deref();
        Ok((
            user.with_context(|| missing("user", "TINTYPE_KAFKA_USER"))?,
            password.with_context(|| missing("password", "TINTYPE_KAFKA_PASSWORD"))?,
        ))
    }

    fn is_encrypted(&self) -> bool {
        self.tls || self.ca.is_some() || self.certificate.is_some()
    }

    /// For a person, without the password.
    pub fn words(&self) -> String {
        let tls = match (self.is_encrypted(), &self.certificate) {
            (false, _) => "no TLS",
            (true, None) => "TLS",
            (true, Some(_)) => "TLS with a certificate of its own",
        };
        match (&self.sasl, &self.user) {
            (None, _) => tls.to_owned(),
            (Some(sasl), None) => format!("{tls}, SASL {sasl}"),
            (Some(sasl), Some(user)) => format!("{tls}, SASL {sasl} as {user}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(security: &KafkaSecurity) -> String {
        format!("{:#}", security.connection("k:9092").unwrap_err())
    }

    fn secure() -> KafkaSecurity {
        KafkaSecurity {
            tls: true,
            sasl: Some("scram-sha-512".into()),
            user: Some("me".into()),
            password: Some("s3cret".into()),
            ..KafkaSecurity::default()
        }
    }

    #[test]
    fn without_settings_nothing_is_asked_and_half_of_them_are_refused() {
        let plain = KafkaSecurity::default().connection("k:9092").unwrap();
        assert_eq!(plain.settings().count(), 1);
        let half = KafkaSecurity {
            user: Some("me".into()),
            ..KafkaSecurity::default()
        };
        assert!(refused(&half).contains("TINTYPE_KAFKA_SASL"));
    }

    #[test]
    fn the_environment_fills_what_the_file_left_open() {
        let mut security: KafkaSecurity = toml::from_str("tls = true\nuser = \"me\"").unwrap();
        security
            .apply_environment(|name| match name {
                "TINTYPE_KAFKA_SASL" => Some("plain".into()),
                "TINTYPE_KAFKA_PASSWORD" => Some("s3cret".into()),
                "TINTYPE_KAFKA_CA" => Some(String::new()),
                _ => None,
            })
            .unwrap();
        assert_eq!(security.words(), "TLS, SASL plain as me");
        assert!(!format!("{security:?}").contains("s3cret"));
        assert!(
            security
                .apply_environment(|_| Some("perhaps".into()))
                .is_err()
        );
        assert!(toml::from_str::<KafkaSecurity>("tlss = true").is_err());
    }

    #[test]
    #[cfg(not(feature = "kafka-tls"))]
    fn a_build_without_tls_says_so_instead_of_connecting_without() {
        let told = refused(&secure());
        assert!(
            told.contains("--features kafka-tls") && !told.contains("s3cret"),
            "{told}"
        );
    }

    #[test]
    #[cfg(feature = "kafka-tls")]
    fn librdkafka_takes_the_settings_and_what_is_missing_is_named() {
        use rdkafka::config::ClientConfig;
        use rdkafka::consumer::BaseConsumer;

        for sasl in ["plain", "scram-sha-256", "scram-sha-512"] {
            let security = KafkaSecurity {
                sasl: Some(sasl.into()),
                ..secure()
            };
            let mut config = ClientConfig::new();
            for (name, value) in security.connection("k:9092").unwrap().settings() {
                config.set(name, value);
            }
            let made: Result<BaseConsumer, _> = config.create();
            assert!(made.is_ok(), "{sasl}: {:?}", made.err());
        }
        let without = |change: fn(&mut KafkaSecurity)| {
            let mut security = secure();
            change(&mut security);
            refused(&security)
        };
        assert!(without(|s| s.password = None).contains("TINTYPE_KAFKA_PASSWORD"));
        assert!(without(|s| s.ca = Some("/nowhere".into())).contains("/nowhere"));
        assert!(without(|s| s.key = Some("Cargo.toml".into())).contains("certificate"));
        assert!(without(|s| s.sasl = Some("gssapi".into())).contains("scram-sha-256"));
        let open = without(|s| {
            s.tls = false;
            s.sasl = Some("plain".into());
        });
        assert!(open.contains("for all to read"), "{open}");
    }
}
