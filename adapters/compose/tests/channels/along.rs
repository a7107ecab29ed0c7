//! What goes along with the sub-calls of combined channels ([W3](hedge_compose::hedge_core::rules#W3)).

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use hedge_compose::hedge_core::id::IdempotencyKey;
use hedge_compose::hedge_fleet::{BoxCaller, CallOptions, Caller};
use hedge_compose::{Parallel, Selective};

use crate::tree::in_order;
use crate::world::{Answer, Clock, Leaf, Said, Wrong};

/// What went along with one sub-call: its log id, its request id, and its key.
type Told = (Option<u64>, Option<String>, Option<IdempotencyKey>);

/// A channel that writes down what goes along.
#[derive(Clone)]
struct Writes {
    leaf: Leaf,
    wants_key: bool,
    told: Arc<Mutex<Vec<Told>>>,
}

impl Caller<String> for Writes {
    type Reply = Said;
    type Error = Wrong;

    async fn call_with(&self, request: &String, options: &CallOptions) -> Result<Said, Wrong> {
        let along = options.along.clone().unwrap_or_default();
        let id = along.request_id.map(|id| id.as_str().to_owned());
        self.told.lock().unwrap().push((along.log_id, id, along.idempotency_key));
        self.leaf.call_with(request, options).await
    }

    fn wants_key(&self) -> bool {
        self.wants_key
    }
}

struct World {
    clock: Clock,
    told: Arc<Mutex<Vec<Told>>>,
}

impl World {
    fn new() -> Self {
        Self { clock: Clock::default(), told: Arc::default() }
    }

    fn channel(&self, name: &str, answer: Answer, wants_key: bool) -> Writes {
        Writes { leaf: Leaf::new(&self.clock, name, &[(answer, 0)]), wants_key, told: Arc::clone(&self.told) }
    }

    /// Makes a call, and returns what its sub-calls were told.
    fn told<C: Caller<String>>(&self, caller: &C, options: &CallOptions) -> Vec<Told> {
        drop(self.clock.run(caller.call_with(&String::new(), options)));
        std::mem::take(&mut *self.told.lock().unwrap())
    }
}

fn selective<C: Caller<String> + 'static>(world: &World, channels: [C; 2]) -> Selective<C, Clock> {
    let [a, b] = channels;
    Selective::builder(world.clock.clone()).seed(in_order(2)).channel("a", a).channel("b", b).build().unwrap()
}

fn with_ids() -> CallOptions {
    CallOptions::new().with_log_id(7).with_request_id("r").unwrap()
}

#[test]
fn w3_the_sub_calls_of_a_selective_call_carry_one_key() {
    let world = World::new();
    let two = |wants: [bool; 2]| {
        selective(
            &world,
            [("a", Answer::Fail, wants[0]), ("b", Answer::Ok, wants[1])].map(|(n, a, w)| world.channel(n, a, w)),
        )
    };
    for wants in [[true, true], [false, true]] {
        let channel = two(wants);
        assert!(Caller::<String>::wants_key(&channel));
        let mut keys = HashSet::new();
        for _ in 0..4 {
            let told = world.told(&channel, &with_ids());
            assert!(told.iter().all(|call| *call == told[0]), "{told:?}");
            assert_eq!((told[0].0, told[0].1.as_deref()), (Some(7), Some("r")));
            assert!(keys.insert(told[0].2.unwrap()), "each call has a key of its own");
        }
    }
    // The caller's own key stays. If no sub-channel sends keys, no key is drawn.
    let key = IdempotencyKey::from_bytes([9; 16]);
    let told = world.told(&two([true, true]), &CallOptions::new().with_idempotency_key(key));
    assert_eq!((told.len(), told[0].2, told[1].2), (2, Some(key), Some(key)));
    let channel = two([false, false]);
    assert!(!Caller::<String>::wants_key(&channel));
    assert!(world.told(&channel, &with_ids()).iter().all(|call| call.2.is_none()));
}

#[test]
fn w3_a_key_goes_down_through_nested_and_boxed_channels() {
    let world = World::new();
    let inner = || {
        let channels = ["a", "b"].map(|name| world.channel(name, Answer::Fail, true));
        Arc::new(
            Selective::builder(world.clock.clone())
                .channel("a", channels[0].clone())
                .channel("b", channels[1].clone())
                .build()
                .unwrap(),
        )
    };
    let boxed = [BoxCaller::new(inner()), BoxCaller::new(inner())];
    let channel = selective(&world, boxed);
    assert!(Caller::<String>::wants_key(&channel));
    let told = world.told(&channel, &CallOptions::new());
    assert!(told.len() >= 4 && told[0].2.is_some() && told.iter().all(|call| call.2 == told[0].2), "{told:?}");
}

#[test]
fn w3_the_parts_of_a_parallel_call_share_ids_and_no_key() {
    let world = World::new();
    let mut builder = Parallel::builder(world.clock.clone());
    for name in ["a", "b"] {
        builder = builder.channel(name, world.channel(name, Answer::Ok, true));
    }
    let channel = builder.build().unwrap();
    let options = with_ids().with_idempotency_key(IdempotencyKey::from_bytes([9; 16]));
    let told = world.told(&channel, &options);
    assert_eq!(told, vec![(Some(7), Some("r".to_owned()), None); 2], "each part draws its own");
    assert!(!Caller::<String>::wants_key(&channel));
}
