//! Futures that run at the same time: [`both`] and [`all`].

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};

use hedge_core::time::Duration;
use hedge_link::{Runtime, before};

/// Runs two futures at the same time. Once one of them has an output for which `is_enough` is true, the other one has
/// only `patience` left. Its output is `None` if it was not ready by then.
pub(super) async fn both<O>(
    runtime: &impl Runtime,
    patience: Duration,
    is_enough: impl Fn(&O) -> bool,
    one: impl Future<Output = O>,
    other: impl Future<Output = O>,
) -> (Option<O>, Option<O>) {
    let (mut one, mut other) = (pin!(one), pin!(other));
    let (mut first, mut second) = (None, None);
    // Returns whether there is enough, and whether there is all.
    let mut run = |cx: &mut Context<'_>| {
        if first.is_none()
            && let Poll::Ready(output) = one.as_mut().poll(cx)
        {
            first = Some(output);
        }
        if second.is_none()
            && let Poll::Ready(output) = other.as_mut().poll(cx)
        {
            second = Some(output);
        }
        (first.iter().chain(&second).any(&is_enough), first.is_some() && second.is_some())
    };
    let until = |reached: bool| if reached { Poll::Ready(()) } else { Poll::Pending };
    poll_fn(|cx| {
        let (is_enough, is_all) = run(cx);
        until(is_enough || is_all)
    })
    .await;
    before(runtime, Some(runtime.now() + patience), poll_fn(|cx| until(run(cx).1))).await;
    (first, second)
}

/// Runs futures, `most` of them at the same time, and returns their outputs in their order.
pub(super) async fn all<F: Future>(most: usize, futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut places: Vec<_> = futures.into_iter().map(|future| (Some(Box::pin(future)), None)).collect();
    poll_fn(move |cx| {
        let mut running = 0;
        for (place, output) in &mut places {
            let Some(future) = place else { continue };
            if running == most {
                break;
            }
            match future.as_mut().poll(cx) {
                Poll::Ready(ready) => (*place, *output) = (None, Some(ready)),
                Poll::Pending => running += 1,
            }
        }
        if running > 0 {
            return Poll::Pending;
        }
        Poll::Ready(places.drain(..).filter_map(|(_, output)| output).collect())
    })
    .await
}
