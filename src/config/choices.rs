//! Settings that are one of a few words.
//!
//! Words are read in any case, because Kafka's own documents write `SASL_SSL`, and shown in ours.

use toml::Value;

use super::value::{Field, Kind};

/// Defines a setting that is one of a few words.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// Returns the word that stands for it in the configuration.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }
        }

        impl Field for $name {
            const KIND: Kind = Kind::Choice(&[$($word),+]);

            fn parse(text: &str) -> Result<$name, String> {
                for (word, value) in [$(($word, $name::$variant)),+] {
                    if word.eq_ignore_ascii_case(text.trim()) {
                        return Ok(value);
                    }
                }
                Err(format!("{text:?} is none of {}", [$($word),+].join(", ")))
            }

            fn shown(&self) -> Value {
                Value::String(self.as_str().to_owned())
            }
        }
    };
}

choice! {
    /// How a log line is written.
    LogFormat {
        /// Text on a terminal, else JSON.
        Auto = "auto",
        Json = "json",
        Text = "text",
    }
}

choice! {
    /// Which fields of a notification name its stream.
    StreamKey {
        /// Push domain, push path and stream id: two of a name on different domains are two streams.
        Full = "app/appname/stream_id",
        /// The stream id alone, for topics whose push events carry fields that the recordings lack.
        StreamId = "stream_id",
    }
}

choice! {
    /// Where a partition without a committed offset begins.
    Start {
        Earliest = "earliest",
        Latest = "latest",
    }
}

choice! {
    /// How brokers are talked to.
    SecurityProtocol {
        Plaintext = "plaintext",
        Ssl = "ssl",
        SaslPlaintext = "sasl_plaintext",
        SaslSsl = "sasl_ssl",
    }
}

choice! {
    /// How a client proves who it is.
    SaslMechanism {
        Plain = "PLAIN",
        ScramSha256 = "SCRAM-SHA-256",
        ScramSha512 = "SCRAM-SHA-512",
        OAuthBearer = "OAUTHBEARER",
    }
}

impl SecurityProtocol {
    /// Returns whether connections are encrypted.
    pub fn uses_tls(self) -> bool {
        matches!(self, SecurityProtocol::Ssl | SecurityProtocol::SaslSsl)
    }

    /// Returns whether a client logs in.
    pub fn uses_sasl(self) -> bool {
        matches!(self, SecurityProtocol::SaslPlaintext | SecurityProtocol::SaslSsl)
    }
}

impl SaslMechanism {
    /// Returns whether the login is a name and a password.
    pub fn needs_password(self) -> bool {
        !matches!(self, SaslMechanism::OAuthBearer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_read_in_any_case() {
        assert_eq!(SecurityProtocol::parse("SASL_SSL"), Ok(SecurityProtocol::SaslSsl));
        assert_eq!(SaslMechanism::parse("scram-sha-512"), Ok(SaslMechanism::ScramSha512));
        assert_eq!(Start::parse("newest"), Err("\"newest\" is none of earliest, latest".to_owned()));
    }

    #[test]
    fn only_the_protocols_that_say_so_encrypt_and_log_in() {
        for (protocol, tls, sasl) in [
            (SecurityProtocol::Plaintext, false, false),
            (SecurityProtocol::Ssl, true, false),
            (SecurityProtocol::SaslPlaintext, false, true),
            (SecurityProtocol::SaslSsl, true, true),
        ] {
            assert_eq!((protocol.uses_tls(), protocol.uses_sasl()), (tls, sasl), "{}", protocol.as_str());
        }
    }
}
