//! The HTTP side over an index, as clients meet it: through a socket.

pub mod answers;
pub mod connections;
pub mod crowd;
pub mod hostile;
pub mod openapi;
pub mod page;
pub mod support;
