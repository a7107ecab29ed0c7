//! What the API of Kubernetes answers: EndpointSlices of `discovery.k8s.io/v1`, and the events of a watch.

use serde::Deserialize;

use crate::few::Few;

/// How many slices are asked for with one request.
pub(super) const PAGE: usize = 500;
/// The most slices of one answer. A server may ignore what was asked for.
const MOST_SLICES: usize = 1_000;
/// The largest number of endpoints that the API allows in a slice.
const MOST_ENDPOINTS: usize = 1_000;
/// The largest number of addresses of an endpoint, and of ports of a slice, that the API allows.
const MOST_PARTS: usize = 100;

#[derive(Debug, Deserialize)]
pub(super) struct SliceList {
    #[serde(default)]
    pub(super) metadata: ListMetadata,
    pub(super) items: Few<Slice, MOST_SLICES>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListMetadata {
    #[serde(default)]
    pub(super) resource_version: String,
    #[serde(default, rename = "continue")]
    pub(super) next: Option<String>,
}

/// An EndpointSlice, or the status of an error.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Slice {
    #[serde(default)]
    pub(super) metadata: Metadata,
    #[serde(default)]
    pub(super) endpoints: Few<Endpoint, MOST_ENDPOINTS>,
    /// `None`: all ports.
    pub(super) ports: Option<Few<SlicePort, MOST_PARTS>>,
    /// The status of an error.
    pub(super) code: Option<u16>,
    /// The text of an error.
    pub(super) message: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) resource_version: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Endpoint {
    #[serde(default)]
    pub(super) addresses: Few<String, MOST_PARTS>,
    pub(super) conditions: Option<Conditions>,
    pub(super) zone: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Conditions {
    /// `None` means that it is ready.
    pub(super) ready: Option<bool>,
}

#[derive(Debug, Deserialize)]
pub(super) struct SlicePort {
    pub(super) name: Option<String>,
    pub(super) port: Option<u16>,
}

/// One message of a watch.
#[derive(Debug, Deserialize)]
pub(super) struct Event {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) object: Slice,
}
