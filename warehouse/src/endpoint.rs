//! Where a ClickHouse is, and as whom to speak to it.

use std::fmt;

use schemas::generation::Generation;

/// A ClickHouse HTTP endpoint. Its `Debug` form does not show the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `http://host:port`.
    pub url: String,
    /// The user.
    pub user: String,
    /// The user's password.
    pub password: String,
    /// The database of the project's tables.
    pub database: String,
}

impl Endpoint {
    /// An endpoint from its four parts.
    pub fn new(
        url: impl Into<String>,
        user: impl Into<String>,
        password: impl Into<String>,
        database: impl Into<String>,
    ) -> Self {
        Self { url: url.into(), user: user.into(), password: password.into(), database: database.into() }
    }
}

impl Endpoint {
    /// The same for the tables of another generation, where these are those of the first.
    #[must_use]
    pub fn of_generation(&self, generation: Generation) -> Self {
        Self { database: generation.database(&self.database), ..self.clone() }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Endpoint")
            .field("url", &self.url)
            .field("user", &self.user)
            .field("password", &"…")
            .field("database", &self.database)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_not_shown() {
        let shown = format!("{:?}", Endpoint::new("http://h:1", "u", "hunter2", "d"));
        assert!(shown.contains("http://h:1") && !shown.contains("hunter2"));
    }
}
