//! Where to listen: the command line and the configuration write it alike.

pub(crate) use sterna_gateway::config::{Listen, ResolveError};
