//! Support for the tests on a broker: brokers, processes, a proxy, traffic, deployments, the audit.

pub mod acl;
pub mod audit;
pub mod beside;
pub mod broker;
pub mod deployment;
pub mod fixture;
pub mod live;
pub mod process;
pub mod program;
pub mod proxy;
pub mod traffic;
