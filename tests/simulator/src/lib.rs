//! The real core against seeded models of servers in virtual time
