use super::*;

const CONTENT: Receiving = Receiving::Content(Length::Exactly(5));

/// Every transition of what we read, as a table: state, then what comes, then the new state or the broken rule.
#[test]
fn what_is_read_goes_through_the_figure_and_nowhere_else() {
    use PeerMisbehaved as Rule;
    use Receiving::{Abandoned, Content, Ended, Head, Oversized, Tail, Tunnel};

    // State, content of five bytes, trailers, and the end on a server.
    let table = [
        (Head, Err(Rule::DataBeforeHeaders), Ok(Tail), Err(Rule::RequestIncomplete)),
        (
            CONTENT,
            Ok(Content(Length::Exactly(0))),
            Err(Rule::ContentTooShort),
            Err(Rule::ContentTooShort),
        ),
        (Content(Length::Exactly(0)), Err(Rule::ContentTooLong), Ok(Tail), Ok(Ended)),
        (Content(Length::Nothing), Err(Rule::ContentForbidden), Ok(Tail), Ok(Ended)),
        (Content(Length::Any), Ok(Content(Length::Any)), Ok(Tail), Ok(Ended)),
        (Tail, Err(Rule::DataAfterTrailers), Err(Rule::HeadersAfterTrailers), Ok(Ended)),
        (Tunnel, Ok(Tunnel), Err(Rule::HeadersInTunnel), Ok(Ended)),
        (Oversized, Ok(Oversized), Ok(Tail), Ok(Ended)),
        (Ended, Ok(Ended), Ok(Tail), Ok(Ended)),
        (Abandoned, Ok(Abandoned), Ok(Tail), Ok(Abandoned)),
    ];
    for (state, on_content, on_trailers, on_end) in table {
        assert_eq!(state.on_content(5), on_content, "{state:?}");
        if state.is_read() && state != Head {
            assert_eq!(state.on_trailers(), on_trailers, "{state:?}");
        }
        assert_eq!(state.on_end(Role::Server), on_end, "{state:?}");
    }
    assert_eq!(Head.on_end(Role::Client), Err(Rule::ResponseIncomplete));
}

/// Every transition of what we send.
#[test]
fn what_is_sent_goes_through_the_figure_and_nowhere_else() {
    use ApiMisuse as Misuse;
    use Sending::{Abandoned, Content, Ended, Head, Tunnel};

    // State, a head, content of five bytes, trailers, the end.
    let five = Content(Length::Exactly(5));
    let done = Content(Length::Exactly(0));
    let nothing = Content(Length::Nothing);
    let any = Content(Length::Any);
    let closed = Misuse::StreamClosed;
    let table = [
        (
            Head,
            Ok(()),
            Err(Misuse::HeadMissing),
            Err(Misuse::HeadMissing),
            Err(Misuse::HeadMissing),
        ),
        (
            five,
            Err(Misuse::HeadTwice),
            Ok(done),
            Err(Misuse::ContentTooShort),
            Err(Misuse::ContentTooShort),
        ),
        (done, Err(Misuse::HeadTwice), Err(Misuse::ContentTooLong), Ok(Ended), Ok(Ended)),
        (nothing, Err(Misuse::HeadTwice), Err(Misuse::ContentForbidden), Ok(Ended), Ok(Ended)),
        (any, Err(Misuse::HeadTwice), Ok(any), Ok(Ended), Ok(Ended)),
        (Tunnel, Err(Misuse::HeadTwice), Ok(Tunnel), Err(Misuse::TrailersInTunnel), Ok(Ended)),
        (Ended, Err(closed), Err(closed), Err(closed), Err(closed)),
        (Abandoned, Err(closed), Err(closed), Err(closed), Err(closed)),
    ];
    for (state, head, content, trailers, end) in table {
        assert_eq!(state.allow_head(), head, "{state:?}");
        assert_eq!(state.on_content(5), content, "{state:?}");
        assert_eq!(state.on_trailers(), trailers, "{state:?}");
        assert_eq!(state.on_end(), end, "{state:?}");
    }
}

#[test]
fn a_half_is_open_until_it_ended_or_was_given_up() {
    let open = [Receiving::Head, CONTENT, Receiving::Tail, Receiving::Tunnel];
    assert!(open.iter().all(|state| state.is_open() && state.is_read()));
    assert!(Receiving::Oversized.is_open() && !Receiving::Oversized.is_read());
    assert!(!Receiving::Ended.is_open() && !Receiving::Abandoned.is_open());
    let open = [Sending::Head, Sending::Content(Length::Any), Sending::Tunnel];
    assert!(open.iter().all(|state| state.is_open()));
    assert!(!Sending::Ended.is_open() && !Sending::Abandoned.is_open());
}
