use super::*;

fn text(metrics: &Metrics) -> String {
    String::from_utf8(metrics.render().unwrap()).unwrap()
}

#[test]
fn every_outcome_with_every_reason_is_shown_from_the_start() {
    let text = text(&Metrics::new(None).unwrap());
    for outcome in Outcome::VARIANTS {
        for reason in Reason::VARIANTS {
            let line = format!(
                "crossmount_mounts_total{{outcome=\"{}\",reason=\"{}\"}} 0",
                outcome.as_ref(),
                reason.as_ref()
            );
            assert!(text.contains(&line), "{line}");
        }
    }
    assert!(
        text.contains("crossmount_access_decisions_total{decision=\"allowed\",via=\"none\"} 0")
    );
    assert!(text.contains("crossmount_build_info{version="));
}

#[test]
fn an_unusual_method_is_other() {
    let metrics = Metrics::new(None).unwrap();
    let method = http::Method::from_bytes(b"BREW").unwrap();
    metrics.request(&method, Some(http::StatusCode::IM_A_TEAPOT), Duration::ZERO);
    metrics.request(&http::Method::GET, None, Duration::ZERO);
    let text = text(&metrics);
    assert!(text.contains("crossmount_requests_total{code=\"418\",method=\"other\"} 1"));
    assert!(text.contains("crossmount_requests_total{code=\"none\",method=\"GET\"} 1"));
}
