//! Which generations there are is decided by the log: one live, at most one planned, and never back.

use schemas::generation::Generation;

use super::*;

fn generation(number: u32) -> Generation {
    Generation::new(number).unwrap()
}

fn projection(number: u32, stage: Stage, after: u32) -> Projection {
    Projection { generation: generation(number), stage, after: generation(after), settings_of: None }
}

/// What the command line proposes.
fn say(catalog: &mut Catalog, projection: Projection) -> Result<(), Rejected> {
    let change = put(Resource::Projection(projection), Expected::Any);
    let actor = Actor { kind: ActorKind::System, id: String::new() };
    fold(catalog, &Proposal { actor, ..proposal(1, vec![change]) }).map(|_| ())
}

fn stands(catalog: &Catalog) -> (u32, Option<u32>) {
    (catalog.live_generation().get(), catalog.planned().map(|it| it.generation.get()))
}

const fn unknown(field: &'static str) -> Result<(), Rejected> {
    Err(Rejected::UnknownReference { field })
}

#[test]
fn one_is_planned_and_takes_the_place_of_the_live_one() {
    let mut catalog = catalog();
    assert_eq!(stands(&catalog), (1, None));
    assert_eq!(say(&mut catalog, projection(2, Stage::Live, 1)), unknown("stage"));
    assert_eq!(say(&mut catalog, projection(3, Stage::Planned, 1)), unknown("generation"));
    assert_eq!(say(&mut catalog, projection(2, Stage::Planned, 2)), unknown("after"));
    say(&mut catalog, projection(2, Stage::Planned, 1)).unwrap();
    assert_eq!(stands(&catalog), (1, Some(2)));

    let taken = say(&mut catalog, projection(3, Stage::Planned, 1));
    assert!(matches!(taken, Err(Rejected::Exists { field: "planned", .. })), "{taken:?}");
    let not_yet = say(&mut catalog, projection(1, Stage::Dropped, 1));
    assert_eq!(not_yet, Err(Rejected::Immutable { field: "stage" }), "the live one cannot go");
    say(&mut catalog, projection(2, Stage::Live, 1)).unwrap();
    assert_eq!(stands(&catalog), (2, None));
    for stage in [Stage::Planned, Stage::Live, Stage::Dropped] {
        assert!(say(&mut catalog, projection(2, stage, 1)).is_err(), "{stage:?}");
    }
    say(&mut catalog, projection(1, Stage::Dropped, 1)).unwrap();
    let stages: Vec<Stage> = catalog.projections().map(|it| it.stage).collect();
    assert_eq!(stages, [Stage::Dropped, Stage::Live]);
}

#[test]
fn a_plan_that_was_given_up_leaves_its_number_behind() {
    let mut catalog = catalog();
    say(&mut catalog, projection(2, Stage::Planned, 1)).unwrap();
    say(&mut catalog, projection(2, Stage::Dropped, 1)).unwrap();
    assert_eq!(stands(&catalog), (1, None));
    assert!(say(&mut catalog, projection(2, Stage::Planned, 1)).is_err());
    say(&mut catalog, projection(3, Stage::Planned, 1)).unwrap();
    say(&mut catalog, projection(3, Stage::Live, 1)).unwrap();
    assert_eq!(stands(&catalog), (3, None));
}

#[test]
fn what_was_planned_stays_what_it_is() {
    let mut catalog = catalog();
    let revision = catalog.revision().number;
    let planned = |settings_of| Projection { settings_of, ..projection(2, Stage::Planned, 1) };
    // The record that plans is the revision after the present one.
    assert_eq!(say(&mut catalog, planned(Some(revision + 2))), unknown("settings_of"));
    say(&mut catalog, planned(Some(revision))).unwrap();
    let other = say(&mut catalog, projection(2, Stage::Live, 1));
    assert_eq!(other, Err(Rejected::Immutable { field: "after" }));
    say(&mut catalog, Projection { stage: Stage::Live, ..planned(Some(revision)) }).unwrap();
}

#[test]
fn no_key_of_a_workspace_decides_about_generations() {
    let mut catalog = catalog();
    let change = put(Resource::Projection(projection(2, Stage::Planned, 1)), Expected::Any);
    assert_eq!(try_one(&mut catalog, change).map(|_| ()), unknown("actor"));
    assert_eq!(stands(&catalog), (1, None));
}

#[test]
fn what_is_rejected_leaves_no_trace_of_a_generation() {
    let mut catalog = catalog();
    let before = catalog.clone();
    let changes = vec![
        put(Resource::Projection(projection(2, Stage::Planned, 1)), Expected::Any),
        put(Resource::Projection(projection(3, Stage::Planned, 1)), Expected::Any),
    ];
    let actor = Actor { kind: ActorKind::System, id: String::new() };
    assert!(fold(&mut catalog, &Proposal { actor, ..proposal(1, changes) }).is_err());
    assert_eq!(catalog.tables, before.tables);
}

/// A past with another attribution: everything else stands as it stood, and at the revision itself nothing is left of it.
#[test]
fn the_attribution_of_a_later_revision_holds_before_it_and_nothing_else_of_it() {
    let mut records = vec![first_records(), proposal(2, vec![put(offer(1, 1), Expected::New)])];
    let mut changed = offer(1, 1);
    (changed.name, changed.click_lookback_micros) = ("Boots".into(), Some(3 * DAY));
    records.push(proposal(3, vec![put(changed, Expected::Any)]));
    let Resource::Workspace(mut own) = workspace(1) else { panic!("a workspace") };
    own.name = "Other".into();
    own.attribution.payable_model = Model::Linear;
    records.push(proposal(4, vec![put(Resource::Workspace(own), Expected::Any)]));

    let mut settings = Catalog::new();
    for record in &records {
        fold(&mut settings, record).unwrap();
    }
    let mut past = Catalog::new();
    for record in &records {
        let accepted = fold(&mut past, record).unwrap();
        past.take_attribution(&settings, &accepted.resources);
        let seen = past.workspace(workspace_number(1)).unwrap();
        assert_eq!(seen.attribution.payable_model, Model::Linear);
        if past.revision().number < 4 {
            assert_eq!(seen.name, "W");
        }
        if past.revision().number == 2 {
            let seen = past.offer(workspace_number(1), id(1)).unwrap();
            assert_eq!((&*seen.name, seen.click_lookback_micros), ("Shoes", Some(3 * DAY)));
        }
    }
    assert_eq!(past.tables, settings.tables);
    assert_eq!(past.revision(), settings.revision());
}
