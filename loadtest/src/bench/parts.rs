//! The parts of the measurement, each from its servers to its figures.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::answer::Expected;
use super::client::{self, Plan, Rhythm};
use super::compare::{Side, WARM_UP, compare, kinds};
use super::installation::{Company, Installation, PLAIN, Place, RULED};
use super::probe::Probe;
use super::report::{Bar, Report};
use super::requests;
use super::server;
use super::{EdgeBench, Part};
use crate::LoadError;

/// Connections that send batches at a time.
const BATCH_CONNECTIONS: usize = 4;
/// The thread of the embedded log that writes and syncs: on a cluster that is the broker's work, not the edge's.
const LOG_WRITER: &str = "eventlog-writer";
/// The memory part: open connections, and what is sent over them.
const MANY_CONNECTIONS: usize = 10_000;
const MEMORY_RATE: f64 = 5_000.0;
/// How often memory is looked at.
const MEMORY_LOOK: Duration = Duration::from_secs(10);

const REDIRECT: Expected = Expected { status: 302, has_receipt: false };
const RECORDED: Expected = Expected { status: 302, has_receipt: true };
const IMAGE: Expected = Expected { status: 200, has_receipt: false };
const ACCEPTED: Expected = Expected { status: 202, has_receipt: false };

/// A pixel that records nothing.
pub(crate) async fn pixel(bench: &EdgeBench, place: &Place, report: &mut Report) -> Result<(), LoadError> {
    let mut nginx = server::nginx(&place.repository, &place.dir)?;
    let mut ours = Installation::up(place, Company::Alone).await?;
    let requests =
        [requests::pixel(nginx.address, "/p.gif"), requests::pixel(ours.edge.address, &bench.pixel)];
    let [theirs, own] = requests;
    let nginx = Side::new(&mut nginx, theirs, IMAGE);
    let edge = Side::new(&mut ours.edge, own, IMAGE);
    compare(bench, report, Part::Pixel, ["nginx empty_gif", "edge pixel"], nginx, edge)?;
    report.bar(Bar::AtLeast(0.9));
    Ok(())
}

/// A durable click, with the edge alone and with every role at work.
pub(crate) async fn click(bench: &EdgeBench, place: &Place, report: &mut Report) -> Result<(), LoadError> {
    for (company, name) in
        [(Company::Alone, "edge click, edge alone"), (Company::All, "edge click, all roles at work")]
    {
        let mut nginx = server::nginx(&place.repository, &place.dir)?;
        let mut ours = Installation::up(place, company).await?;
        let theirs = requests::clicks(nginx.address, PLAIN);
        let own = requests::clicks(ours.edge.address, PLAIN);
        let nginx = Side::new(&mut nginx, theirs, REDIRECT);
        let edge = Side::new(&mut ours.edge, own, RECORDED);
        compare(bench, report, Part::Click, ["nginx return 302", name], nginx, edge)?;
        if company == Company::Alone {
            report.bar(Bar::AtLeast(0.5));
        }
    }
    Ok(())
}

/// A durable click on a link with rules; the agents are a log's, if there is one.
pub(crate) async fn rules(bench: &EdgeBench, place: &Place, report: &mut Report) -> Result<(), LoadError> {
    let mut nginx = server::nginx(&place.repository, &place.dir)?;
    let mut ours = Installation::up(place, Company::Alone).await?;
    ours.add_rules().await?;
    let (theirs, own, agents) = match &bench.agents {
        Some(log) => {
            let (theirs, agents) = requests::clicks_of_log(nginx.address, RULED, log)?;
            (theirs, requests::clicks_of_log(ours.edge.address, RULED, log)?.0, agents)
        }
        None => (requests::clicks(nginx.address, RULED), requests::clicks(ours.edge.address, RULED), 1),
    };
    let nginx = Side::new(&mut nginx, theirs, REDIRECT);
    let edge = Side::new(&mut ours.edge, own, RECORDED);
    let names = ["nginx return 302", "edge click with rules, edge alone"];
    let (nginx, edge) = compare(bench, report, Part::Rules, names, nginx, edge)?;
    let theirs = nginx.cpu.micros_each(nginx.answered);
    let own = edge.cpu.without(LOG_WRITER).micros_each(edge.answered);
    report.add(Part::Rules.name(), "CPU of a durable click with rules, in the edge", own, "µs");
    report.bar(Bar::AtMost(f64::max(14.0, 2.0 * theirs)));
    let log = edge.cpu.micros_each(edge.answered) - own;
    report.note(format!(
        "14 µs or twice nginx's {theirs:.2} µs; {agents} different agents; the embedded log's writer takes {log:.2} µs more"
    ));
    Ok(())
}

/// Durable clicks at a constant rate, with the edge alone and with every role at work, beside the disk's own time.
pub(crate) async fn latency(bench: &EdgeBench, place: &Place, report: &mut Report) -> Result<(), LoadError> {
    for company in [Company::Alone, Company::All] {
        latency_in(company, bench, place, report).await?;
    }
    Ok(())
}

async fn latency_in(
    company: Company,
    bench: &EdgeBench,
    place: &Place,
    report: &mut Report,
) -> Result<(), LoadError> {
    let who = match company {
        Company::Alone => "edge alone",
        Company::All => "all roles at work",
    };
    let mut ours = Installation::up(place, company).await?;
    let requests = requests::clicks(ours.edge.address, PLAIN);
    let address = ours.edge.address;
    let plan = |duration| Plan {
        address,
        requests: &requests,
        expected: RECORDED,
        connections: bench.connections,
        threads: 1,
        rhythm: Rhythm::Open(bench.rate),
        duration,
    };
    client::run(&plan(WARM_UP))?;
    let probe = Probe::start(&place.dir)?;
    let before = ours.edge.cpu();
    let outcome = client::run(&plan(bench.latency_for))?;
    let cpu = ours.edge.cpu().since(&before);
    let disk = probe.finish()?;
    let part = Part::Latency.name();
    let ms = |histogram: &Histogram<u64>, quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
    report.add(part, format!("{who}: acknowledged of {}/s offered", bench.rate), outcome.rate(), "/s");
    report.note(format!(
        "client {:.1} µs a request",
        outcome.client_cpu.as_secs_f64() * 1e6 / outcome.answered.max(1) as f64
    ));
    report.add(part, format!("{who}: errors"), outcome.errors() as f64, "");
    report.bar(Bar::AtMost(0.0));
    report.note(outcome.sample.as_deref().unwrap_or_default());
    report.add(part, "fdatasync beside it, p50", ms(&disk, 0.5), "ms");
    report.add(part, "fdatasync beside it, p99.9", ms(&disk, 0.999), "ms");
    report.note(format!("{} of 16 KiB", disk.len()));
    for (name, quantile, bar) in
        [("p50", 0.5, 3.0), ("p99", 0.99, 8.0), ("p99.9", 0.999, f64::max(20.0, 3.0 * ms(&disk, 0.999)))]
    {
        report.add(
            part,
            format!("{who}: latency from the scheduled time, {name}"),
            ms(&outcome.latency, quantile),
            "ms",
        );
        report.bar(Bar::AtMost(bar));
    }
    report.add(part, format!("{who}: latency, longest"), outcome.latency.max() as f64 / 1e3, "ms");
    report.add(part, format!("{who}: CPU a click"), cpu.micros_each(outcome.answered), "µs");
    report.note(kinds(&cpu, outcome.answered));
    ours.edge.settle()
}

/// Clicks on a real broker, beside nginx.
pub(crate) async fn kafka(bench: &EdgeBench, place: &Place, report: &mut Report) -> Result<(), LoadError> {
    let mut nginx = server::nginx(&place.repository, &place.dir)?;
    let mut ours = Installation::on_kafka(place).await?;
    let theirs = requests::clicks(nginx.address, PLAIN);
    let own = requests::clicks(ours.edge.address, PLAIN);
    let nginx = Side::new(&mut nginx, theirs, REDIRECT);
    let edge = Side::new(&mut ours.edge, own, RECORDED);
    let names = ["nginx return 302", "edge click on Kafka"];
    let (nginx, edge) = compare(bench, report, Part::Kafka, names, nginx, edge)?;
    let part = Part::Kafka.name();
    report.add(part, "plain clicks on one broker", edge.rate(), "/s");
    report.bar(Bar::AtLeast(65_000.0));
    report.note(format!("{} connections; broker, edge and client on the same cores", bench.connections));
    let ratio = edge.cpu.micros_each(edge.answered) / nginx.cpu.micros_each(nginx.answered).max(0.01);
    report.add(part, "CPU a request, edge : nginx", ratio, "");
    report.bar(Bar::AtMost(2.0));
    Ok(())
}

/// Events in batches.
pub(crate) async fn batch(bench: &EdgeBench, place: &Place, report: &mut Report) -> Result<(), LoadError> {
    let mut ours = Installation::up(place, Company::Alone).await?;
    let requests = requests::batches(ours.edge.address, &ours.key, PLAIN);
    let address = ours.edge.address;
    let plan = |duration| Plan {
        address,
        requests: &requests,
        expected: ACCEPTED,
        connections: BATCH_CONNECTIONS,
        threads: 1,
        rhythm: Rhythm::Closed,
        duration,
    };
    client::run(&plan(WARM_UP))?;
    ours.edge.settle()?;
    let before = ours.edge.cpu();
    let outcome = client::run(&plan(bench.turn * bench.rounds))?;
    let cpu = ours.edge.cpu().since(&before);
    let events = requests::BATCH_EVENTS as u64 * outcome.answered;
    let part = Part::Batch.name();
    report.add(
        part,
        "events in batches of 5,000 lines",
        requests::BATCH_EVENTS as f64 * outcome.rate(),
        "/s",
    );
    report.bar(Bar::AtLeast(300_000.0));
    report.note(outcome.sample.as_deref().unwrap_or_default());
    report.add(part, "errors", outcome.errors() as f64, "");
    report.bar(Bar::AtMost(0.0));
    report.add(part, "CPU an event", cpu.micros_each(events), "µs");
    report.note(kinds(&cpu, events));
    Ok(())
}

/// Memory of the edge with many open connections, and over minutes of clicks on all of them.
pub(crate) async fn memory(bench: &EdgeBench, place: &Place, report: &mut Report) -> Result<(), LoadError> {
    let ours = Installation::on_kafka(place).await?;
    let requests = requests::clicks(ours.edge.address, PLAIN);
    let part = Part::Memory.name();
    report.add(part, "resident, idle", ours.edge.resident_mib()?, "MiB");
    let plan = Plan {
        address: ours.edge.address,
        requests: &requests,
        expected: RECORDED,
        connections: MANY_CONNECTIONS,
        threads: 1,
        rhythm: Rhythm::Open(MEMORY_RATE),
        duration: bench.memory_for,
    };
    let (outcome, looks) = std::thread::scope(|scope| {
        let driven = scope.spawn(|| client::run(&plan));
        let (mut looks, began) = (Vec::new(), Instant::now());
        while !driven.is_finished() {
            std::thread::sleep(MEMORY_LOOK.min(bench.memory_for / 4));
            looks.push((began.elapsed(), ours.edge.resident_mib()));
        }
        (driven.join(), looks)
    });
    let outcome = outcome.map_err(|_| LoadError::Arguments("the client panicked".to_owned()))??;
    let looks = looks.into_iter().map(|(_, mib)| mib).collect::<Result<Vec<_>, _>>()?;
    let highest = looks.iter().copied().fold(0.0, f64::max);
    report.add(part, "resident at 10,000 open connections, highest", highest, "MiB");
    report.bar(Bar::AtMost(150.0));
    report.note(format!(
        "{:.0} clicks/s over all of them for {} s, {} errors",
        outcome.rate(),
        bench.memory_for.as_secs(),
        outcome.errors()
    ));
    // The first looks see connections that are still being opened, and caches that fill.
    let (early, late) = (looks.get(looks.len() / 4).copied(), looks.last().copied());
    let growth = late.unwrap_or_default() - early.unwrap_or_default();
    report.add(part, "growth from the first quarter to the end", growth, "MiB");
    report.bar(Bar::AtMost(5.0));
    let some: Vec<_> =
        looks.iter().step_by((looks.len() / 8).max(1)).map(|mib| format!("{mib:.0}")).collect();
    report.note(some.join(", "));
    Ok(())
}
