//! `shunt doctor`: what is wrong, and what to do about it; `shunt resync`.

use std::fmt::Write as _;

use super::client::Client;
use super::options::Doctor;
use super::table::Table;
use super::{Failure, output};
use crate::control::api::proto;
use crate::control::doctor::chart;

/// Asks, prints, and fails when something is broken.
///
/// # Errors
/// Something is broken (exit code 1); a word means nobody here, or no symptom (2).
pub(super) async fn run(client: &mut Client, wanted: &Doctor, json: bool) -> Result<(), Failure> {
    let symptom = wanted.symptom.clone().unwrap_or_default();
    chart::chosen(&symptom).map_err(|text| Failure::bad_input(format!("shunt: {text}")))?;
    let request = proto::DiagnoseRequest {
        from: wanted.from.clone().unwrap_or_default(),
        to: wanted.to.clone().unwrap_or_default(),
        symptom,
        flow: wanted.flow.clone(),
    };
    let diagnosis = client.diagnose(request).await?;
    output(json, &diagnosis, || text(&diagnosis))?;
    match count(&diagnosis, "fail") {
        0 => Ok(()),
        1 => Err(Failure::refused("something is broken")),
        broken => Err(Failure::refused(format!("{broken} things are broken"))),
    }
}

fn count(diagnosis: &proto::Diagnosis, state: &str) -> usize {
    diagnosis.findings.iter().filter(|finding| finding.state == state).count()
}

/// A table of everything, then each thing that is not well with its row and what to do.
pub fn text(diagnosis: &proto::Diagnosis) -> String {
    let mut table = Table::new(&["STATE", "CHECK", "WHERE", "EVIDENCE"]).within(140);
    for finding in &diagnosis.findings {
        table.row([
            finding.state.clone(),
            finding.check.clone(),
            finding.subject.clone(),
            finding.evidence.clone(),
        ]);
    }
    let mut text = if diagnosis.findings.is_empty() { String::new() } else { table.render() };
    for finding in diagnosis.findings.iter().filter(|finding| finding.state != "ok") {
        let proto::Finding { state, check, subject, evidence, symptom, cause, reference, fix } = finding;
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "\n{state}: {check} of {subject}\n  symptom   {symptom}\n  cause     {cause} (reference {reference})\n  evidence  {evidence}\n  fix       {fix}\n"
        );
    }
    let all = diagnosis.findings.len();
    let [ok, warn, fail] = ["ok", "warn", "fail"].map(|state| count(diagnosis, state));
    let _ = writeln!(
        text,
        "\n{all} checks under generation {}: {ok} ok, {warn} warn, {fail} fail",
        diagnosis.generation
    );
    text
}

/// Has everything made anew and says what was repaired.
///
/// # Errors
/// Something could not be set right.
pub(super) async fn resync(client: &mut Client, json: bool) -> Result<(), Failure> {
    let resynced = client.resync(proto::ResyncRequest {}).await?;
    output(json, &resynced, || resync_text(&resynced))?;
    let wrong = resynced.refused.len() + resynced.workers.iter().filter(|worker| !worker.in_force).count();
    if wrong > 0 { Err(Failure::refused(format!("{wrong} things could not be set right"))) } else { Ok(()) }
}

/// What was repaired, what could not be, what the workers run.
pub fn resync_text(resynced: &proto::Resynced) -> String {
    let mut text = format!("generation {}: made anew of the running configuration\n", resynced.generation);
    if resynced.repaired.is_empty() {
        text.push_str("nothing was to be repaired\n");
    }
    let lines = |word: &str, all: &[String]| -> String {
        all.iter().map(|line| format!("{word:<9} {line}\n")).collect()
    };
    text.push_str(&lines("repaired", &resynced.repaired));
    text.push_str(&lines("refused", &resynced.refused));
    let mut table = Table::new(&[">WORKER", ">DESIRED", ">INSTALLED", "STATE"]);
    for row in &resynced.workers {
        let state = match (row.in_force, row.asleep) {
            (true, true) => "asleep; takes the newest on waking",
            (true, false) => "in force",
            (false, _) => "behind",
        };
        table.row([
            row.worker.to_string(),
            row.desired.to_string(),
            row.installed.to_string(),
            state.to_owned(),
        ]);
    }
    text + "\n" + &table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(state: &str) -> proto::Finding {
        let broken = state != "ok";
        let only = |text: &str| if broken { text.to_owned() } else { String::new() };
        proto::Finding {
            state: state.into(),
            check: "link".into(),
            subject: "veth_pod_a".into(),
            evidence: "no carrier".into(),
            symptom: only("ping: timeout"),
            cause: only("veth pair wrong"),
            reference: only("001"),
            fix: only("ip link set eth0 up"),
        }
    }

    #[test]
    fn what_is_not_well_has_its_row_and_what_to_do() {
        let diagnosis = proto::Diagnosis { generation: 7, findings: vec![finding("ok"), finding("fail")] };
        let text = text(&diagnosis);
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("STATE  CHECK  WHERE       EVIDENCE"));
        assert_eq!(text.matches("symptom   ping: timeout").count(), 1, "{text}");
        assert!(text.contains("cause     veth pair wrong (reference 001)"), "{text}");
        assert!(text.contains("fix       ip link set eth0 up"), "{text}");
        assert!(text.ends_with("2 checks under generation 7: 1 ok, 0 warn, 1 fail\n"), "{text}");
    }

    #[test]
    fn a_resync_says_what_it_repaired() {
        let worker =
            |in_force| proto::Installed { worker: 0, desired: 9, installed: 9, asleep: false, in_force };
        let repaired = vec!["ctl: no route 10.20.0.0/16 via 10.0.1.1".to_owned()];
        let text = resync_text(&proto::Resynced {
            generation: 9,
            repaired,
            refused: Vec::new(),
            workers: vec![worker(true)],
        });
        assert!(text.contains("repaired  ctl: no route 10.20.0.0/16 via 10.0.1.1\n"), "{text}");
        assert!(text.contains("in force"), "{text}");
        let quiet =
            proto::Resynced { generation: 9, workers: vec![worker(false)], ..proto::Resynced::default() };
        let text = resync_text(&quiet);
        assert!(text.contains("nothing was to be repaired") && text.contains("behind"), "{text}");
    }
}
