//! One attempt at a service: [`Attempt`].

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_service::Service;

pin_project! {
    /// Waits for a service to become ready, and then for its response. This is an enum to save memory: it has room for
    /// the larger of its two states. The future of an `async fn` would have room for both, and hold each of them twice.
    #[project = Doing]
    pub(crate) enum Attempt<S, Request, F> {
        /// The service has been called.
        Called {
            #[pin]
            response: F,
        },
        /// The service must still become ready. `request` is `None` if the request could not be copied; nothing is sent
        /// then.
        Unready { service: S, request: Option<Request> },
    }
}

impl<S, Request> Future for Attempt<S, Request, S::Future>
where
    S: Service<Request>,
{
    /// The response, or the error of the service. The error is `None` if the request could not be copied, so nothing
    /// was sent.
    type Output = Result<S::Response, Option<S::Error>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let called = match self.as_mut().project() {
                Doing::Called { response } => return response.poll(cx).map_err(Some),
                Doing::Unready { service, request } => {
                    if request.is_some() {
                        ready!(service.poll_ready(cx)).map_err(Some)?;
                    }
                    let Some(request) = request.take() else { return Poll::Ready(Err(None)) };
                    service.call(request)
                }
            };
            self.set(Self::Called { response: called });
        }
    }
}
