//! The HTTP side: metrics and health, the query API and the page. It reads what the loops show and never touches the data path.

pub mod api;
pub mod health;
pub mod measure;
pub mod page;
pub mod server;
pub mod site;
