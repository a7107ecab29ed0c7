//! The queue of a server and its ties, as a plain state machine: [`TieQueue`].

use std::collections::{BTreeSet, HashMap, VecDeque};

use hedge_core::id::IdempotencyKey;

/// How many other servers a copy can be tied to. If a call has more backups, this copy does not tell their servers.
const PEERS: usize = 4;

/// The queue of a server, and the ties between its copies of requests and copies on other servers
/// ([Y1](hedge_core::rules#Y1)). It does no I/O and reads no clock. [`TiedLayer`](super::TiedLayer) is built on it.
/// Use it directly in a server that is not a tower service. `P` names another server.
///
/// At most `concurrency` copies are at work. At most `waiting` copies wait, in the order of their arrival. A copy with
/// a key can be tied: the servers then tell each other which copy has begun.
///
/// A copy of a backup knows the server of the first attempt. It is *held* at first: it asks that server, and begins only
/// after the answer or after [`release`](Self::release). A held copy keeps its place in the queue, but copies that
/// arrived later may begin before it.
///
/// # Contract
/// * A copy is dropped only if a server says that its own copy has begun. A copy that has begun is never dropped. So of
///   the copies of one call at least one begins, whatever messages are late or lost.
/// * After each input, take all [effects](Self::next_effect).
/// * Each copy that arrived must [`leave`](Self::leave) once: when its work has ended, when it was dropped, or when its
///   client does not wait any more. What the queue knows of a copy ends then.
///
/// # Cost
/// An input costs O(log n) for n waiting copies. Memory is bounded by `concurrency + waiting` copies and by the dropped
/// copies that have not left. A copy takes some 100 bytes.
#[derive(Clone, Debug)]
pub struct TieQueue<P> {
    concurrency: usize,
    max_waiting: usize,
    copies: HashMap<CopyId, Copy<P>>,
    /// The copies that may begin, in the order of arrival.
    ready: BTreeSet<CopyId>,
    /// The copy of each key. A copy is here until it is dropped or leaves.
    keys: HashMap<IdempotencyKey, CopyId>,
    held: usize,
    at_work: usize,
    next: u64,
    effects: VecDeque<Effect<P>>,
}

/// A copy of a request in the queue of one server.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct CopyId(u64);

/// What a copy does at present.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CopyState {
    /// It waits for the answer of the first attempt's server.
    Held,
    /// It waits for its turn.
    Waiting,
    /// It has begun. It stays so until it leaves.
    Begun,
    /// A copy on another server has begun, so this copy will not begin.
    Dropped,
}

/// What a server has to do after an input of its queue.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Effect<P> {
    /// The state of the copy is now [`Begun`](CopyState::Begun) or [`Dropped`](CopyState::Dropped).
    Changed(CopyId),
    /// Ask this server with [`asked`](TieQueue::asked), and hand its answer to [`answered`](TieQueue::answered). If there
    /// is no answer in time, call [`release`](TieQueue::release).
    Ask {
        /// The server of the first attempt.
        to: P,
        /// The key of the call.
        key: IdempotencyKey,
        /// The copy that waits for the answer.
        copy: CopyId,
    },
    /// Tell this server with [`told`](TieQueue::told) that a copy has begun here.
    Tell {
        /// A server that has another copy of the call.
        to: P,
        /// The key of the call.
        key: IdempotencyKey,
    },
}

/// What a server says about its own copy when another server asks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Answer {
    /// The copy has begun here and is still at work.
    Begun,
    /// The copy has not begun here, or is not known, or has left.
    NotBegun,
}

/// The reason why a copy was refused: too many copies wait already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueueFull;

#[derive(Clone, Debug)]
struct Copy<P> {
    state: CopyState,
    tie: Option<Tie<P>>,
}

/// The key of a copy, and the servers to tell when it begins.
#[derive(Clone, Debug)]
struct Tie<P> {
    key: IdempotencyKey,
    peers: Vec<P>,
}

impl<P: core::marker::Copy + Eq> TieQueue<P> {
    /// Makes an empty queue. `concurrency` copies may be at work at once; 0 counts as 1. `waiting` copies may wait.
    #[must_use]
    pub fn new(concurrency: usize, waiting: usize) -> Self {
        Self {
            concurrency: concurrency.max(1),
            max_waiting: waiting,
            copies: HashMap::new(),
            ready: BTreeSet::new(),
            keys: HashMap::new(),
            held: 0,
            at_work: 0,
            next: 0,
            effects: VecDeque::new(),
        }
    }

    /// A request arrives. `key` is the key of its call, if it has one. `first` is the server of the call's first attempt,
    /// if the request is a backup and that server may be contacted.
    ///
    /// A copy whose key is in the queue already is not tied.
    ///
    /// # Errors
    /// [`QueueFull`], if the copy would have to wait and too many copies wait already.
    pub fn arrive(&mut self, key: Option<IdempotencyKey>, first: Option<P>) -> Result<CopyId, QueueFull> {
        let full = self.waiting() >= self.max_waiting;
        if full && !self.has_room() {
            return Err(QueueFull);
        }
        let id = CopyId(self.next);
        self.next += 1;
        let key = key.filter(|key| !self.keys.contains_key(key));
        let tie = key.map(|key| Tie { key, peers: first.into_iter().collect() });
        let mut state = CopyState::Waiting;
        if let Some(key) = key {
            self.keys.insert(key, id);
            // A full queue has no place for a copy that is held. Such a copy begins at once and tells the other server.
            if let (Some(to), false) = (first, full) {
                state = CopyState::Held;
                self.effects.push_back(Effect::Ask { to, key, copy: id });
            }
        }
        match state {
            CopyState::Held => self.held += 1,
            _ => _ = self.ready.insert(id),
        }
        self.copies.insert(id, Copy { state, tie });
        self.begin();
        Ok(id)
    }

    /// Takes the answer of the server that was asked about this copy.
    pub fn answered(&mut self, copy: CopyId, answer: Answer) {
        match answer {
            Answer::Begun => self.drop_copy(copy),
            Answer::NotBegun => self.release(copy),
        }
    }

    /// Lets a held copy begin when its turn comes, as the answer did not come in time.
    pub fn release(&mut self, copy: CopyId) {
        if let Some(it) = self.copies.get_mut(&copy)
            && it.state == CopyState::Held
        {
            it.state = CopyState::Waiting;
            self.held -= 1;
            self.ready.insert(copy);
            self.begin();
        }
    }

    /// The server `from` asks about its own copy with this key, which waits there. The copy here, if it has not begun, is
    /// tied to it from now on.
    pub fn asked(&mut self, from: P, key: IdempotencyKey) -> Answer {
        let Some(copy) = self.keys.get(&key).and_then(|id| self.copies.get_mut(id)) else { return Answer::NotBegun };
        if copy.state == CopyState::Begun {
            return Answer::Begun;
        }
        if let Some(tie) = &mut copy.tie
            && tie.peers.len() < PEERS
            && !tie.peers.contains(&from)
        {
            tie.peers.push(from);
        }
        Answer::NotBegun
    }

    /// Another server says that its copy with this key has begun. The copy here is dropped, unless it has begun. Returns
    /// whether a copy was dropped.
    pub fn told(&mut self, key: IdempotencyKey) -> bool {
        let Some(id) = self.keys.get(&key).copied() else { return false };
        self.drop_copy(id);
        self.state(id) == Some(CopyState::Dropped)
    }

    /// The copy leaves: its work has ended, it was dropped, or its client does not wait any more.
    pub fn leave(&mut self, copy: CopyId) {
        let Some(it) = self.copies.remove(&copy) else { return };
        match it.state {
            CopyState::Held => self.held -= 1,
            CopyState::Waiting => _ = self.ready.remove(&copy),
            CopyState::Begun => self.at_work -= 1,
            CopyState::Dropped => return,
        }
        if let Some(tie) = it.tie {
            self.keys.remove(&tie.key);
        }
        self.begin();
    }

    /// The state of a copy. `None` after it has left.
    #[must_use]
    pub fn state(&self, copy: CopyId) -> Option<CopyState> {
        self.copies.get(&copy).map(|copy| copy.state)
    }

    /// How many copies wait, those that are held included.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.ready.len() + self.held
    }

    /// How many copies are at work.
    #[must_use]
    pub const fn at_work(&self) -> usize {
        self.at_work
    }

    /// Takes the next thing to do, in the order in which they arose. `None` if there is nothing to do.
    pub fn next_effect(&mut self) -> Option<Effect<P>> {
        self.effects.pop_front()
    }

    /// Whether a copy that arrives now begins at once, if it is not held.
    fn has_room(&self) -> bool {
        self.at_work < self.concurrency && self.ready.is_empty()
    }

    /// Begins the copies whose turn it is, and tells the servers that have copies of their calls.
    fn begin(&mut self) {
        while self.at_work < self.concurrency
            && let Some(id) = self.ready.pop_first()
        {
            let Some(copy) = self.copies.get_mut(&id) else { continue };
            copy.state = CopyState::Begun;
            self.at_work += 1;
            self.effects.push_back(Effect::Changed(id));
            if let Some(Tie { key, peers }) = &mut copy.tie {
                let key = *key;
                self.effects.extend(peers.drain(..).map(|to| Effect::Tell { to, key }));
            }
        }
    }

    /// Drops a copy that has not begun.
    fn drop_copy(&mut self, id: CopyId) {
        let Some(copy) = self.copies.get_mut(&id) else { return };
        match copy.state {
            CopyState::Held => self.held -= 1,
            CopyState::Waiting => _ = self.ready.remove(&id),
            CopyState::Begun | CopyState::Dropped => return,
        }
        copy.state = CopyState::Dropped;
        if let Some(tie) = copy.tie.take() {
            self.keys.remove(&tie.key);
        }
        self.effects.push_back(Effect::Changed(id));
    }
}

#[cfg(test)]
mod tests;
