//! Decides what an attempt's result means for its call: [`RetryPolicy`].

use crate::outcome::{ErrorKind, Judgement, Pushback, Verdict};

/// An error type that the default retry policy can judge.
pub trait AttemptError {
    /// Returns the kind of failure that this error is.
    fn kind(&self) -> ErrorKind;

    /// Returns whether the request certainly never left this client ([T4](crate::rules#T4)).
    fn never_left(&self) -> bool {
        self.kind().never_left()
    }

    /// Returns whether this error says nothing about the server. This is so if the attempt failed at this client, or if
    /// the caller caused the failure ([S7](crate::rules#S7)). The default is true for [`ErrorKind::Local`],
    /// [`ErrorKind::ServerGone`], [`ErrorKind::Overcrowded`] and [`ErrorKind::RequestBody`]. It is also true for a
    /// request that never left this client, unless the connection could not be made ([`ErrorKind::Refused`],
    /// [`ErrorKind::ConnectTimeout`]).
    fn local(&self) -> bool {
        let judgement = Judgement::new(Verdict::Wait, self.kind().into());
        if self.never_left() { judgement.never_left().local } else { judgement.local }
    }

    /// Returns the server's pushback. Returns `None` if the server sent none.
    fn pushback(&self) -> Option<Pushback> {
        None
    }
}

/// Judges the results of attempts ([L8](crate::rules#L8)). A policy sees successful results too, and may ask for a
/// retry after a success ([R2](crate::rules#R2)).
///
/// Closures `Fn(Result<&Reply, &Error>) -> Judgement` implement this trait.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a retry policy for results `Result<{Reply}, {Error}>`",
    note = "a closure `Fn(Result<&{Reply}, &{Error}>) -> Judgement` is one"
)]
pub trait RetryPolicy<Reply, Error> {
    /// Returns the judgement on one result: the verdict and the details for the report.
    fn judge(&self, result: Result<&Reply, &Error>) -> Judgement;
}

impl<F, Reply, Error> RetryPolicy<Reply, Error> for F
where
    F: Fn(Result<&Reply, &Error>) -> Judgement,
{
    fn judge(&self, result: Result<&Reply, &Error>) -> Judgement {
        self(result)
    }
}

/// The default retry policy ([R1](crate::rules#R1)): every reply is accepted, and an error is judged by its
/// [`ErrorKind`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DefaultRetryPolicy;

impl<Reply, Error: AttemptError> RetryPolicy<Reply, Error> for DefaultRetryPolicy {
    fn judge(&self, result: Result<&Reply, &Error>) -> Judgement {
        match result {
            Ok(_) => Verdict::Accept.into(),
            Err(error) => Judgement {
                verdict: error.kind().verdict(),
                code: error.kind().into(),
                never_left: error.never_left(),
                local: error.local(),
                pushback: error.pushback(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::outcome::Code;

    struct Failed(ErrorKind);

    impl AttemptError for Failed {
        fn kind(&self) -> ErrorKind {
            self.0
        }
    }

    #[test]
    fn r1_default_policy_retries_what_another_server_may_answer() {
        let judge = |kind| RetryPolicy::<(), Failed>::judge(&DefaultRetryPolicy, Err(&Failed(kind))).verdict;
        for kind in ErrorKind::ALL {
            let expected = match kind {
                ErrorKind::Deadline | ErrorKind::Internal | ErrorKind::TooLarge | ErrorKind::Protocol => Verdict::Wait,
                ErrorKind::BadRequest | ErrorKind::Unauthorized | ErrorKind::RequestBody => Verdict::Fatal,
                _ => Verdict::Retry,
            };
            assert_eq!(judge(*kind), expected, "{kind}");
        }
    }

    #[test]
    fn t4_only_what_never_left_says_so() {
        let left: std::vec::Vec<_> = ErrorKind::ALL.iter().filter(|kind| kind.never_left()).collect();
        use ErrorKind::{ConnectTimeout, Local, Overcrowded, Refused, ServerGone};
        assert_eq!(left, [&Refused, &ConnectTimeout, &Overcrowded, &ServerGone, &Local]);
        for kind in ErrorKind::ALL {
            let judgement = RetryPolicy::<(), Failed>::judge(&DefaultRetryPolicy, Err(&Failed(*kind)));
            assert_eq!(judgement.never_left, kind.never_left(), "{kind}");
            assert_eq!((judgement.code, judgement.pushback), (Code::from(*kind), None));
        }
    }

    #[test]
    fn s7_what_never_left_and_what_the_caller_broke_says_nothing_of_the_server() {
        use ErrorKind::{BadRequest, Broken, ConnectTimeout, Local, Overcrowded, Refused, RequestBody, ServerGone};
        let local = |kind: ErrorKind| Judgement::new(kind.verdict(), kind.into());
        for kind in ErrorKind::ALL {
            assert_eq!(local(*kind).local, matches!(kind, Local | ServerGone | RequestBody), "{kind}");
            let unsent = local(*kind).never_left().local;
            assert_eq!(unsent, !matches!(kind, Refused | ConnectTimeout), "{kind} that never left");
            let judged = RetryPolicy::<(), Failed>::judge(&DefaultRetryPolicy, Err(&Failed(*kind)));
            let expected = matches!(kind, Local | ServerGone | Overcrowded | RequestBody);
            assert_eq!(judged.local, expected, "{kind} by default");
        }
        assert!(!local(BadRequest).local, "a server may say so too");
        assert!(local(Broken).local().local);
    }

    #[test]
    fn r2_a_closure_is_a_policy_and_sees_successes() {
        let policy = |result: Result<&u16, &()>| match result {
            Ok(403) => Judgement::new(Verdict::Retry, Code(403)),
            Ok(_) => Verdict::Accept.into(),
            Err(()) => Verdict::Wait.into(),
        };
        assert_eq!(policy.judge(Ok(&403)).verdict, Verdict::Retry);
        assert_eq!(policy.judge(Ok(&200)).verdict, Verdict::Accept);
    }
}
