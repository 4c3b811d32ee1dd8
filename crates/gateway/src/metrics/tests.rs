use super::*;

fn kind(method: &Method) -> KindOfRequest {
    KindOfRequest::of(Some(Protocol::Http3), method)
}

fn text(metrics: &Metrics) -> String {
    let mut page = Page::default();
    metrics.write(&mut page);
    page.into_text()
}

#[test]
fn a_method_of_the_clients_choice_is_no_label() {
    let invented = Method::from_bytes(b"INVENTED").expect("a method");
    assert_eq!(kind(&invented).method, "other");
    assert_eq!(kind(&Method::PATCH).method, "PATCH");
}

#[test]
fn statuses_that_are_told_apart_are_in_order() {
    assert!(STATUSES.is_sorted());
    assert!(BOUNDS.iter().is_sorted_by_key(|(_, micros)| *micros));
}

#[test]
fn the_blocks_of_all_workers_are_summed_and_survive_their_routes() {
    let metrics = Metrics::default();
    let count = |micros, status| {
        let route = RouteMetrics::new("*".into(), "/a/*".into());
        let block = route.block(kind(&Method::GET), &metrics);
        block.count(StatusCode::from_u16(status).ok(), Duration::from_micros(micros), 10, true);
    };
    thread::scope(|scope| {
        scope.spawn(|| count(100, 200));
        scope.spawn(|| count(101, 599));
    });
    count(20_000_000, 200);
    let text = text(&metrics);
    let labels = "protocol=\"HTTP/3\",method=\"GET\",host=\"*\",route=\"/a/*\"";
    for line in [
        format!("sterna_http_requests_total{{{labels},status=\"200\"}} 2"),
        format!("sterna_http_requests_total{{{labels},status=\"other\"}} 1"),
        format!("sterna_http_request_duration_seconds_bucket{{{labels},le=\"0.0001\"}} 1"),
        format!("sterna_http_request_duration_seconds_bucket{{{labels},le=\"10\"}} 2"),
        format!("sterna_http_request_duration_seconds_bucket{{{labels},le=\"+Inf\"}} 3"),
        format!("sterna_http_request_duration_seconds_sum{{{labels}}} 20.000201"),
        format!("sterna_http_response_bytes_total{{{labels}}} 30"),
    ] {
        assert!(text.contains(&format!("{line}\n")), "{line} is not in\n{text}");
    }
}

#[test]
fn a_request_that_was_given_up_has_a_status_of_its_own_and_is_cut() {
    let metrics = Metrics::default();
    let route = RouteMetrics::new("*".into(), "/".into());
    route.block(kind(&Method::GET), &metrics).count(None, Duration::ZERO, 0, false);
    let text = text(&metrics);
    assert!(text.contains("status=\"499\"} 1\n"), "{text}");
    assert!(
        text.contains("_cut_total{protocol=\"HTTP/3\",method=\"GET\",host=\"*\",route=\"/\"} 1\n")
    );
}

#[test]
fn more_routes_than_there_is_room_for_count_together() {
    let metrics = Metrics::default();
    for number in 0..MAX_BLOCKS + 50 {
        let route = RouteMetrics::new("*".into(), format!("/{number}"));
        let block = route.block(kind(&Method::GET), &metrics);
        block.count(Some(StatusCode::OK), Duration::ZERO, 0, true);
    }
    let sums = metrics.sums();
    assert_eq!(sums.len(), MAX_BLOCKS + 1);
    let other = sums.iter().find(|(labels, _)| *labels.route == *OTHER).expect("there");
    assert_eq!(other.1.statuses.iter().sum::<u64>(), 50);
}
