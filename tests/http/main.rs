//! The HTTP side over an index, as clients meet it: through a socket.

mod answers;
mod hostile;
mod openapi;
mod page;
mod support;
