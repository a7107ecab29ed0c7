//! Splits the servers of one name by their tags `i/n`: [`Groups`].

use std::collections::BTreeMap;
use std::fmt;

use hedge_core::balance::{Partition as Place, TagError, TagWords};
use hedge_core::cluster::ClusterError;
use hedge_fleet::Server;

/// How many warnings about servers are kept, so that a list that has no partitions needs no more memory than its
/// servers.
const MAX_WARNINGS: usize = 1_000;

/// How many missing partitions a warning names.
const MAX_MISSING: usize = 16;

/// Why servers of a name are not used, or why some partitions have none ([X3](hedge_core::rules#X3)).
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PartitionWarning {
    /// The tag of a server cannot be read. For example, its index is not below its number of partitions.
    BadTag {
        /// The server.
        server: Server,
        /// What is wrong with the tag.
        error: TagError,
    },
    /// The tag of a server names no partition.
    NoPartition {
        /// The server.
        server: Server,
    },
    /// The number of partitions in the tag of a server is not the number of partitions of the channel.
    OtherCount {
        /// The server.
        server: Server,
        /// How many partitions the channel has.
        count: u32,
    },
    /// Some of the partitions have no server.
    Incomplete {
        /// The number of partitions.
        count: u32,
        /// How many of them have no server.
        missing: u32,
        /// The indices of the first partitions without a server, at most 16.
        first: Vec<u32>,
    },
    /// The program could not make the channel for this number of partitions.
    NotBuilt {
        /// The number of partitions.
        count: u32,
        /// What the program says.
        error: String,
    },
}

impl fmt::Display for PartitionWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadTag { server, error } => write!(f, "{server}: {error}"),
            Self::NoPartition { server } => {
                write!(f, "{server}: the tag names no partition; write, for example, \"0/3\"")
            }
            Self::OtherCount { server, count } => write!(f, "{server}: the channel has {count} partitions"),
            Self::Incomplete { count, missing, first } => {
                let first: Vec<_> = first.iter().map(|index| format!("{index}/{count}")).collect();
                let more =
                    if usize::try_from(*missing).is_ok_and(|missing| missing > first.len()) { ", …" } else { "" };
                write!(f, "{missing} of {count} partitions have no server: {}{more}", first.join(", "))
            }
            Self::NotBuilt { count, error } => write!(f, "the channel of {count} partitions was not made: {error}"),
        }
    }
}

/// What is known about the servers of a name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct PartitionStatus {
    /// One group for each number of partitions that is in the tags of servers. The calls of a
    /// [`DynamicPartition`](crate::DynamicPartition) use only complete groups.
    pub groups: Vec<PartitionGroup>,
    /// What is wrong with the last list, at most 1,000 warnings about servers.
    pub warnings: Vec<PartitionWarning>,
    /// How many more warnings about servers there were.
    pub more_warnings: usize,
    /// Why the balancer of a [`DynamicPartition`](crate::DynamicPartition) could not take the numbers of partitions.
    /// Calls still use the numbers of partitions from before.
    pub list_error: Option<ClusterError>,
    /// The last error of the source, if its last answer was an error. The last list stays in use.
    pub source_error: Option<String>,
}

/// The servers of a name whose tags have the same number of partitions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PartitionGroup {
    /// The number of partitions.
    pub count: u32,
    /// How many servers there are.
    pub servers: u32,
    /// Whether every partition has a server.
    pub is_complete: bool,
}

impl PartitionStatus {
    fn warn(&mut self, warning: PartitionWarning) {
        if self.warnings.len() < MAX_WARNINGS { self.warnings.push(warning) } else { self.more_warnings += 1 }
    }
}

/// The servers of a name, by the number of partitions and by the index of the partition. It holds only what has servers,
/// so a tag with a large number of partitions costs no more than any other.
pub(super) type Groups = BTreeMap<u32, BTreeMap<u32, Vec<Server>>>;

/// Splits servers. If `count` is set, servers of other numbers of partitions are left out.
pub(super) fn split(servers: Vec<Server>, count: Option<u32>) -> (Groups, PartitionStatus) {
    let (mut groups, mut status) = (Groups::new(), PartitionStatus::default());
    if let Some(count) = count {
        groups.insert(count, BTreeMap::new());
    }
    for server in servers {
        match TagWords::parse(&server.tag).map(|words| words.partition) {
            Err(error) => status.warn(PartitionWarning::BadTag { server, error }),
            Ok(None) => status.warn(PartitionWarning::NoPartition { server }),
            Ok(Some(place)) if count.is_some_and(|count| count != place.count().get()) => {
                status.warn(PartitionWarning::OtherCount { server, count: count.unwrap_or(0) });
            }
            Ok(Some(place)) => add(&mut groups, place, server),
        }
    }
    for (count, lists) in &mut groups {
        for list in lists.values_mut() {
            list.sort_unstable();
            list.dedup();
        }
        let group = PartitionGroup { count: *count, servers: capacity(lists), is_complete: is_complete(*count, lists) };
        status.groups.push(group);
        if !group.is_complete {
            let missing = (0..*count).filter(|index| !lists.contains_key(index)).take(MAX_MISSING).collect();
            let with_servers = u32::try_from(lists.len()).unwrap_or(u32::MAX);
            let missing_count = count.saturating_sub(with_servers);
            status.warnings.push(PartitionWarning::Incomplete {
                count: *count,
                missing: missing_count,
                first: missing,
            });
        }
    }
    (groups, status)
}

fn add(groups: &mut Groups, place: Place, server: Server) {
    groups.entry(place.count().get()).or_default().entry(place.index()).or_default().push(server);
}

/// Whether every partition has a server.
pub(super) fn is_complete(count: u32, lists: &BTreeMap<u32, Vec<Server>>) -> bool {
    usize::try_from(count).is_ok_and(|count| count == lists.len())
}

/// How many servers there are.
pub(super) fn capacity(lists: &BTreeMap<u32, Vec<Server>>) -> u32 {
    u32::try_from(lists.values().map(Vec::len).sum::<usize>()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(text: &str) -> Vec<Server> {
        hedge_fleet::parse_servers(text).unwrap()
    }

    fn warnings(status: &PartitionStatus) -> Vec<String> {
        status.warnings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn x3_servers_are_split_by_the_partitions_in_their_tags() {
        let list = "list://10.0.0.1:1 0/2,10.0.0.2:1 1/2,10.0.0.3:1 partition=1/2 zone=a,10.0.0.4:1 0/1";
        let (groups, status) = split(servers(list), None);
        let sizes: Vec<_> =
            groups.iter().map(|(count, lists)| (*count, lists.values().map(Vec::len).collect())).collect();
        assert_eq!(sizes, [(1, vec![1]), (2, vec![1, 2])]);
        assert!(status.groups.iter().all(|group| group.is_complete) && status.warnings.is_empty());
    }

    #[test]
    fn x3_servers_that_cannot_be_used_are_named_with_the_reason() {
        let list = "list://10.0.0.1:1 0/2,10.0.0.2:1 2/2,10.0.0.3:1,10.0.0.4:1 0/3,10.0.0.5:1 0/0";
        let (groups, status) = split(servers(list), Some(2));
        assert_eq!(groups.len(), 1);
        let expected = [
            "10.0.0.2:1 2/2: tag: partition must be",
            "10.0.0.3:1: the tag names no partition; write, for example, \"0/3\"",
            "10.0.0.4:1 0/3: the channel has 2 partitions",
            "10.0.0.5:1 0/0: tag: partition must be",
            "1 of 2 partitions have no server: 1/2",
        ];
        let warnings = warnings(&status);
        assert_eq!(warnings.len(), expected.len(), "{warnings:#?}");
        for (warning, expected) in warnings.iter().zip(expected) {
            assert!(warning.starts_with(expected), "{warning}");
        }
    }

    #[test]
    fn x3_a_hostile_list_costs_no_more_than_its_servers() {
        let (groups, status) = split(servers("list://10.0.0.1:1 7/4294967295,10.0.0.2:1 1/4000000000"), None);
        assert_eq!((groups.len(), status.groups.iter().filter(|group| group.is_complete).count()), (2, 0));
        assert!(
            warnings(&status)[1].starts_with("4294967294 of 4294967295 partitions have no server: 0/4294967295, 1/")
        );
        let many = (0..3_000_u16).map(|port| Server::from(std::net::SocketAddr::from(([10, 0, 0, 1], port)))).collect();
        let (_, status) = split(many, Some(1));
        assert_eq!((status.warnings.len(), status.more_warnings), (1_001, 2_000));
    }
}
