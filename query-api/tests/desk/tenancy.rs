//! Two workspaces on one log partition never see a byte of each other.

use axum::body::Body;
use axum::http::Request;
use schemas::event::Status;
use schemas::id::{ClickKind, ConversionId, ConversionKind, EventId, EventKind};

use crate::harness::{Harness, NOW, Tenant};
use crate::rows::{self, Click, Outcome, Revision};

/// One click, one conversion and one receipt of a workspace, with its own marks in every text.
async fn fill(
    harness: &mut Harness,
    tenant: &Tenant,
    mark: &str,
    currency: &'static str,
) -> (ConversionId, EventId) {
    let conversion: ConversionId = harness.id::<ConversionKind>(NOW, tenant.number);
    let receipt: EventId = harness.id::<EventKind>(NOW, tenant.number);
    let click = *harness.id::<ClickKind>(NOW, tenant.number).bytes();
    let partner = *tenant.partners[0].bytes();
    let click = Click {
        workspace: tenant.number,
        at: NOW,
        id: click,
        receipt: *receipt.bytes(),
        partner,
        sub1: mark.to_owned(),
        counted: true,
        test: false,
        cut: 1,
    };
    rows::clicks(&harness.sink, &[click]).await;
    let revision = Revision {
        workspace: tenant.number,
        at: NOW,
        conversion: *conversion.bytes(),
        version: 1,
        offer: rows::NONE,
        partner,
        sub1: mark.to_owned(),
        goal: "sale",
        before: None,
        after: Status::Approved,
        revenue: 1_000_000,
        payout: 500_000,
        payout_rule: "offer_goal",
        test: false,
        cut: 1,
    };
    rows::revisions(&harness.sink, std::slice::from_ref(&revision)).await;
    rows::conversions(&harness.sink, &[revision], currency).await;
    let outcome = Outcome {
        workspace: tenant.number,
        event: *receipt.bytes(),
        subject: "click",
        status: "recorded",
        reason: "",
        conversion: *conversion.bytes(),
        original: rows::NONE,
        row_seq: 1,
        cut: 1,
    };
    rows::outcomes(&harness.sink, &[outcome]).await;
    (conversion, receipt)
}

#[tokio::test]
async fn a_workspace_never_sees_another_ones_rows() {
    let mut harness = Harness::start().await;
    let (first, second) = (harness.first.clone(), harness.second.clone());
    let ours = fill(&mut harness, &first, "our-mark", "USD").await;
    let theirs = fill(&mut harness, &second, "their-mark", "EUR").await;
    rows::finish_cut(&harness.sink, 1, NOW).await;
    for (tenant, foreign, own_rows, foreign_rows) in
        [(&first, &second, ours, theirs), (&second, &first, theirs, ours)]
    {
        let foreign_mark = if foreign.number == second.number { "their-mark" } else { "our-mark" };
        let foreign_partner = foreign.partners[0].to_string();
        for address in [
            "/api/v1/reports?period=today&group_by=partner,sub1,goal,status,hour".to_owned(),
            "/api/v1/reports?period=today&sub1=our-mark,their-mark&group_by=sub1".to_owned(),
            "/api/v1/reports?period=today&include_test=true&gross=true".to_owned(),
            "/api/v1/conversions".to_owned(),
            "/api/v1/conversions?sub1[not]=x".to_owned(),
            "/api/v1/clicks".to_owned(),
            format!("/api/v1/clicks?partner={foreign_partner},{}", tenant.partners[0]),
        ] {
            let answer = harness.get_with(&tenant.admin, &address).await;
            assert_eq!(answer.status, 200, "{address}: {}", answer.text);
            assert!(!answer.text.contains(foreign_mark), "{address}: {}", answer.text);
            assert!(!answer.text.contains(&foreign_partner), "{address}: {}", answer.text);
            assert!(!answer.text.contains("Rita") || tenant.number == second.number, "{address}");
            let items = answer.json()["items"].as_array().unwrap().len();
            assert!(items > 0, "{address}: {}", answer.text);
        }
        harness.get_with(&tenant.admin, &format!("/api/v1/conversions/{}", own_rows.0)).await.ok();
        harness.get_with(&tenant.admin, &format!("/api/v1/receipts/{}", own_rows.1)).await.ok();
        for address in [
            format!("/api/v1/conversions/{}", foreign_rows.0),
            format!("/api/v1/conversions/{}/explain", foreign_rows.0),
            format!("/api/v1/receipts/{}", foreign_rows.1),
            "/api/v1/conversions/conv_nonsense".to_owned(),
            "/api/v1/receipts/evt_".to_owned(),
        ] {
            let (status, code, _) = harness.get_with(&tenant.admin, &address).await.refused();
            assert_eq!((status, code.as_str()), (404, "not_found"), "{address}");
        }
    }
    harness.stop().await;
}

#[tokio::test]
async fn only_an_operator_visits_other_workspaces() {
    let mut harness = Harness::start().await;
    let (first, second) = (harness.first.clone(), harness.second.clone());
    fill(&mut harness, &second, "their-mark", "EUR").await;
    rows::finish_cut(&harness.sink, 1, NOW).await;
    let visit = |key: &str, workspace: &str| {
        let request =
            Request::get("/api/v1/clicks").header("x-api-key", key).header("x-workspace", workspace);
        request.body(Body::empty()).unwrap()
    };
    let seen = harness.send(visit(&first.admin, &second.id.to_string())).await.ok();
    assert_eq!(seen["items"][0]["sub1"], "their-mark");
    let own = harness.send(visit(&second.admin, &second.id.to_string())).await.ok();
    assert_eq!(own, seen);
    assert_eq!(harness.send(visit(&second.admin, &first.id.to_string())).await.refused().0, 403);
    let nobody = harness.id::<schemas::id::WorkspaceKind>(NOW, first.number).to_string();
    assert_eq!(harness.send(visit(&first.admin, &nobody)).await.refused().0, 404);
    assert_eq!(harness.send(visit(&first.admin, "ws_1")).await.refused().0, 400);
    harness.stop().await;
}
